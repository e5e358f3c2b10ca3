"""Enrol people: from photos, from a folder or table of them, or before the gate's own camera. Nothing half-written.

Each person is one transaction. What was enrolled is known by its sha256, so a batch that was interrupted, or some of
whose photos were rejected, is simply run again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from maskgate.admin.screen import json_line, progress
from maskgate.admin.session import Session, actor, load_faces

if TYPE_CHECKING:
    from maskgate import config
    from maskgate.faces import Faces
    from maskgate.store import Store
    from maskgate.values import Cover, Embedding

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""What counts as a photo in a folder; anything else there is passed over."""

SURELY_MASKED = 0.998
"""From this on a photo is not bare: masks score .999 and more, but a bare face in a grey photo may score .994."""

Shot: TypeAlias = "tuple[Embedding, dict[str, Any]]"


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody to be enrolled."""

    name: str
    photos: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a wish."""

    name: str
    enrolled: int = 0
    known: int = 0
    """Photos that were enrolled before."""
    rejected: tuple[str, ...] = ()
    """One line for each photo, or for the person, that was not enrolled."""


@dataclass(frozen=True, slots=True)
class Office:
    """What enrolling takes."""

    faces: Faces
    store: Store
    settings: config.Settings
    force: bool
    """Whether a face may be enrolled under a second name."""


@click.command()
@click.argument("name", required=False)
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.option("--folder", type=click.Path(path_type=Path), help="A folder with a folder of photos for each person.")
@click.option("--csv", "listed", type=click.Path(path_type=Path), help="A CSV file with the columns name and photo.")
@click.option("--camera", is_flag=True, help="Take the shots at the gate; the daemon must be running.")
@click.option("--shots", type=click.IntRange(1, 10), default=3, show_default=True, help="How many shots to take there.")
@click.option("--force", is_flag=True, help="Enrol a face that is enrolled under another name already.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object per person.")
@click.pass_obj
def enrol(
    session: Session,
    name: str | None,
    photos: tuple[Path, ...],
    folder: Path | None,
    listed: Path | None,
    camera: bool,
    shots: int,
    force: bool,
    as_json: bool,
) -> None:
    """Enrol NAME from PHOTOS, or many people at once, or somebody who stands at the gate.

    A photo should show one person from the front, without a mask; photos with one help beside it. Photos that are
    enrolled already are skipped, so an interrupted batch may be run again.
    """
    ways = (bool(photos), folder is not None, listed is not None, camera)
    if sum(ways) != 1 or (folder is None and listed is None) == (name is None):
        raise click.UsageError("give NAME PHOTO..., or NAME --camera, or --folder DIR, or --csv FILE")
    wishes = _listed(listed) if listed else _foldered(folder) if folder else [Wish(name or "", photos)]
    with _office(session, force) as office:
        outcomes = [_at_gate(office, wishes[0].name, shots)] if camera else _enrol_all(office, wishes)
        _report(outcomes, as_json, summary=folder is not None or listed is not None)


@contextmanager
def _office(session: Session, force: bool) -> Iterator[Office]:
    """Open what enrolling takes; the gallery is made if there is none."""
    from maskgate.store import open_store

    settings = session.settings()
    faces = load_faces(settings)
    with open_store(Path(settings.store.path), key=settings.store.key, create=True) as store:
        yield Office(faces, store, settings, force)


def _report(outcomes: Sequence[Outcome] | Iterator[Outcome], as_json: bool, *, summary: bool) -> None:
    """Tell what came of each wish as it comes; exit with 1 when something was rejected."""
    done: list[Outcome] = []
    for outcome in outcomes:
        done.append(outcome)
        if as_json:
            json_line(asdict(outcome))
        elif outcome.enrolled or outcome.known:
            known = f", {outcome.known} known already" if outcome.known else ""
            click.echo(f"{outcome.name}: {outcome.enrolled} enrolled{known}")
    rejected = sum(len(outcome.rejected) for outcome in done)
    if summary and not as_json:
        click.echo(
            f"{len(done)} people: {sum(outcome.enrolled for outcome in done)} photos enrolled, "
            f"{sum(outcome.known for outcome in done)} known already, {rejected} rejected"
        )
    if rejected:
        sys.exit(1)


