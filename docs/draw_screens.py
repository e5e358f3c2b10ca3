"""Draw docs/watch.svg and docs/enrol.svg, the README's screens: `python docs/draw_screens.py`. A test compares them.

The lines are those that the commands themselves draw, of a gate that is made up here.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from rich.cells import cell_len

from maskgate import config
from maskgate.admin.board import View, lines
from maskgate.admin.sitting import lines as sitting_lines
from maskgate.admin.terminal import Span

FOLDER = Path(__file__).parent
CELL, LINE, EDGE = 8.4, 18, 14
INKS = {"": "#d8dee9", "strong": "#ffffff", "faint": "#8892a4", "good": "#00afff", "bad": "#ff8700", "alarm": "#ff8f70"}
PAPER = "#10141c"
QUALITY = {
    "face_px": 138.0,
    "sharpness": 0.21,
    "brightness": 101.0,
    "contrast": 41.0,
    "yaw": 0.1,
    "roll": 3.0,
    "eyes": 0.8,
}


def event(
    at: str, reason: str, subject: str | None = None, score: float | None = None, **more: object
) -> dict[str, object]:
    """Return one of the last events."""
    decided = {"kind": "decision", "reason": reason, "granted": reason == "granted"}
    return {"at": f"2026-11-25T{at}Z", "subject": subject, "score": score, "actor": None, **decided, **more}


def order(at: str, kind: str, actor: str) -> dict[str, object]:
    """Return an administrator's order."""
    return event(at, "") | {"kind": kind, "actor": actor, "reason": None, "granted": None}


GATE = {
    "version": "0.1.0",
    "state": "armed",
    "lock": "unlocked",
    "lock_left_s": 2.0,
    "relay": "energised",
    "fire": False,
    "door": "closed",
    "tampered": False,
    "up_s": 1_046_000.0,
    "fps": 15.0,
    "camera": {"source": "picamera2", "size": [1280, 960], "fps": 15.0},
    "gallery": {"subjects": 12, "templates": 31},
    "last_decision": {
        "ago_s": 1.0,
        "granted": True,
        "reason": "granted",
        "subject": "Anna",
        "score": 0.612,
        "threshold": 0.402,
        "live": 0.93,
    },
    "sighting": {"faults": [], "masked": 0.97, "quality": QUALITY},
    "events": [
        event("15:58:02", "granted", "王小明", 0.588),
        event("16:02:41", "poor_picture"),
        order("16:10:00", "lockdown", "olga"),
        event("16:12:17", "lockdown", "Ben", 0.641),
        order("16:30:05", "release", "olga"),
        event("16:31:12", "unknown", None, 0.187),
        event("16:44:50", "held_picture", "Anna", 0.655),
        event("17:01:33", "granted", "محمد علي", 0.534),
        event("17:02:08", "outside_schedule", "Cleo", 0.601),
        event("17:03:11", "granted", "Anna", 0.612),
    ],
}
VIEW = View(
    datetime(2026, 11, 25, 17, 3, 12, tzinfo=UTC), GATE, celsius=48.2, free_bytes=21_400_000_000,
    quality={"face_px": 56.0, "sharpness": 0.11, "eyes": 0.25},
)  # fmt: skip


def picture() -> str:
    """Return a face as a few ellipses see it, in the daemon's words: nobody's photo stands in the README."""
    y, x = np.mgrid[0:60, 0:80].astype(float)
    shade = 60 + x * 0.5

    def ellipse(cx: float, cy: float, rx: float, ry: float, value: float) -> None:
        shade[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1] = value

    ellipse(40, 66, 26, 18, 90)
    ellipse(40, 28, 15, 20, 60)
    ellipse(40, 31, 13, 17, 190)
    for eye in (34, 46):
        ellipse(eye, 27, 2.6, 1.6, 50)
    ellipse(40, 33, 1.6, 3, 150)
    ellipse(40, 40, 5, 1.2, 95)
    shade[[12, 50], 25:56] = 255
    shade[12:51, [25, 55]] = 255
    return f"60x80:{base64.b64encode(shade.astype(np.uint8).tobytes()).decode()}"


ENROL = {"face": True, "faults": [], "say": "good: turn the head a little", "taken": 1, "wanted": 3, "quality": QUALITY}


def drawn(screen: Sequence[Sequence[Span]], columns: int, title: str) -> str:
    """Draw a screen as an SVG."""
    wide, high = round(columns * CELL + 2 * EDGE), len(screen) * LINE + 2 * EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{wide}" height="{high}" rx="8" fill="{PAPER}"/>',
    ]
    for row, line in enumerate(screen):
        at, top = 0, EDGE + row * LINE
        for text, style in line:
            x, cells = EDGE + at * CELL, cell_len(text)
            at += cells
            if style.startswith("grey"):
                upper, lower = (8 + 10 * int(level) for level in style.split()[1:])
                for y, grey in ((top, upper), (top + LINE / 2, lower)):
                    parts.append(
                        f'<rect x="{x:.1f}" y="{y:g}" width="{cells * CELL:.1f}" height="{LINE / 2:g}" '
                        f'fill="rgb({grey},{grey},{grey})" shape-rendering="crispEdges"/>'
                    )
            elif text.strip():
                weight = ' font-weight="bold"' if style in ("strong", "good", "bad", "alarm") else ""
                # textLength: a cell is a cell, whatever font the reader has.
                parts.append(
                    f'<text x="{x:.1f}" y="{top + 14}" fill="{INKS[style]}"{weight} '
                    f'textLength="{cells * CELL:.1f}">{escape(text).replace(" ", chr(160))}</text>'
                )
    return "\n".join([*parts, "</svg>", ""])


def pictures() -> dict[str, str]:
    """Return each file's text by its name."""
    watch = lines(VIEW, 80, 24)
    enrol = sitting_lines(ENROL, picture(), config.Quality(), "Anna", 100, 24, blocks=True, plain=False)
    return {
        "watch.svg": drawn(watch, 80, "maskgate watch: the gate live in a terminal"),
        "enrol.svg": drawn(enrol, 100, "maskgate enrol Anna --camera: the dialogue before the gate"),
    }


if __name__ == "__main__":
    for name, text in pictures().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
