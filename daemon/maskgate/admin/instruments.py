"""Instruments for scripts: `inspect` looks at photos, `replay` runs visits through the gate's loop. Records nothing.

Their JSON is a contract: keys are added, never renamed or removed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from maskgate.admin.screen import cell, json_line
from maskgate.admin.session import Session, gallery_if_any, is_absent, load_faces

if TYPE_CHECKING:
    from maskgate import align, config
    from maskgate.camera import Camera, Frame
    from maskgate.decide import Decision
    from maskgate.faces import Faces
    from maskgate.look import View
    from maskgate.match import Gallery
    from maskgate.run import Roster
    from maskgate.values import Cover


# -- inspect -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lens:
    """What every photo is looked at with."""

    faces: Faces
    gallery: Gallery
    bounds: align.Bounds
    thresholds: dict[Cover, float]
    embedding: bool
    """Whether the embedding is wanted."""


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--embedding", is_flag=True, help="With the embedding as a list of numbers (needs --json).")
@click.option("--json", "as_json", is_flag=True, help="A JSON object per image.")
@click.pass_obj
def inspect(session: Session, images: tuple[str, ...], embedding: bool, as_json: bool) -> None:
    """Say what the gate makes of each IMAGE, in order; - reads names from stdin, one a line.

    What is wrong with one image is said in its place ("error"); the others are looked at all the same.
    """
    if embedding and not as_json:
        raise click.UsageError("--embedding needs --json")
    lens = _lens(session.settings_if_any(), embedding)
    for path in _paths(images):
        found = _inspected(path, lens)
        if as_json:
            json_line(found)
        else:
            click.echo(_worded(found))


def _lens(settings: config.Settings, embedding: bool) -> Lens:
    """Load the networks and the gallery, and run each network once: the first inference is slow."""
    from maskgate import look
    from maskgate.run import warm_up

    faces = load_faces(settings)
    gallery = gallery_if_any(settings, faces)
    limits = look.thresholds_of(faces, settings.policy, len(gallery))
    warm_up(faces, settings.camera)
    thresholds = {cover: limit.score for cover, limit in limits.items()}
    return Lens(faces, gallery, look.bounds_of(settings.quality), thresholds, embedding)


def _paths(images: tuple[str, ...]) -> Iterator[str]:
    """Yield each path; those on stdin as they come."""
    for image in images:
        if image == "-":
            # Bytes: a file's name need not be text in any encoding.
            for line in sys.stdin.buffer:
                if name := line.rstrip(b"\r\n"):
                    yield os.fsdecode(name)
        else:
            yield image


def _inspected(path: str, lens: Lens) -> dict[str, Any]:
    """Look at one photo as enrolling does, but embed even a poor face."""
    from maskgate import look
    from maskgate.pixels import load_photo
    from maskgate.values import BadPhoto, one_line

    stages, start = look.Stages(), perf_counter()
    try:
        with stages.time("read"):
            picture = load_photo(Path(path))
    except BadPhoto as error:
        return {"path": path, "error": one_line(error)}
    with stages.time("detect"):
        face = look.foremost(lens.faces.find(picture, thorough=True), picture.size)
    if face is None:
        return {"path": path, "error": f"{path}: no face found"}
    seen = look.view(lens.faces, picture, face, lens.bounds, stages, anyway=True)
    with stages.time("liveness"):
        live = lens.faces.liveness(picture, face)
    with stages.time("match"):
        match = _matched(seen, lens)
    stages.ms["total"] = (perf_counter() - start) * 1000
    return {"path": path} | _described(seen, live, lens.embedding) | {"match": match, "ms": _rounded(stages.ms)}


def _described(seen: View, live: float, embedding: bool) -> dict[str, Any]:
    """Word a view as JSON values."""
    face = {"box": list(seen.face.box), "landmarks": seen.face.landmarks.tolist(), "score": seen.face.score}
    described: dict[str, Any] = {
        "face": face,
        "quality": asdict(seen.quality) | {"usable": seen.quality.usable},
        "masked": seen.masked,
        "live": live,
    }
    if embedding and seen.probe is not None:
        described["embedding"] = seen.probe.tolist()
    return described


def _matched(seen: View, lens: Lens) -> dict[str, Any] | None:
    """Search the gallery with the product's own scoring; None when nobody is enrolled."""
    from maskgate.values import needed

    match = None if seen.probe is None else lens.gallery.search(seen.probe, seen.cover)
    return None if match is None else asdict(match) | {"threshold": needed(lens.thresholds, seen.masked or 0.0)}


def _rounded(ms: dict[str, float]) -> dict[str, float]:
    return {stage: round(spent, 3) for stage, spent in ms.items()}


