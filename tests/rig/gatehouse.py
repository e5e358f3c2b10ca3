"""A gate installed in a root: what is shared between the parts that need one. The installer itself has its own part."""

from __future__ import annotations

import shutil
import time
from functools import cache
from pathlib import Path

from rig import roots
from rig.box import Box, inside
from rig.report import Failed
from rig.roots import Root
from rig.shell import until

RELAY = "var/lib/maskgate/pins/gpio17"
"""The relay's simulated pin, a file that keeps its level when the daemon dies."""
INSTALLED = (("./install",), ("maskgate", "enrol", "Obama", "tests/data/people/Obama/enrol.jpg"))
SETTINGS = """
[camera]
source = "{source}"
paced = {paced}
[gate]
pins = "simulated"
pins_folder = "/var/lib/maskgate/pins"
[door]
rex_pin = 5
contact_pin = 16
[policy]
regrant_s = 1
{more}
"""


@cache
def installed(base: Root) -> Root:
    """Return a Debian with the gate in it, put there by `./install`, and Obama enrolled."""

    def build(root: Path) -> None:
        for command in INSTALLED:
            inside(root, *command, limit_s=900)

    return Root(f"{base.name}-gate", f"{INSTALLED}{roots.fingerprint()}", build, base)


def furnish(root: Path, source: str, more: str = "") -> None:
    """Write the settings of a gate without hardware, its camera a folder or the virtual one.

    Photos are shown as fast as they are looked at: a machine that is busy, where frames of a camera would be too old
    when they are decided on, comes to the same decisions.
    """
    paced = "true" if source == "picamera2" else "false"
    (root / "etc/maskgate/maskgate.toml").write_text(SETTINGS.format(source=source, paced=paced, more=more))


def visits(root: Path) -> str:
    """Have a resident and a stranger take turns, a second each, for longer than any part lasts; return the folder."""
    people = roots.checkout() / "tests/data/people"
    folder = root / "srv/visits"
    folder.mkdir()
    for number, name in enumerate(("Obama/blue_room.jpg", "Collins/portrait.jpg")):
        shutil.copy(people / name, folder / f"{number:05}.jpg")
    for number in range(2, 4000):
        (folder / f"{number:05}.jpg").symlink_to(f"{number % 2:05}.jpg")
    return "/srv/visits"


def logged(box: Box, *words: str, limit_s: float = 60) -> str:
    """Wait for an event of the log whose line has all these words, and return it; Failed with the log otherwise."""

    def seen() -> str | None:
        lines = box.run("maskgate", "log", "--json", limit_s=60).splitlines()
        return next((line for line in lines if all(word in line.replace(": ", ":") for word in words)), None)

    try:
        return until(" ".join(words), seen, limit_s=limit_s, every_s=0.5)
    except Failed as error:
        raise Failed(f"{box.tried('maskgate', 'log').stdout}\n{error}") from error


def relay(root: Path) -> bool:
    """Tell whether the simulated relay is energised."""
    try:
        return (root / RELAY).read_text().strip() == "1"
    except OSError:
        return False


def released(root: Path, *, limit_s: float) -> float:
    """Wait until the relay is at rest and return how many seconds that took."""
    begun_s = time.monotonic()
    until("the relay to be at rest", lambda: not relay(root), limit_s=limit_s, every_s=0.02)
    return time.monotonic() - begun_s
