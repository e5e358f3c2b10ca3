"""`maskgate evaluate liveness`: how well the gate tells people from pictures of people. Records nothing.

Its JSON is a contract: keys are added, never renamed or removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate.admin.screen import json_line, progress, table
from maskgate.admin.session import Session, load_faces

if TYPE_CHECKING:
    from maskgate import config, pad
    from maskgate.faces import Faces
    from maskgate.pixels import Picture
    from maskgate.values import Box

STILLS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
CLIPS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
SIDES = {"live": True, "attack": False}
EVERY_S = 0.2
"""A clip is looked at so often."""
COVERS = ("bare", "masked")


@dataclass(frozen=True, slots=True)
class Shown:
    """One image, or one look at a clip."""

    path: str
    """Below the folder that is measured; of a clip with the time, as "a.mp4@1.2"."""
    species: str
    lives: bool
    """The truth."""
    visit: str
    """What it was seen in the course of."""
    cover: str | None = None
    """What the path says of a mask; None when it says nothing."""
    live: float | None = None
    """What the network says; None when there is no answer."""
    box: Box | None = None
    """The face's, in the image's pixels."""
    error: str | None = None


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--usable", is_flag=True, help="Leave out images that the gate would not count at a visit.")
@click.option("--at", type=click.FloatRange(0, 1), multiple=True, help="Another threshold than the gate's own.")
@click.option("--network", type=click.Path(path_type=Path), help="Measure this .tflite instead of the gate's.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write what was said of each image into this file.")
@click.option("--said", type=click.Path(path_type=Path), multiple=True, help="Look at nothing: read what --keep wrote.")
@click.option("--pictures", type=click.Path(path_type=Path), help="Draw liveness.svg into this folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with everything.")
@click.pass_obj
def liveness(
    session: Session,
    folder: Path,
    usable: bool,
    at: tuple[float, ...],
    network: Path | None,
    keep: Path | None,
    said: tuple[Path, ...],
    pictures: Path | None,
    as_json: bool,
) -> None:
    """Measure liveness on DIR/<species>/{live,attack}/: images or clips of people, and of attacks of one kind.

    A clip is a visit, and so are the images of a folder within, as in print/attack/ann-1/*.jpg; it is judged by the
    median of its looks. Any other image is a visit by itself. A path that says "mask" shows one, one that says "bare"
    none; of the others the gate's own judgement counts. Bounds are exact, 95 %.
    Example: maskgate evaluate liveness ~/attacks --pictures /tmp/curve
    """
    settings = session.settings_if_any()
    faces = load_faces(settings)
    if network is not None:
        faces = _with_network(faces, network, settings)
    shown = listed(folder)
    shown = [*_said(shown, said)] if said else [*_looked_at(folder, shown, faces, settings, usable)]
    if keep is not None:
        keep.write_text(json.dumps({one.path: asdict(one) for one in shown}), encoding="utf-8")
    limits = {word: told.live for word, told in faces.liveness_at.items()} | {f"{limit:g}": limit for limit in at}
    report = _report(folder, shown, limits)
    if pictures is not None:
        draw(pictures, shown)
    if as_json:
        json_line(report)
    else:
        _print(report)


# -- looking -------------------------------------------------------------------------------------------------------


def listed(folder: Path) -> list[Shown]:
    """Return every image and clip below DIR/<species>/{live,attack}, not yet looked at; BadPhoto when there is none."""
    from maskgate.values import BadPhoto

    if not folder.is_dir():
        raise BadPhoto(f"{folder}: no such folder; it must hold a folder for each species of attack")
    found = [
        _named(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in STILLS + CLIPS
        and len(path.relative_to(folder).parts) > 2
        and path.relative_to(folder).parts[1] in SIDES
    ]
    if not any(one.lives for one in found) and not any(not one.lives for one in found):
        raise BadPhoto(f"{folder}: no images or clips, as in {folder}/print/live/1.jpg and {folder}/print/attack/1.jpg")
    return found


def _named(path: Path) -> Shown:
    """Read off the path what it tells."""
    species, side = path.parts[:2]
    below = "/".join(path.parts[2:]).lower()
    cover = "masked" if "mask" in below else "bare" if "bare" in below else None
    within = len(path.parts) > 3 and not re.fullmatch("bare|masked?", path.parts[-2].lower())
    visit = path.parent if within and path.suffix.lower() in STILLS else path
    return Shown(str(path), species, SIDES[side], str(visit), cover)


def _with_network(faces: Faces, network: Path, settings: config.Settings) -> Faces:
    """Put another network for liveness into the gate."""
    from maskgate.faces import another

    return replace(faces, person=another(network, like=faces.person, threads=settings.models.threads))


def _looked_at(
    folder: Path, shown: Sequence[Shown], faces: Faces, settings: config.Settings, usable: bool
) -> Iterator[Shown]:
    """Look at each image as `inspect` does, and at each clip every EVERY_S."""
    with progress("looking", len(shown)) as (advance, _):
        for one in shown:
            looks = _clip if Path(one.path).suffix.lower() in CLIPS else _image
            yield from looks(folder, one, faces, settings, usable)
            advance()


def _image(folder: Path, one: Shown, faces: Faces, settings: config.Settings, usable: bool) -> Iterator[Shown]:
    from maskgate.pixels import load_photo
    from maskgate.values import BadPhoto, one_line

    try:
        picture = load_photo(folder / one.path)
    except BadPhoto as error:
        yield replace(one, error=one_line(error))
        return
    yield _judged(one, picture, picture, faces, settings, usable, thorough=True)


def _clip(folder: Path, one: Shown, faces: Faces, settings: config.Settings, usable: bool) -> Iterator[Shown]:
    import msgspec

    from maskgate.camera import open_camera
    from maskgate.values import CameraError, one_line

    camera = msgspec.structs.replace(settings.camera, source=str(folder / one.path), paced=False)
    try:
        with open_camera(camera) as opened:
            begin_s = next_s = None
            for frame in opened.frames():
                begin_s = frame.at_s if begin_s is None else begin_s
                if next_s is None or frame.at_s >= next_s:
                    next_s = frame.at_s + EVERY_S
                    look = replace(one, path=f"{one.path}@{frame.at_s - begin_s:.1f}")
                    yield _judged(look, frame.main, frame.lores, faces, settings, usable, thorough=False)
    except CameraError as error:
        yield replace(one, error=one_line(error))


def _judged(
    one: Shown, main: Picture, lores: Picture, faces: Faces, settings: config.Settings, usable: bool, *, thorough: bool
) -> Shown:
    """Ask the networks about one picture."""
    from maskgate import look

    face = look.foremost(faces.find(lores, thorough=thorough), lores.size)
    if face is None:
        return replace(one, error=f"{one.path}: no face found")
    face = look.scaled(face, lores.size, main.size)
    if usable or one.cover is None:
        seen = look.view(faces, main, face, look.bounds_of(settings.quality), look.Stages(), anyway=True)
        if usable and not seen.quality.usable:
            return replace(one, error=f"{one.path}: {seen.quality.faults[0]}")
        one = replace(one, cover=one.cover or seen.cover.value)
    return replace(one, live=faces.liveness(main, face), box=face.box)


def _said(shown: Sequence[Shown], files: Sequence[Path]) -> Iterator[Shown]:
    """Take what was said of each image from files that --keep wrote, or another network's script."""
    from maskgate.values import BadPhoto

    told: dict[str, Any] = {}
    for file in files:
        try:
            told |= json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadPhoto(f"{file}: cannot be read: {error}") from None
    for one in shown:
        looks = [name for name in told if name == one.path or name.startswith(f"{one.path}@")]
        for name in looks:
            given = told[name]
            yield replace(one, path=name, **{key: given.get(key) for key in ("live", "error")}, cover=given["cover"])
        if not looks:
            yield replace(one, error=f"{one.path}: nothing was said of it")


# -- measuring -----------------------------------------------------------------------------------------------------


def _presentations(shown: Sequence[Shown], unit: str) -> list[tuple[str, str, bool, float]]:
    """Species, cover, truth and probability of each image, or of each visit."""
    from maskgate import pad

    answered = [(one, one.live) for one in shown if one.live is not None]
    if unit == "image":
        return [(one.species, one.cover or "bare", one.lives, live) for one, live in answered]
    visits: dict[tuple[str, str, bool, str], list[float]] = {}
    for one, live in answered:
        visits.setdefault((one.species, one.cover or "bare", one.lives, one.visit), []).append(live)
    return [(species, cover, lives, pad.visit(looks)) for (species, cover, lives, _), looks in visits.items()]


def _sides(seen: Sequence[tuple[str, str, bool, float]], species: str | None, cover: str) -> tuple[Any, Any]:
    """Probabilities of the living and of the attacks of one species, or of all, and of one cover."""
    import numpy as np

    of = [(lives, live) for kind, worn, lives, live in seen if species in (None, kind) and worn == cover]
    living, attacks = (np.array([live for lives, live in of if lives == side], np.float64) for side in (True, False))
    return living, attacks


def _report(folder: Path, shown: Sequence[Shown], limits: dict[str, float]) -> dict[str, Any]:
    """Everything as JSON values."""
    rows: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for unit in ("image", "visit"):
        seen = _presentations(shown, unit)
        for species in [*sorted({kind for kind, *_ in seen}), None]:
            for cover in COVERS:
                live, attack = _sides(seen, species, cover)
                if not len(live) and not len(attack):
                    continue
                about = {"unit": unit, "species": species, "cover": cover}
                errors.append(about | {"live": len(live), "attacks": len(attack), "eer": _eer(live, attack)})
                rows += [
                    about | {"at": word, "live": limit} | _rates(live, attack, limit) for word, limit in limits.items()
                ]
    return {
        "folder": str(folder),
        "images": len(shown),
        "not_acquired": [one.error for one in shown if one.error],
        "equal_errors": errors,
        "mean_eer": _mean_eers(errors),
        "rates": rows,
    }


def _eer(live: Any, attack: Any) -> float | None:
    from maskgate import pad

    return pad.equal_error(live, attack) if len(live) and len(attack) else None


def _rates(live: Any, attack: Any, limit: float) -> dict[str, Any]:
    from maskgate import pad

    def told(found: pad.Share) -> dict[str, Any]:
        return asdict(found) | {"value": found.value}

    return {
        "apcer": told(pad.passed(attack, limit)) if len(attack) else None,
        "bpcer": told(pad.refused(live, limit)) if len(live) else None,
    }


def _mean_eers(errors: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean over species of the equal error, by unit and cover: each camera at its own best threshold."""
    means: dict[str, dict[str, float]] = {}
    for unit in ("image", "visit"):
        for cover in COVERS:
            of = [
                one["eer"]
                for one in errors
                if (one["unit"], one["cover"]) == (unit, cover) and one["species"] and one["eer"] is not None
            ]
            if of:
                means.setdefault(unit, {})[cover] = sum(of) / len(of)
    return means


# -- showing -------------------------------------------------------------------------------------------------------


def _print(report: dict[str, Any]) -> None:
    """Say it to a person."""
    lost = report["not_acquired"]
    click.echo(f"{report['images']} images; {len(lost)} without an answer (--json has the reasons)")
    for unit in ("image", "visit"):
        for word in dict.fromkeys(row["at"] for row in report["rates"]):
            rows = [row for row in report["rates"] if (row["unit"], row["at"]) == (unit, word)]
            click.echo(f"\nper {unit}, {word}: lives from {rows[0]['live']:.3f} on")
            table(["species", "", "APCER", "95 %", "n", "BPCER", "95 %", "n"], [_row(row) for row in rows])
        words = [
            f"{name} {100 * one['eer']:.1f} % {one['cover']}"
            for one in report["equal_errors"]
            if one["unit"] == unit and one["eer"] is not None
            for name in [one["species"] or "all at one threshold"]
        ]
        click.echo(f"\nequal error per {unit}: {'; '.join(words) or 'needs live and attack'}")
    for unit, means in report["mean_eer"].items():
        said = ", ".join(f"{cover} {100 * mean:.1f} %" for cover, mean in means.items())
        click.echo(f"mean of the species' equal errors per {unit}: {said}")


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    cells: list[object] = [row["species"] or "all", row["cover"]]
    for rate in (row["apcer"], row["bpcer"]):
        if rate is None:
            cells += ["-", "", None]
        else:
            cells += [f"{100 * rate['value']:.1f}", f"{100 * rate['low']:.1f}-{100 * rate['high']:.1f}", rate["n"]]
    return tuple(cells)


def draw(folder: Path, shown: Sequence[Shown]) -> None:
    """Write liveness.svg into `folder`: both errors over every threshold, of all species together."""
    from maskgate import pad
    from maskgate.admin import plots

    curves = {}
    for unit in ("image", "visit"):
        seen = _presentations(shown, unit)
        for cover in COVERS:
            live, attack = _sides(seen, None, cover)
            if len(live) and len(attack):
                name = f"{cover}, per {unit}: {len(attack)} attacks, {len(live)} live"
                curves[name] = [(apcer, bpcer) for _, apcer, bpcer in pad.trade(live, attack)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "liveness.svg").write_text(plots.trade(curves), encoding="utf-8")
