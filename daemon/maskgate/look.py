"""Look at one picture: find the face that counts, align and judge it, see whether it is masked and lives, match it.

The gate, `inspect`, `enrol` and `evaluate` all look through here, so what is measured is what runs. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np

from maskgate import align, config, cues, decide
from maskgate.calibrate import Threshold, odds
from maskgate.faces import Faces
from maskgate.match import Gallery
from maskgate.pixels import Picture
from maskgate.values import (
    FAULTS,
    Backdrop,
    BadPhoto,
    Cover,
    Embedding,
    Face,
    Image,
    Match,
    Quality,
    Sighting,
    cover_of,
)

CROWD_SHARE = 0.3
"""A further face counts when its box has this share of the foremost one's area: it stands about as near."""


BACKDROP_WIDTH = 320
"""The backdrop of a sighting is at most this wide, pixels: a face from afar still has eyes a few pixels apart."""


class Stages:
    """How long each stage of a look took."""

    def __init__(self) -> None:
        """Start with no stage."""
        self.ms: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the milliseconds of the block to the stage `name`."""
        start = perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (perf_counter() - start) * 1000


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One face as the networks saw it."""

    face: Face
    crop: Image
    """(112, 112, 3) the aligned face."""
    quality: Quality
    masked: float | None = None
    """Probability of a mask; None when the picture was too poor to look further."""
    probe: Embedding | None = None

    @property
    def cover(self) -> Cover:
        """What covers the face."""
        return cover_of(self.masked or 0.0)


def foremost(found: Sequence[Face], size: tuple[int, int]) -> Face | None:
    """Return the face that counts in a picture of `size`: the largest, or of two alike the one nearer the middle.

    Never the one with the best detector score: once the subject wears a mask, a bare bystander scores higher.
    """
    half = np.array(size) / 2

    def weight(face: Face) -> float:
        off = np.abs(np.array(face.centre) - half) / half
        return face.area * (1 - 0.4 * float(np.clip(off.max(), 0, 1)))

    return max(found, key=weight, default=None)


def others_near(found: Sequence[Face], face: Face) -> int:
    """Count the further faces that stand about as near as `face`."""
    return sum(other is not face and other.area >= CROWD_SHARE * face.area for other in found)


def view(
    faces: Faces,
    picture: Picture,
    face: Face,
    bounds: align.Bounds,
    stages: Stages,
    *,
    anyway: bool = False,
    closely: bool = False,
) -> View:
    """Align and judge `face` of `picture`; if it is usable, or `anyway`, also see whether it is masked and embed it.

    `closely` is for a photo to be enrolled; see `Faces.recognise`.
    """
    with stages.time("refine"):
        face = faces.refine(picture, face)
    with stages.time("align"):
        crop = picture.sample(align.face_matrix(face.landmarks), (align.SIDE, align.SIDE))
    with stages.time("judge"):
        quality = align.judge(Picture.from_rgb(crop).luma(), face, picture.size, bounds)
    if not quality.usable and not anyway:
        return View(face, crop, quality)
    with stages.time("embed"):
        probe, masked = faces.recognise(crop, wider(picture, face), closely=closely)
    return View(face, crop, quality, masked, probe)


def wider(picture: Picture, face: Face) -> Callable[[], Image]:
    """Return what lays `face`, already refined, out once more for `Faces.recognise`: only some faces are worth it."""
    return partial(picture.sample, align.face_matrix(face.landmarks, align.WIDE), (align.SIDE, align.SIDE))


def sight(
    faces: Faces,
    gallery: Gallery,
    main: Picture,
    lores: Picture,
    *,
    at_s: float,
    bounds: align.Bounds,
    stages: Stages | None = None,
) -> Sighting | None:
    """Look at a frame: detect in `lores`, recognise in `main` (the same view, larger). None for nobody there."""
    stages = stages or Stages()
    with stages.time("detect"):
        found = [scaled(face, lores.size, main.size) for face in faces.find(lores)]
    face = foremost(found, main.size)
    if face is None:
        return None
    seen = view(faces, main, face, bounds, stages)
    with stages.time("liveness"):
        live = None if seen.probe is None else faces.liveness(main, face)
        behind = None if seen.probe is None else backdrop(lores, main.size)
    with stages.time("match"):
        match: Match | None = None if seen.probe is None else gallery.search(seen.probe, seen.cover)
    return Sighting(
        at_s=at_s,
        face=seen.face,
        quality=seen.quality,
        masked=seen.masked or 0.0,
        live=live,
        probe=seen.probe,
        match=match,
        others=others_near(found, face),
        backdrop=behind,
        ms=stages.ms,
    )


