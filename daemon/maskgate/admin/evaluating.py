"""`maskgate evaluate`: how well the gate's recognition does on somebody's own photos. Records nothing.

Its JSON is a contract: keys are added, never renamed or removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate.admin.liveness import liveness
from maskgate.admin.screen import json_line, progress, table
from maskgate.admin.session import Session, load_faces

if TYPE_CHECKING:
    from maskgate import align
    from maskgate.calibrate import Threshold
    from maskgate.cohort import Cohort
    from maskgate.faces import Faces
    from maskgate.values import Cover, Embedding

RATES = (1e-2, 1e-3, 1e-4)
FPIRS = (1e-2, 1e-3)
SIZES = (10, 100, 1000)
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class Evaluate(click.Group):
    """A group of measurements whose first word may be left out: `evaluate DIR` is `evaluate recognition DIR`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["recognition", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Evaluate)
def evaluate() -> None:
    """Measure the gate on your own photos: `maskgate evaluate DIR` is short for `evaluate recognition DIR`."""


evaluate.add_command(liveness)


@evaluate.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--gallery", "sizes", type=click.IntRange(2), multiple=True, help="People enrolled; 10, 100 and 1000.")
@click.option("--usable", is_flag=True, help="Leave out photos that the gate would not count at a visit.")
@click.option("--pictures", type=click.Path(path_type=Path), help="Draw roc.svg and scores.svg into this folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with everything.")
@click.pass_obj
def recognition(
    session: Session, folder: Path, sizes: tuple[int, ...], usable: bool, pictures: Path | None, as_json: bool
) -> None:
    """Measure recognition on DIR/<person>/*.jpg: one bare photo enrolled, the person's other photos as probes.

    A photo whose name or folder says "mask" is known to show one, one that says "bare" none; of the others the gate's
    own judgement counts. Intervals are 95 %, drawn over people. Example: maskgate evaluate ~/family --pictures /tmp/roc
    """
    settings = session.settings_if_any()
    faces = load_faces(settings)
    from maskgate import look

    paths = photos(folder)
    shown = list(_looked_at(paths, faces, look.bounds_of(settings.quality)))
    found = Found(tuple(s for s in shown if s.probe is not None and not (usable and s.faults)), faces.cohort)
    _must_compare(folder, found)
    limits = look.thresholds_of(faces, settings.policy, len({s.person for s in found.shown}))
    report = _report(folder, shown, found, sizes or SIZES, limits)
    if pictures is not None:
        draw(pictures, found, limits)
    if as_json:
        json_line(report)
    else:
        _print(report)


# -- looking -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One photo, and what the gate sees in it."""

    path: Path
    person: str
    truth: Cover | None
    """What the path says; None when it says nothing."""
    error: str | None = None
    faults: tuple[str, ...] = ()
    told: Cover | None = None
    probe: Embedding | None = None
    template: Embedding | None = None
    """As it would be enrolled."""

    @property
    def cover(self) -> Cover | None:
        """What it is taken for: the truth where it is known."""
        return self.truth or self.told


def photos(folder: Path) -> list[tuple[Path, str]]:
    """Return each photo below `folder` with its person, the folder's subfolder; BadPhoto when there are none."""
    from maskgate.values import BadPhoto

    if not folder.is_dir():
        raise BadPhoto(f"{folder}: no such folder; it must hold one folder of photos for each person")
    found = [
        (path, path.relative_to(folder).parts[0])
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PHOTOS and len(path.relative_to(folder).parts) > 1
    ]
    if not found:
        raise BadPhoto(f"{folder}: no photos ({' '.join(PHOTOS)}) in folders of people, as in {folder}/ann/1.jpg")
    return found


def truth(path: Path, person: str) -> Cover | None:
    """Return what the path below the person's folder says of the cover."""
    from maskgate.values import Cover

    below = path.parts[path.parts.index(person) + 1 :] if person in path.parts else path.parts[-1:]
    words = "/".join(below).lower()
    if "mask" in words:
        return Cover.MASKED
    return Cover.BARE if "bare" in words else None


def _looked_at(paths: Sequence[tuple[Path, str]], faces: Faces, bounds: align.Bounds) -> Iterator[Shown]:
    """Look at each photo as `inspect` does."""
    with progress("looking", len(paths)) as (advance, _):
        for path, person in paths:
            yield _seen(path, person, faces, bounds)
            advance()


