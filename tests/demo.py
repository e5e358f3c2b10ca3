"""Show the main job: enrol people from photos, let shipped visits walk up, hold up pictures, print what the gate did.

Everything is the product: `maskgate enrol` fills a fresh gallery, and `run.serve`, the loop of `maskgate run`, plays
the visits at their own speed. Only the camera source and the pins are configured otherwise. The attacks are rendered.
Exits 0 if all went as visits.toml expects and every attack was refused as one; a visit that is made from a still photo
may be refused for that.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskgate import config
from maskgate.decide import ATTACKS, Decision
from maskgate.gate import Gate
from maskgate.run import Moment, serve
from maskgate.store import open_store

DATA = Path(__file__).parent / "data"
CONFIG = """
[camera]
source = "visits"
[gate]
pins = "simulated"
unlock_s = 1.0
[policy]
liveness = "balanced"
[store]
path = "gallery.db"
[control]
socket = "control.sock"
"""
LINE = "{who:<10} {decision:<8} {reason:<13} {score:>6} {threshold:>6}  {face:<6} {ms:>6}"


@dataclass
class Shown:
    """One clip, what was expected of it and what the gate made of it."""

    file: str
    words: str
    expected: list[dict[str, Any]]
    openings: int
    masked: bool
    attack_of: str | None = None
    """Whose picture is held up; None where people walk up."""
    still: bool = False
    """Whether it is made from a still photo, which the gate may see for what it is."""
    begin_s: float = float("inf")
    decisions: list[Decision] = field(default_factory=list)
    opened_s: list[float] = field(default_factory=list)

    def is_as_expected(self) -> bool:
        """Tell whether all is as visits.toml says: decisions, openings, masks. An attack must be refused as one."""
        if self.attack_of is not None:
            refused = all(d.reason in ATTACKS.values() and d.subject in (None, self.attack_of) for d in self.decisions)
            return bool(self.decisions) and refused and not self.opened_s
        if any(d.masked is not None and (d.masked >= 0.5) != self.masked for d in self.decisions):
            return False
        made = [{"subject": d.subject, "granted": d.granted, "reason": d.reason} for d in self.decisions]
        wanted = [{"subject": None, **expected} for expected in self.expected]
        if self.still and any(d.reason in ATTACKS.values() for d in self.decisions):
            rest = [one for one in made if one["reason"] not in (*ATTACKS.values(), "left")]
            return all(one in wanted for one in rest) and len(self.opened_s) == sum(d.granted for d in self.decisions)
        return made == wanted and len(self.opened_s) == self.openings


class Play:
    """Collects what the loop did, clip by clip."""

    def __init__(self, visits: list[Shown]) -> None:
        """Expect `visits` in this order."""
        self.visits = visits
        self.edges: list[tuple[float, bool]] = []

    def observe(self, moment: Moment, gate: Gate) -> None:
        """Note the moment in the clip where its visit began."""
        playing = next(visit for visit in self.visits if visit.file == moment.frame.origin)
        playing.begin_s = min(playing.begin_s, moment.frame.at_s)
        if moment.decision is not None:
            self._clip(moment.decision.first_s).decisions.append(moment.decision)
        self.edges = gate.edges()

    def sort_edges(self) -> None:
        """Give each opening of the relay to the clip that was playing."""
        for at_s, energised in self.edges:
            if energised:
                self._clip(at_s).opened_s.append(at_s)

    def _clip(self, at_s: float) -> Shown:
        return max((visit for visit in self.visits if visit.begin_s <= at_s), key=lambda visit: visit.begin_s)


def main() -> int:
    """Run the demo; return the exit code."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    described = tomllib.loads((DATA / "visits" / "visits.toml").read_text(encoding="utf-8"))
    visits = [
        Shown(v["file"], v["words"], v["expected"], v["openings"], v["masked"], still=v["made"] == "still")
        for v in described["visit"]
    ]
    held_up = tomllib.loads((DATA / "attacks" / "attacks.toml").read_text(encoding="utf-8"))["attack"]
    visits += [Shown(a["file"], a["words"], [], 0, False, attack_of=a["of"]) for a in held_up if a.get("demo")]
    with tempfile.TemporaryDirectory(prefix="maskgate-demo-") as name:
        folder = Path(name)
        settings = prepare(folder, described["enrolled"], visits)
        play = Play(visits)
        serve(settings, observe=play.observe)
        play.sort_edges()
        report(play, settings)
    as_expected = sum(visit.is_as_expected() for visit in visits)
    print(f"demo: {len(visits)} visits, {as_expected} as expected")
    return 0 if as_expected == len(visits) else 1


def prepare(folder: Path, enrolled: dict[str, list[str]], visits: list[Shown]) -> config.Settings:
    """Write the config, enrol the residents with the administrator's command, and lay the clips out in order."""
    path = folder / "maskgate.toml"
    path.write_text(CONFIG, encoding="utf-8")
    for name, photos in enrolled.items():
        paths = [str(DATA / "people" / photo) for photo in photos]
        command = [sys.executable, "-m", "maskgate.admin", "--config", str(path), "enrol", name, *paths]
        done = subprocess.run(command, capture_output=True, text=True)
        print("$ maskgate", *command[5:6], name, *photos, "->", (done.stdout + done.stderr).strip())
        done.check_returncode()
    (folder / "visits").mkdir()
    for number, visit in enumerate(visits):
        # The number keeps the order; the name that the loop reports is what visits.toml calls the clip.
        clip = DATA / ("attacks" if visit.attack_of else "visits") / visit.file
        visit.file = f"{number:02}_{visit.file}"
        (folder / "visits" / visit.file).symlink_to(clip)
    return config.load(path)


def report(play: Play, settings: config.Settings) -> None:
    """Print a line per decision, the relay's edges and what the log kept."""
    print(
        LINE.format(
            who="who", decision="decision", reason="reason", score="score", threshold="needed", face="face", ms="ms"
        )
    )
    for visit in play.visits:
        print(
            f"-- {visit.file}: {visit.words}"
            + ("" if visit.is_as_expected() else f"  NOT AS EXPECTED: {visit.expected or 'a refused attack'}")
        )
        for decision in visit.decisions:
            print(LINE.format(**worded(decision, visit)))
        if not visit.decisions:
            print("nobody     nothing")
        if visit.still and any(decision.reason in ATTACKS.values() for decision in visit.decisions):
            print("           (made from a still photo, and taken for one)")
    begin_s = play.visits[0].begin_s
    print("relay:", ", ".join(f"{at_s - begin_s:.2f} s {'on' if on else 'off'}" for at_s, on in play.edges))
    with open_store(Path(settings.store.path), readonly=True) as store:
        kinds = [event.kind for event in store.events()]
    print("log:", ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)))
    print("ms: from the exposure of the first usable frame to the relay's edge, or to the refusal")


def worded(decision: Decision, visit: Shown) -> dict[str, str]:
    """Return the columns of a decision's line."""
    moved_s = next((at_s for at_s in visit.opened_s if at_s >= decision.at_s), decision.at_s)
    usable_s = decision.first_usable_s
    return {
        "who": decision.subject or "-",
        "decision": "granted" if decision.granted else "refused",
        "reason": decision.reason,
        "score": "-" if decision.score is None else f"{decision.score:.3f}",
        "threshold": "-" if decision.threshold is None else f"{decision.threshold:.3f}",
        "face": "-" if decision.masked is None else "masked" if decision.masked >= 0.5 else "bare",
        "ms": "-" if usable_s is None else f"{(moved_s - usable_s) * 1000:.0f}",
    }


if __name__ == "__main__":
    sys.exit(main())