# -- what is wished ------------------------------------------------------------------------------------------------


def _foldered(folder: Path) -> list[Wish]:
    """Read DIR/<person>/<photo>; BadPhoto when there is nothing of the kind."""
    from maskgate.values import BadPhoto

    try:
        people = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        wishes = [Wish(person.name, tuple(_photos_in(person))) for person in people]
    except OSError as error:
        raise BadPhoto(f"{folder}: {error.strerror}; name a folder that can be read") from None
    if not any(wish.photos for wish in wishes):
        raise BadPhoto(f"{folder}: has no photos; put each person's into a folder of their name: {folder}/Anna/1.jpg")
    return wishes


def _photos_in(person: Path) -> list[Path]:
    return sorted(photo for photo in person.iterdir() if photo.suffix.lower() in SUFFIXES)


def _listed(path: Path) -> list[Wish]:
    """Read a CSV file; photos are relative to it. BadPhoto when it is none or lacks a column."""
    import csv

    from maskgate.values import BadPhoto

    wanted: dict[str, list[Path]] = {}
    try:
        # Spreadsheets write a byte-order mark, which would stick to the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if not {"name", "photo"} <= set(rows.fieldnames or ()):
                raise BadPhoto(f"{path}: columns are {rows.fieldnames}, must include name and photo")
            for row in rows:
                if not row["name"] or not row["photo"]:
                    raise BadPhoto(f"{path}: line {rows.line_num} has no name or no photo")
                wanted.setdefault(row["name"], []).append(path.parent / row["photo"])
    except OSError as error:
        raise BadPhoto(f"{path}: {error.strerror}; name a CSV file that can be read") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadPhoto(f"{path}: is no CSV file in UTF-8: {error}") from None
    if not wanted:
        raise BadPhoto(f"{path}: lists nobody; write a name and a photo on each line")
    return [Wish(name, tuple(photos)) for name, photos in wanted.items()]


# -- photos --------------------------------------------------------------------------------------------------------


def _enrol_all(office: Office, wishes: Sequence[Wish]) -> Iterator[Outcome]:
    """Enrol one person after another, with a progress bar where somebody watches."""
    with progress("enrolling", sum(len(wish.photos) for wish in wishes)) as (advance, say):
        for wish in wishes:
            outcome = _enrol_one(office, wish, advance)
            for line in outcome.rejected:
                say(f"maskgate: {line}")
            yield outcome


def _enrol_one(office: Office, wish: Wish, advance: Callable[[], None]) -> Outcome:
    """Enrol one person in one transaction; nothing of theirs when the name, or whose face it is, is in doubt."""
    from maskgate.values import BadName, BadPhoto

    shots: dict[Path, Shot] = {}
    rejected: list[str] = []
    known = 0
    try:
        name = _usable_name(office.store, wish.name)
        digests = _known_photos(office, name)
        for photo in wish.photos:
            try:
                digest = _digest(photo)
                if digest in digests:
                    known += 1
                else:
                    shots[photo] = _shot(office, photo, digest, name)
                    digests.add(digest)
            except _Twin:
                raise
            except BadPhoto as error:
                rejected.append(str(error))
            advance()
        if shots and not _has_bare(office, name, shots.values()):
            rejected += [f"{photo}: a mask is worn; enrol a photo without one first, or together" for photo in shots]
            shots.clear()
        if shots:
            office.store.enrol(name, [*shots.values()], model=office.faces.embedder, source="photo", actor=actor())
    except (BadName, _Twin) as error:
        return Outcome(wish.name, known=known, rejected=(*rejected, str(error)))
    return Outcome(name, len(shots), known, tuple(rejected))