def _seen(path: Path, person: str, faces: Faces, bounds: align.Bounds) -> Shown:
    from maskgate import look
    from maskgate.pixels import load_photo
    from maskgate.values import BadPhoto, Cover, one_line

    told = truth(path, person)
    try:
        picture = load_photo(path)
    except BadPhoto as error:
        return Shown(path, person, told, one_line(error))
    face = look.foremost(faces.find(picture, thorough=True), picture.size)
    if face is None:
        return Shown(path, person, told, f"{path}: no face found")
    seen = look.view(faces, picture, face, bounds, look.Stages(), anyway=True)
    cover = Cover.MASKED if (seen.masked or 0.0) >= 0.5 else Cover.BARE
    template, _ = faces.recognise(seen.crop, look.wider(picture, seen.face), closely=True)
    return Shown(path, person, told, None, seen.quality.faults, cover, seen.probe, template)


# -- measuring -----------------------------------------------------------------------------------------------------


class Found:
    """Every photo with a face, compared with every bare one."""

    def __init__(self, shown: tuple[Shown, ...], cohort: Cohort) -> None:
        """Compare."""
        import numpy as np

        from maskgate.values import Cover

        self.shown = shown
        _, self.people = np.unique([s.person for s in shown], return_inverse=True)
        self.masked = np.array([s.cover is Cover.MASKED for s in shown], bool)
        self.bare_at = np.nonzero(~self.masked)[0]
        probes, templates = (
            np.array(some, np.float32).reshape(len(shown), -1)
            for some in ([s.probe for s in shown], [s.template for s in shown])
        )
        self.scores = cohort.scores(templates[self.bare_at], probes)
        self.same_photo = self.bare_at[:, None] == np.arange(len(shown))[None, :]

    def pairs(self, cover: Cover) -> tuple[Any, Any, Any]:
        """Return genuine scores, the person of each, and impostors' scores, of bare photos with `cover` ones."""
        import numpy as np

        from maskgate.values import Cover

        columns = np.nonzero(self.masked == (cover is Cover.MASKED))[0]
        scores, same_photo = self.scores[:, columns], self.same_photo[:, columns]
        mine = self.people[self.bare_at][:, None] == self.people[columns][None, :]
        # Of two bare photos one order is enough.
        once = ~same_photo if cover is Cover.MASKED else self.bare_at[:, None] < columns[None, :]
        whose = np.broadcast_to(self.people[columns], mine.shape)
        return scores[mine & once], whose[mine & once], scores[~mine & once]


def _must_compare(folder: Path, found: Found) -> None:
    """Raise BadPhoto when there is nobody to tell apart."""
    from maskgate.values import BadPhoto

    people = len(set(found.people.tolist()))
    if people < 2:
        raise BadPhoto(f"{folder}: faces of {people} people were found, must be 2 or more")
    if len(found.bare_at) == 0:
        raise BadPhoto(f"{folder}: every face is masked; add a bare photo of each person to enrol")


def _report(
    folder: Path, shown: list[Shown], found: Found, sizes: Sequence[int], limits: dict[Cover, Threshold]
) -> dict[str, Any]:
    """Everything as JSON values."""
    faults = Counter(s.faults[0] for s in shown if s.faults)
    return {
        "folder": str(folder),
        "people": len({s.person for s in shown}),
        "photos": len(shown),
        "not_acquired": [s.error for s in shown if s.error],
        "unusable": dict(faults),
        "measured": len(found.shown),
        "verification": {cover.value: _verification(found, cover, limits[cover]) for cover in limits},
        "identification": _identification(found, sizes),
        "mask_told": _mask_told(found),
    }


def _verification(found: Found, cover: Cover, limit: Threshold) -> dict[str, Any]:
    """Rates of bare photos against probes of one cover."""
    from maskgate import measure

    genuine, whose, impostors = found.pairs(cover)
    told: dict[str, Any] = {"genuine": len(genuine), "impostors": len(impostors), "tar": {}, "policy": None}
    if not len(genuine) or not len(impostors):
        return told
    for rate in RATES:
        score = measure.threshold(impostors, rate)
        told["tar"][f"{rate:g}"] = (
            None if score is None else {"score": score} | asdict(measure.share(genuine >= score, whose))
        )
    told["policy"] = {
        "score": limit.score,
        "promised_fmr": limit.fmr,
        "fmr": measure.beyond(impostors, limit.score),
        "fnmr": asdict(measure.share(genuine < limit.score, whose)),
    }
    return told


