"""Look the gate over, from the board to the gallery, and say what would mend what is wrong. Changes nothing.

The first thing to send with a report of a fault: `maskgate doctor --json` names no person and shows no picture.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate import __version__
from maskgate.admin import checks
from maskgate.admin.checks import Finding, Machine
from maskgate.admin.screen import json_line
from maskgate.admin.session import Session, ask_daemon, is_absent, load_faces

if TYPE_CHECKING:
    from maskgate import config
    from maskgate.faces import Faces

SIGNS = {"pass": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per check.")
@click.option("--root", type=click.Path(path_type=Path), default="/", hidden=True)
@click.pass_obj
def doctor(session: Session, as_json: bool, root: Path) -> None:
    """Check board, camera, pins, clock, disk, networks, service and gallery; say what mends each fault.

    Exits with 1 when a check fails. Warnings do not count. Run it as root or the gate's own user: what you may not
    see, it cannot check.
    """
    findings: list[Finding] = []
    for found in _findings(session, Machine(root)):
        findings.append(found)
        if as_json:
            json_line(
                {"check": found.check, "verdict": found.verdict, "said": found.said}
                | ({"mend": found.mend} if found.mend else {})
            )
        else:
            _print(found)
    counted = {verdict: sum(found.verdict == verdict for found in findings) for verdict in SIGNS}
    if not as_json:
        click.echo(f"\n{counted['pass']} passed, {counted['warn']} warnings, {counted['fail']} failed")
    if counted["fail"]:
        raise SystemExit(1)


def _print(found: Finding) -> None:
    """Say one finding to a person: a line, and a second one with what mends it."""
    word, colour = SIGNS[found.verdict]
    # The word tells, the colour only helps; click leaves it out where the output is no terminal.
    styled = word.ljust(5) if os.environ.get("NO_COLOR") else click.style(word.ljust(5), fg=colour)
    click.echo(f"{styled} {found.check:<13} {found.said}")
    if found.mend:
        click.echo(f"{'':5} {'':13} -> {found.mend}")


def _findings(session: Session, machine: Machine) -> Iterator[Finding]:
    """Every check, the outermost first; what cannot be checked because something before it failed is left out."""
    from maskgate import config
    from maskgate.values import MaskgateError, one_line

    yield Finding("maskgate", "pass", __version__)
    yield from checks.board(machine)
    yield from checks.system(machine)
    try:
        settings, verdict = session.settings(), Finding("settings", "pass", str(session.path))
    except MaskgateError as error:
        mend = f"sudo ./install, which puts one there, or correct it: sudo nano {session.path}"
        settings, verdict = config.defaults(), Finding("settings", "fail", one_line(error), mend)
    yield verdict
    faces, found = _networks(settings)
    yield from found
    daemon, silence = ask_daemon(settings)
    yield from _camera(settings, daemon)
    yield from _pins(settings, machine, running=daemon is not None)
    yield from checks.clock(machine)
    yield from checks.disk(machine, Path(settings.store.path).parent)
    yield from checks.heat(machine)
    yield from _permissions(session.path, settings)
    yield from _service(machine, daemon, silence)
    yield from _hooks(settings.report)
    yield from _gallery(settings, faces)


def _networks(settings: config.Settings) -> tuple[Faces | None, list[Finding]]:
    """Load the networks: their digests are checked on the way, and the runtime says what runs them."""
    from maskgate.values import ModelError, one_line

    try:
        faces = load_faces(settings)
    except ModelError as error:
        return None, [Finding("networks", "fail", one_line(error), "run ./install again from a whole checkout")]
    named = ", ".join(f"{role} {digest[:8]}" for role, digest in faces.digests.items())
    found = [Finding("networks", "pass", f"{named}: as models.toml has them")]
    if faces.network.on_xnnpack:
        found.append(Finding("runtime", "pass", faces.runtime))
    else:
        mend = "pip install ai-edge-litert: its kernels are several times faster; ./install does it"
        found.append(Finding("runtime", "warn", faces.runtime, mend))
    return faces, found


def _camera(settings: config.Settings, daemon: dict[str, Any] | None) -> Iterator[Finding]:
    """Whether frames come: from the running gate, which owns the camera, else by taking one."""
    wanted = settings.camera
    if daemon is not None:
        used = daemon["camera"]
        said = f"{used['source']} {_size(used['size'])} and {_size(used['lores'])}"
        said += f", {used['format']}, in use by the gate" if used.get("format") else ", in use by the gate"
        if daemon["state"] == "camera_failed":
            yield Finding("camera", "fail", f"{said}: no frame comes", "rpicam-hello --list-cameras; check its cable")
        else:
            yield Finding("camera", "pass", f"{said}, {daemon['frames']:,} frames so far")
        return
    from maskgate.camera import open_camera
    from maskgate.values import CameraError, one_line

    try:
        with open_camera(wanted) as camera:
            frame = next(iter(camera.frames()), None)
    except CameraError as error:
        yield Finding("camera", "fail", one_line(error), "rpicam-hello --list-cameras; set camera.source")
        return
    if frame is None:
        yield Finding("camera", "fail", f"{wanted.source} has no frame", "set camera.source")
        return
    said = f"{wanted.source} gives {_size(frame.main.size)} and {_size(frame.lores.size)}"
    yield Finding("camera", "pass", f"{said}, {frame.form}" if frame.form else said)


def _size(size: Any) -> str:
    return "x".join(map(str, size))


def _pins(settings: config.Settings, machine: Machine, *, running: bool) -> Iterator[Finding]:
    """Where the relay and the others are wired, unless nothing is."""
    gate = settings.gate
    if gate.pins == "simulated":
        yield Finding("pins", "warn", 'gate.pins is "simulated": nothing is driven', 'set gate.pins = "gpio"')
        return
    used = {
        name: pin
        for name in type(gate).__struct_fields__
        if name.endswith("_pin") and isinstance(pin := getattr(gate, name), int)
    }
    yield from checks.pins(machine, used, relay=gate.relay_pin, active_high=gate.active_high)
    if not running:
        yield from checks.held_pins(machine, used)
    if not list((machine.root / "dev").glob("gpiochip*")):
        yield Finding("gpio", "fail", "this machine has no /dev/gpiochip", 'gate.pins = "simulated", or use a Pi')


def _permissions(path: Path, settings: config.Settings) -> Iterator[Finding]:
    """Who may read the people and change the settings: nobody but their owners."""
    wrong = []
    for place, forbidden in (
        (path, 0o022),
        (Path(settings.store.key), 0o077),
        (Path(settings.store.path).parent, 0o077),
        (Path(settings.store.path), 0o077),
    ):
        try:
            mode = stat.S_IMODE(place.stat().st_mode)
        except OSError:
            continue
        if mode & forbidden:
            wrong.append((place, mode, mode & ~forbidden))
    for place, mode, better in wrong:
        said = f"{place} has mode {mode:04o}: others may {'change' if mode & 0o022 else 'read'} it"
        yield Finding("permissions", "fail", said, f"sudo chmod {better:04o} {place}")
    if not wrong:
        yield Finding("permissions", "pass", "settings, key and gallery are their owners' alone")


def _service(machine: Machine, daemon: dict[str, Any] | None, silence: str | None) -> Iterator[Finding]:
    """Whether systemd starts the gate at boot, and whether it answers and is of this version."""
    enabled = machine.said("systemctl", "is-enabled", "maskgate")
    if enabled == "enabled":
        yield Finding("service", "pass", "systemd starts the gate at boot")
    else:
        yield Finding("service", "warn", "systemd does not start the gate at boot", "sudo systemctl enable maskgate")
    if daemon is None:
        mend = "sudo systemctl start maskgate; journalctl -u maskgate -n 20"
        yield Finding("daemon", "fail", silence or "no answer", mend)
    elif daemon["version"] != __version__:
        said = f"the running gate is {daemon['version']}, this command {__version__}"
        yield Finding("daemon", "fail", said, "sudo systemctl restart maskgate")
    else:
        yield Finding("daemon", "pass", f"{daemon['state']}, up {daemon['up_s']:.0f} s")


def _hooks(report: config.Report) -> Iterator[Finding]:
    """Whether the owner's programs can be run and are reached; nothing where none are wanted."""
    if not report.hooks:
        return
    from maskgate.hooks import executables
    from maskgate.values import HookError, one_line

    try:
        ready, refused = executables(Path(report.hooks))
    except HookError as error:
        yield Finding("hooks", "fail", one_line(error), f"sudo install -d -m 755 {report.hooks}")
        return
    yield from (Finding("hooks", "warn", f"not run: {line}", "maskgate hooks list") for line in refused)
    if not Path(report.hooks_socket).is_socket():
        mend = "sudo systemctl enable --now maskgate-hooks.socket"
        yield Finding("hooks", "fail", f"{report.hooks_socket}: nobody listens, so no event arrives", mend)
    else:
        yield Finding("hooks", "pass", f"{len(ready)} are run for each event: {', '.join(hook.name for hook in ready)}")