def _usable_name(store: Store, name: str) -> str:
    """Return `name` as it is stored; BadName when nobody can be enrolled under it."""
    from maskgate.store import plain_name
    from maskgate.values import BadName, UnknownSubject

    plain = plain_name(name)
    try:
        revoked_at = store.subject(plain).revoked_at
    except UnknownSubject:
        return plain
    if revoked_at is not None:
        raise BadName(f"name {plain!r}: was revoked at {revoked_at}, reinstate or erase that subject")
    return plain


def _known_photos(office: Office, name: str) -> set[str]:
    """Return the sha256 of each photo of `name` that is enrolled with the model that runs."""
    return {detail["photo"] for detail in office.store.details(name, office.faces.embedder) if "photo" in detail}


def _has_bare(office: Office, name: str, shots: Iterable[Shot]) -> bool:
    """Tell whether `name` is enrolled without a mask, or is about to be: what a mask hides is half of the evidence."""
    details = [*office.store.details(name, office.faces.embedder), *(detail for _, detail in shots)]
    return any(detail.get("masked", 0.0) < SURELY_MASKED for detail in details)


def _digest(photo: Path) -> str:
    """Return the sha256 of a file; empty when it cannot be read, for reading the photo will say why."""
    import hashlib

    try:
        with photo.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _shot(office: Office, photo: Path, digest: str, name: str) -> Shot:
    """Look at a photo; BadPhoto when it will not do, _Twin when it shows somebody enrolled under another name."""
    from maskgate import look
    from maskgate.pixels import load_photo
    from maskgate.values import BadPhoto

    seen = look.portrait(office.faces, load_photo(photo), look.bounds_of(office.settings.quality), of=str(photo))
    if seen.probe is None or seen.masked is None:
        raise BadPhoto(f"{photo}: no embedding could be made of it")
    if not office.force:
        _refuse_twin(office, name, seen.probe, seen.cover, of=str(photo))
    return seen.probe, {"photo": digest, "quality": asdict(seen.quality), "masked": seen.masked}


class _Twin(Exception):
    """The face is enrolled under another name; its text is one line."""


def _refuse_twin(office: Office, name: str, probe: Embedding, cover: Cover, *, of: str) -> None:
    """Raise _Twin when the gate itself would take this face for somebody other than `name`."""
    from maskgate import look

    templates = office.store.templates(office.faces.embedder)
    others = [template for template in templates if template.subject != name]
    match = office.faces.gallery(others).search(probe, cover)
    limit = look.thresholds_of(office.faces, office.settings.policy, len(templates))[cover]
    if match is not None and match.score >= limit.score:
        raise _Twin(
            f"{of}: this face is enrolled as {match.subject!r} (score {match.score:.3f}, threshold {limit.score:.3f}); "
            f"nothing of {name!r} was enrolled, --force does it anyway"
        )


# -- the gate's camera ---------------------------------------------------------------------------------------------


def _at_gate(office: Office, name: str, shots: int) -> Outcome:
    """Let the running daemon take shots, showing meanwhile what it sees and asks for; then enrol them."""
    from maskgate.admin.sitting import sit
    from maskgate.values import Cover, DaemonError

    plain = _usable_name(office.store, name)
    answer = sit(office.settings, plain, shots)
    if answer["model"] != office.faces.embedder:
        raise DaemonError("the daemon runs another model than is installed; restart it: systemctl restart maskgate")
    taken = [_received(shot) for shot in answer["shots"]]
    try:
        for probe, _ in taken if not office.force else []:
            _refuse_twin(office, plain, probe, Cover.BARE, of="camera")
    except _Twin as error:
        click.echo(f"maskgate: {error}", err=True)
        return Outcome(plain, rejected=(str(error),))
    office.store.enrol(plain, taken, model=office.faces.embedder, source="camera", actor=actor())
    return Outcome(plain, len(taken))


def _received(shot: dict[str, Any]) -> Shot:
    """Read one shot of the daemon's answer."""
    import base64

    import numpy as np

    embedding = np.frombuffer(base64.b64decode(shot["embedding"]), "<f4").astype(np.float32)
    return embedding, {"quality": shot["quality"]}