def _identification(found: Found, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Searches of galleries of each size, by cover and FPIR, as far as people and strangers suffice."""
    import numpy as np

    from maskgate import measure
    from maskgate.values import Cover

    rows = []
    for cover in Cover:
        at = np.nonzero(found.masked == (cover is Cover.MASKED))[0]
        for size in sizes:
            for fpir in FPIRS:
                searched = measure.search(
                    found.scores[:, at],
                    found.people[found.bare_at],
                    found.people[at],
                    size=size,
                    fpir=fpir,
                    same=found.same_photo[:, at],
                )
                if searched is not None:
                    fnir = asdict(measure.share(searched.misses, searched.people))
                    rows.append({"cover": cover.value, "gallery": size, "fpir": fpir, "fnir": fnir})
    return rows


def _mask_told(found: Found) -> dict[str, Any]:
    """How often mask and bare were told right, where the paths say the truth."""
    import numpy as np

    from maskgate import measure
    from maskgate.values import Cover

    rates: dict[str, Any] = {}
    for cover in Cover:
        known = [i for i, s in enumerate(found.shown) if s.truth is cover]
        if known:
            right = np.array([found.shown[i].told is cover for i in known])
            rates[cover.value] = asdict(measure.share(right, found.people[known]))
    return rates


# -- showing -------------------------------------------------------------------------------------------------------


def _print(report: dict[str, Any]) -> None:
    """Say it to a person."""
    lost = report["not_acquired"]
    click.echo(f"{report['photos']} photos of {report['people']} people; {len(lost)} without a face that can be used")
    for error in lost[:10]:
        click.echo(f"  {click.format_filename(error)}")
    if len(lost) > 10:
        click.echo(f"  and {len(lost) - 10} more (--json has them all)")
    faults = ", ".join(f"{count} {fault}" for fault, count in report["unusable"].items())
    click.echo(f"the gate would not have counted: {faults or 'none'}; measured on {report['measured']} photos")
    for cover, told in report["verification"].items():
        _print_verification(cover, told)
    rows = [
        (row["cover"], row["gallery"], f"{row['fpir']:.1%}", *_words(row["fnir"])) for row in report["identification"]
    ]
    if rows:
        click.echo()
        table(["search with a probe", "enrolled", "FPIR", "FNIR", "95 %", "n"], rows)
    for cover, rate in report["mask_told"].items():
        value, interval, n = _words(rate)
        click.echo(f"known to be {cover}: told right {value} {interval}, n = {n}")


def _print_verification(cover: str, told: dict[str, Any]) -> None:
    """One cover's table."""
    click.echo(f"\nbare photo against {cover} probe: {told['genuine']} own pairs, {told['impostors']} of two people")
    rows: list[tuple[object, ...]] = []
    for rate, tar in told["tar"].items():
        if tar is None:
            rows.append((f"at FAR {rate}", None, None, "too few pairs", None))
        else:
            rows.append((f"at FAR {rate}", round(tar["score"], 3), *_words(tar)))
    if told["policy"]:
        policy = told["policy"]
        value, interval, n = _words(policy["fnmr"] | {"value": 1 - policy["fnmr"]["value"]} | _flipped(policy["fnmr"]))
        name = f"as set (FMR here {policy['fmr']:.1e})"
        rows.append((name, round(policy["score"], 3), value, interval, n))
    if rows:
        table(["", "score", "TAR", "95 %", "n"], rows)


def _flipped(rate: dict[str, Any]) -> dict[str, float]:
    return {"low": 1 - rate["high"], "high": 1 - rate["low"]}


def _words(rate: dict[str, Any]) -> tuple[str, str, int]:
    """Word a rate: value, interval, n."""
    return f"{rate['value']:.1%}", f"{rate['low']:.1%} to {rate['high']:.1%}", rate["n"]


def draw(folder: Path, found: Found, limits: dict[Cover, Threshold]) -> None:
    """Write roc.svg and scores.svg into `folder`."""
    from maskgate import measure
    from maskgate.admin import plots

    curves, bars, marks = {}, {}, {}
    for cover, limit in limits.items():
        genuine, _, impostors = found.pairs(cover)
        if len(genuine) and len(impostors):
            curves[f"{cover.value} probe, {len(genuine)} own pairs"] = measure.roc(genuine, impostors)
            bars[f"{cover.value}: two people"] = impostors
            bars[f"{cover.value}: one person"] = genuine
            marks[f"{cover.value}: as set"] = limit.score
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "roc.svg").write_text(plots.roc(curves), encoding="utf-8")
    (folder / "scores.svg").write_text(plots.histograms(bars, marks), encoding="utf-8")
