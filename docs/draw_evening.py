"""Draw what `maskgate log`, `stats` and `tune` look like: make a gate with a made-up month, ask it, keep the answers.

    .venv/bin/python docs/draw_evening.py        # writes docs/evening-*.svg

People, faces and scores are drawn by chance from a fixed seed; words, colours and columns are the program's own.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from statistics import median

import numpy as np
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from maskgate import config
from maskgate.admin.showing import STAGES
from maskgate.events import short, stamp
from maskgate.pixels import Picture, jpeg_of
from maskgate.store import Event, Store, open_store
from maskgate.values import Embedding

HERE = Path(__file__).parent
COLUMNS = 80
LAST = datetime(2026, 11, 25, 20, 15, tzinfo=UTC)
PEOPLE = ("Ada", "Ben", "王小明", "علي حسن", "Zoë")
SHOWN = {
    "log": ("log", "--until", "2026-11-25T20:30", "--limit", "16"),
    "show": ("log", "show", "{granted}"),
    "stats": ("stats", "--since", "2026-10-28"),
    "tune": ("tune", "--since", "2026-10-28"),
}
"""By name of the picture: the command it shows. Enrolments bear the time of drawing, and are left out of the log."""


def face(number: int) -> Embedding:
    """Return a made-up embedding; the second and the fifth are alike."""
    vector = np.random.default_rng(number).standard_normal(128)
    if number == 4:
        vector = 0.55 * np.random.default_rng(1).standard_normal(128) + 0.6 * vector
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def moments(dice: random.Random) -> Iterator[tuple[datetime, str | None]]:
    """Yield who comes when, over four weeks: residents in the morning and in the evening, strangers at any time."""
    for day in range(28):
        midnight = (LAST - timedelta(days=27 - day)).replace(hour=0, minute=0)
        weekend = midnight.weekday() >= 5
        for name in PEOPLE:
            for hour in (8, 18) if not weekend else (11,):
                if dice.random() < 0.85:
                    yield midnight + timedelta(hours=hour, minutes=dice.gauss(0, 45)), name
        for _ in range(dice.randrange(4)):
            yield midnight + timedelta(hours=dice.uniform(6, 22)), None


def decision(at: datetime, name: str | None, judge: str, dice: random.Random) -> Event:
    """Make up what the gate would have recorded of a visit; the network of digest `judge` told life from pictures."""
    masked, needs = dice.random() < 0.3, {"bare": 0.4861, "masked": 0.4521, "margin": 0.05, "agree": 2}
    needed = needs["masked" if masked else "bare"]
    score = dice.gauss(0.62 if name != "Zoë" else 0.53, 0.05) if name else dice.gauss(0.18, 0.08)
    margin = min(dice.uniform(0.2, 0.45) if name else dice.uniform(0, 0.1), score + 0.1)
    late = name == "Ben" and at.hour >= 18
    reason = "unknown" if score < needed else "outside_schedule" if late else "granted"
    looks = 3 if score >= needed else 12
    scores = [round(score + dice.uniform(-0.06, -0.01), 3) for _ in range(looks - 1)] + [round(score, 3)]
    scores = [max(one, needed + 0.004) if score >= needed and i else one for i, one in enumerate(scores)]
    live = [round(min(dice.gauss(0.75, 0.12), 0.99), 2) for _ in range(looks)]
    alive = float(median(live))
    detail: dict[str, object] = {
        "frames": looks,
        "usable_to_decision_ms": round(looks * 140 + dice.uniform(0, 300)),
        "needs": needs,
        "scores": scores,
        "margins": [round(margin * dice.uniform(0.8, 1.0), 3) for _ in range(looks)],
        "masks": [0.97 if masked else 0.02] * looks,
        "live": live,
        "live_by": short(judge),
        "at_ms": [i * 133 for i in range(looks)],
        "ms": dict(zip(STAGES, (0.4, 24.1, 4.9, 1.2, 0.6, 61.3, 14.8, 0.1), strict=True)),
        "cues": {"carried": ["nothing", None], "passive": ["live", alive]},
    }
    if late and score >= needed:
        detail |= {"rule": "group cleaners", "terms": "may enter mon-fri 07:00-17:00, next from Thu 2026-11-26 07:00"}
    return Event(
        *("decision", stamp(at), name if score >= needed else None, reason == "granted", reason),
        *(round(score, 3), round(margin, 3), needed, 0.97 if masked else 0.02, alive),
        detail=detail,
    )


def digests(models: Path) -> tuple[str, str]:
    """Return the digests of the embedder, whose templates `tune` looks at, and of the network that tells life."""
    described = tomllib.loads((models / "models.toml").read_text(encoding="utf-8"))
    return str(described["embedder"]["sha256"]), str(described["liveness"]["sha256"])


def furnish(store: Store, model: str, judge: str) -> dict[str, int]:
    """Fill a gallery and its log; return the ids of the events that are shown."""
    dice = random.Random(7)
    for number, name in enumerate(PEOPLE):
        quality = {"face_px": 70.0 if name == "Zoë" else 240.0, "sharpness": 0.4, "brightness": 120.0, "contrast": 50.0}
        store.enrol(name, [(face(number), {"quality": quality})], model=model, source="photo", actor="olga")
    store.record(Event("started", stamp(LAST - timedelta(days=28)), detail={"version": "0.1", "runtime": "tflite"}))
    ids = {}
    for at, name in sorted(moments(dice), key=lambda moment: moment[0]):
        event = decision(at, name, judge, dice)
        ids["granted" if event.granted else "refused" if name else "strange"] = store.record(event)
    store.record(Event("unlock", stamp(LAST), actor="olga", detail={"reason": "parcel"}))
    store.attach(ids["granted"], jpeg_of(Picture.from_rgb(scene()), (320, 240)), most_bytes=1 << 20)
    return ids


def scene() -> np.ndarray:
    """Draw somebody before a wall, roughly: no real face is kept in the documents."""
    y, x = np.mgrid[0:240, 0:320]
    image = np.full((240, 320, 3), (150, 160, 170), np.uint8)
    for (left, top, wide, high), colour in (
        ((160, 250, 90, 90), (60, 80, 120)),
        ((160, 115, 48, 62), (205, 160, 130)),
        ((160, 78, 50, 34), (60, 40, 30)),
        ((143, 108, 6, 4), (30, 30, 30)),
        ((177, 108, 6, 4), (30, 30, 30)),
        ((160, 148, 40, 24), (120, 190, 220)),
    ):
        image[((x - left) / wide) ** 2 + ((y - top) / high) ** 2 < 1] = colour
    return image


def answers(*names: str) -> dict[str, tuple[str, str]]:
    """Ask what these pictures show; return by name the command as typed, and what was said, with its colours."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "maskgate.toml"
        file.write_text('[store]\npath = "gallery.db"\n', encoding="utf-8")
        settings = config.load(file)
        with open_store(settings.store.path, key=settings.store.key, create=True) as store:
            ids = furnish(store, *digests(Path(settings.models.path)))
        said = {}
        for name in names:
            args = [word.format(**ids) for word in SHOWN[name]]
            said[name] = f"maskgate {' '.join(args)}", ask(file, args)
        return said