def backdrop(lores: Picture, size: tuple[int, int]) -> Backdrop:
    """Return `lores` grey and small, as what lies behind a face found in a picture of `size` (w, h)."""
    luma = lores.luma()
    step = -(-luma.shape[1] // BACKDROP_WIDTH)
    rows, columns = luma.shape[0] // step, luma.shape[1] // step
    blocks = luma[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return Backdrop(blocks.mean(axis=(1, 3)).astype(np.uint8), luma.shape[1] / step / size[0])


def scaled(face: Face, lores: tuple[int, int], main: tuple[int, int]) -> Face:
    """Take a face found in a small picture to the large one of the same view."""
    if lores == main:
        return face
    scale = np.array(main, np.float64) / lores
    left, top, right, bottom = face.box
    return replace(
        face,
        box=(left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]),
        # Pixel middles: what lies at 0 of the small picture lies at (scale - 1) / 2 of the large one.
        landmarks=((face.landmarks + 0.5) * scale - 0.5).astype(np.float32),
    )


def portrait(faces: Faces, picture: Picture, bounds: align.Bounds, *, of: str) -> View:
    """Look at a photo of one person for enrolment; raise BadPhoto, beginning with `of`, when it will not do."""
    found = faces.find(picture, thorough=True)
    face = foremost(found, picture.size)
    if face is None:
        raise BadPhoto(f"{of}: no face found; take one from the front, in good light, filling a third of the picture")
    others = others_near(found, face)
    if others:
        raise BadPhoto(f"{of}: {others + 1} faces are in the photo; crop it to the one person")
    seen = view(faces, picture, face, bounds, Stages(), closely=True)
    if seen.quality.faults:
        raise BadPhoto(f"{of}: {FAULTS[seen.quality.faults[0]]} ({seen.quality.faults[0]})")
    return seen


def bounds_of(quality: config.Quality) -> align.Bounds:
    """Return the core's bounds as the settings say them."""
    return align.Bounds(**{name: getattr(quality, name) for name in align.Bounds.__slots__})


def thresholds_of(faces: Faces, settings: config.Policy, templates: int) -> dict[Cover, Threshold]:
    """Return the thresholds that the owner's odds mean for a gallery of so many templates."""
    return faces.calibration.thresholds(
        settings.stranger_odds, templates=templates, looks=settings.looks, agree=settings.agree
    )


def odds_of(limit: Threshold, settings: config.Policy, templates: int) -> int:
    """Return the strangers' visits of which at most one is let in at `limit`."""
    return odds(limit, templates=templates, looks=settings.looks, agree=settings.agree)


def rules_of(faces: Faces, settings: config.Policy) -> cues.Rules | None:
    """Return how sure of life the gate must be, None where it is not asked; unsure is what `strict` would refuse."""
    if settings.liveness == "off":
        return None
    # Lenient: the network must have answered, whatever it said.
    needed = 0.0 if settings.liveness == "lenient" else faces.liveness_at[settings.liveness].live
    if settings.lives_from is not None:
        needed = settings.lives_from
    return cues.Rules(needed, sure=max(needed, faces.liveness_at["strict"].live))


def policy_of(settings: config.Settings, faces: Faces, templates: int) -> decide.Policy:
    """Return the decision's policy for a gallery of so many templates."""
    policy = settings.policy
    limits = thresholds_of(faces, policy, templates)
    return decide.Policy(
        thresholds={cover: limit.score for cover, limit in limits.items()},
        agree=policy.agree,
        looks=policy.looks,
        patience_s=policy.patience_s,
        margin=policy.margin,
        regrant_s=policy.regrant_s,
        gone_s=policy.gone_s,
        retry_s=policy.retry_s,
        backoff_after=policy.backoff_after,
        backoff_s=policy.backoff_s,
        stale_s=settings.camera.stale_s,
        one_face=policy.two_faces == "refuse",
        liveness=rules_of(faces, policy),
        challenge=policy.challenge,
    )