def _worded(found: dict[str, Any]) -> str:
    """Say it to a person in one line."""
    path = click.format_filename(found["path"])
    if "error" in found:
        return click.format_filename(found["error"])
    quality, match = found["quality"], found["match"]
    words = [f"{path}: {quality['face_px']:.0f} px", "masked" if found["masked"] >= 0.5 else "bare"]
    words.append(", ".join(quality["faults"]) or "good")
    words.append(f"live {found['live']:.2f}")
    if match is not None:
        words.append("{subject} {score:.3f} of {threshold:.3f}, margin {margin:.3f}".format(**match))
    words.append(f"{found['ms']['total']:.0f} ms")
    return "; ".join(words)


# -- replay --------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--json", "as_json", is_flag=True, help="A JSON object per visit.")
@click.pass_obj
def replay(session: Session, sources: tuple[str, ...], as_json: bool) -> None:
    """Say how each visit in each SOURCE (a video, or a folder of videos and stills) would have ended.

    Every frame runs through the gate's own loop, as fast as it can. Nothing is recorded and nothing is driven.
    """
    from maskgate.values import CameraError

    settings = session.settings_if_any()
    faces = load_faces(settings)
    failed = False
    with _roster(settings, faces) as roster:
        for source in sources:
            try:
                for visit in _visits(source, settings, faces, roster):
                    if as_json:
                        json_line(visit)
                    else:
                        click.echo(_told(visit))
            except CameraError as error:
                click.echo(f"maskgate: {error}", err=True)
                failed = True
    if failed:
        sys.exit(1)


@contextmanager
def _roster(settings: config.Settings, faces: Faces) -> Iterator[Roster]:
    """Hold the gallery with its policy, read-only; nobody is enrolled where there is no gallery yet."""
    from maskgate.run import Roster
    from maskgate.store import open_store

    place = Path(settings.store.path)
    with nullcontext() if is_absent(place) else open_store(place, key=settings.store.key, readonly=True) as store:
        roster = Roster(store, faces, settings)
        roster.refresh(0.0, every_s=0)
        yield roster


class Closed:
    """A camera whose picture goes black after the last frame, for long enough that whoever stood there has left."""

    def __init__(self, camera: Camera, gone_s: float) -> None:
        """Play `camera` and then the end."""
        self._camera, self._gone_s = camera, gone_s
        self._end_s: float | None = None

    def clock(self) -> float:
        """Return the time of the newest frame."""
        return self._camera.clock() if self._end_s is None else self._end_s

    def frames(self) -> Iterator[Frame]:
        """Yield every frame, then one of an empty scene."""
        from dataclasses import replace

        import numpy as np

        from maskgate.pixels import Picture

        last: Frame | None = None
        for last in self._camera.frames():
            yield last
        if last is None:
            return
        width, height = last.lores.size
        black = Picture.from_rgb(np.zeros((height, width, 3), np.uint8))
        self._end_s = last.at_s + 2 * self._gone_s
        yield replace(last, at_s=self._end_s, main=black, lores=black)


def _visits(source: str, settings: config.Settings, faces: Faces, roster: Roster) -> Iterator[dict[str, Any]]:
    """Yield each visit of one source as JSON values; CameraError when it cannot be played."""
    import msgspec

    from maskgate.camera import open_camera
    from maskgate.run import attend

    camera = msgspec.structs.replace(settings.camera, source=source, paced=False)
    with open_camera(camera) as opened:
        start_s: float | None = None
        whole = Closed(opened, settings.policy.gone_s)
        moments = attend(whole, faces=faces, roster=roster, settings=settings, carry_out=lambda decision, _: decision)
        for moment in moments:
            start_s = moment.frame.at_s if start_s is None else start_s
            if moment.decision is not None:
                yield {"source": source} | _visit(moment.decision, start_s)


def _visit(decision: Decision, start_s: float) -> dict[str, Any]:
    """Word a decision; times are seconds from the start of the source."""
    first_s = decision.first_usable_s
    return {
        "subject": decision.subject,
        "granted": decision.granted,
        "reason": decision.reason,
        "score": decision.score,
        "margin": decision.margin,
        "masked": decision.masked,
        "live": decision.live,
        "frames": decision.frames,
        "first_usable_s": None if first_s is None else round(first_s - start_s, 3),
        "decided_s": round(decision.at_s - start_s, 3),
    }


def _told(visit: dict[str, Any]) -> str:
    """Say it to a person in one line."""
    word = "GRANTED" if visit["granted"] else "refused"
    who = visit["subject"] or "-"
    score = "" if visit["score"] is None else f", score {cell(visit['score'])}"
    source = click.format_filename(visit["source"])
    return f"{source}  {visit['decided_s']:.1f} s  {word}  {who}  {visit['reason']}{score}"