def ask(file: Path, args: list[str]) -> str:
    """Run a command as on a terminal of 80 columns."""
    seen = {
        "FORCE_COLOR": "1",
        "COLUMNS": str(COLUMNS),
        "TERM": "xterm-256color",
        "TZ": "UTC",
    }
    program = "from maskgate.admin import main; main()"
    command = [sys.executable, "-c", program, "--config", str(file), *args]
    env = os.environ | seen | {"PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(HERE.parent / "daemon")}
    return subprocess.run(command, env=env, capture_output=True, check=True).stdout.decode()


def drawn(command: str, said: str) -> str:
    """Return the SVG of a terminal with a command and its answer, with no font from elsewhere."""
    console = Console(width=COLUMNS, record=True, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(f"$ {command}\n{said.rstrip()}"), soft_wrap=False)
    frame = re.sub(r"@font-face \{\{.*?\}\}\n|<!--.*?-->\n", "", CONSOLE_SVG_FORMAT, flags=re.S)
    return console.export_svg(title="", theme=SVG_EXPORT_THEME, code_format=frame, unique_id="maskgate")


if __name__ == "__main__":
    for name, (command, said) in answers(*SHOWN).items():
        (HERE / f"evening-{name}.svg").write_text(drawn(command, said), encoding="utf-8")