def _gallery(settings: config.Settings, faces: Faces | None) -> Iterator[Finding]:
    """Whether somebody can come in, and whether the thresholds hold what policy.stranger_odds promises."""
    place, templates = Path(settings.store.path), 0
    if is_absent(place):
        yield Finding("gallery", "warn", f"{place} is not there: nobody is enrolled", "sudo maskgate enrol NAME PHOTO")
    else:
        templates, found = _enrolled(place, settings.store.key, faces)
        yield found
    if faces is not None:
        yield from _calibration(settings, faces, templates)


def _enrolled(place: Path, key: str, faces: Faces | None) -> tuple[int, Finding]:
    """Count the templates that the networks in use can match, and say who has none."""
    from maskgate.store import open_store
    from maskgate.values import MaskgateError, one_line

    try:
        with open_store(place, key=key, readonly=True) as store:
            subjects = [subject for subject in store.subjects() if subject.revoked_at is None]
            templates = len(store.templates(faces.embedder)) if faces else 0
    except MaskgateError as error:
        return 0, Finding("gallery", "fail", one_line(error), f"sudo ls -l {place}*; put a backup in its place")
    stale = [s.name for s in subjects if faces and faces.embedder not in s.models]
    if not subjects:
        return 0, Finding("gallery", "warn", "nobody is enrolled", "sudo maskgate enrol NAME PHOTO")
    if stale:
        said = f"{len(stale)} of {len(subjects)} people were enrolled with other networks and are not known to these"
        return templates, Finding("gallery", "fail", said, "enrol each anew: maskgate status names them")
    return templates, Finding("gallery", "pass", f"{len(subjects)} people, {templates} templates")


def _calibration(settings: config.Settings, faces: Faces, templates: int) -> Iterator[Finding]:
    """Whether the measured scores support the odds that the owner asks for."""
    from maskgate import look

    limits = look.thresholds_of(faces, settings.policy, templates)
    short = {cover: look.odds_of(limit, settings.policy, templates) for cover, limit in limits.items()}
    short = {cover: odds for cover, odds in short.items() if not limits[cover].supported}
    for cover, odds in short.items():
        asked = settings.policy.stranger_odds
        said = f"{cover.value} faces: 1 in {asked:,} asked, no more than 1 in {odds:,} is supported"
        yield Finding("calibration", "warn", said, f"set policy.stranger_odds = {odds}, or enrol fewer templates")
    if not short:
        yield Finding("calibration", "pass", f"1 in {settings.policy.stranger_odds:,} strangers' visits, as measured")
