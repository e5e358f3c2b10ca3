"""Measure whether what is around a face moves with it, as around a picture held up. Numpy alone; opens nothing.

Behind a person stands a wall that stays where it is while the head moves. A print or a screen brings its own
surroundings: its margin, its edge, the hands that hold it. So the ring around the face in one look is looked for twice
in another: where it has to be if the face took it along, and where it was. Head and body are left out in both, those
parts of the wall, too, that they hide in the other look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskgate import align
from maskgate.values import Backdrop, Matrix, Points

Floats = NDArray[np.float64]

SIDE = 48
"""Width and height of a patch around a face, its own pixels."""
PIXEL = 0.15
"""Size of such a pixel, distances between the eyes: the patch reaches three and a half of them to each side."""
MOVED = 2.0
"""How far a face must have moved between two looks, patch pixels: below, going along and staying look the same."""
LEAST_SEEN = 130
"""Pixels of the ring that must lie in both pictures."""


BESIDE, ABOVE, BELOW = 1.7, 2.1, 1.6
"""A person reaches so far beside and above the middle of the eyes, and below it begins the body, eye distances."""


def _is_person(x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Tell of points of a patch whether head or body may be there."""
    across, down = ((at - (SIDE - 1) / 2) * PIXEL for at in (x, y))
    person: NDArray[np.bool_] = ((np.abs(across) < BESIDE) & (down > -ABOVE)) | (down > BELOW)
    return person


GRID = (np.arange(SIDE, dtype=np.float64)[None, :], np.arange(SIDE, dtype=np.float64)[:, None])
RING = ~_is_person(*GRID)
"""(SIDE, SIDE) beside the hair, above the shoulders, and over the head."""


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """A face's surroundings in one look."""

    backdrop: Backdrop
    back: Matrix
    """(2, 3) from the patch, whose middle is between the eyes, to the backdrop."""
    slopes: Floats
    """(2, SIDE, SIDE) slopes of the patch, across and down."""
    inside: NDArray[np.bool_]
    """(SIDE, SIDE) where the patch lies within the picture."""


def glimpse(backdrop: Backdrop, landmarks: Points) -> Glimpse:
    """Take the patch around the face with these (5, 2) `landmarks`, in pixels of the picture that was looked at."""
    # Pixel middles: what lies at 0 of the picture lies at (scale - 1) / 2 of the backdrop.
    points = ((landmarks + 0.5) * backdrop.scale - 0.5).astype(np.float32)
    eyes = align.TEMPLATE[:2].astype(np.float64)
    unit = PIXEL * float(np.hypot(*(eyes[1] - eyes[0])))
    to_template = np.array([[unit, 0, eyes[:, 0].mean()], [0, unit, eyes[:, 1].mean()]])
    to_template[:, 2] -= unit * (SIDE - 1) / 2
    back = (np.linalg.inv(_square(align.face_matrix(points))) @ _square(to_template))[:2]
    patch, inside = _patch(backdrop.luma, back)
    return Glimpse(backdrop, back, _slopes(patch), inside)


def carried(before: Glimpse, now: Glimpse) -> float | None:
    """Return how much more the ring went along with the face than it stayed: correlations' difference, -2 to 2.

    None when the face moved too little to tell, or too little of the ring is in the picture.
    """
    if moved(before, now) < MOVED:
        return None
    there = [found for one, other in ((before, now), (now, before)) if (found := _gone_along(one, other)) is not None]
    return sum(there) / len(there) if there else None


def _gone_along(one: Glimpse, other: Glimpse) -> float | None:
    """Look for the ring of `one` in `other`; None when too little of it is in both pictures."""
    seen = RING & one.inside & other.inside & ~_is_person(*_taken(GRID, _between(one, other)))
    if seen.sum() < LEAST_SEEN:
        return None
    stayed = _slopes(_patch(other.backdrop.luma, one.back)[0])
    return _alike(one.slopes, other.slopes, seen) - _alike(one.slopes, stayed, seen)


def _between(one: Glimpse, other: Glimpse) -> Matrix:
    """Return the (2, 3) map that takes a still point from the patch of `one` to that of `other`."""
    across: Matrix = (np.linalg.inv(_square(other.back)) @ _square(one.back))[:2]
    return across


def _taken(points: tuple[Floats, Floats], by: Matrix) -> tuple[Floats, Floats]:
    """Return x and y of the points mapped by a (2, 3) matrix."""
    x, y = points
    return by[0, 0] * x + by[0, 1] * y + by[0, 2], by[1, 0] * x + by[1, 1] * y + by[1, 2]


def moved(before: Glimpse, now: Glimpse) -> float:
    """Return how far the patch's middle and upper corners went on average, in its pixels."""
    corners = np.array([[7, 7, 1], [SIDE - 7, 7, 1], [SIDE / 2, SIDE / 2, 1]]).T
    pixel = float(np.hypot(*now.back[:, 0]))
    return float(np.linalg.norm((before.back - now.back) @ corners, axis=0).mean()) / max(pixel, 1e-6)


def _patch(luma: NDArray[np.uint8], back: Matrix) -> tuple[Floats, NDArray[np.bool_]]:
    """Draw the patch, each pixel the mean of four samples, and tell which pixels lie within the picture."""
    fine = (np.arange(2 * SIDE) - 0.5) / 2
    x, y = _taken((fine[None, :], fine[:, None]), back)
    height, width = luma.shape
    inside = ((x >= 1) & (x <= width - 2) & (y >= 1) & (y <= height - 2))[::2, ::2]
    left, top = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    column, row = left.astype(np.intp), top.astype(np.intp)
    right, low = left - column, top - row
    at = row * width + column
    flat = luma.ravel().astype(np.float64)
    above = flat[at] * (1 - right) + flat[at + 1] * right
    below = flat[at + width] * (1 - right) + flat[at + width + 1] * right
    drawn = above * (1 - low) + below * low
    return drawn.reshape(SIDE, 2, SIDE, 2).mean(axis=(1, 3)), inside


def _slopes(patch: Floats) -> Floats:
    """Return the slopes of the patch, smoothed a little, across and down."""
    for axis in (0, 1):
        patch = (np.roll(patch, 1, axis) + 2 * patch + np.roll(patch, -1, axis)) / 4
    down, across = np.gradient(patch)
    return np.stack([across, down])


def _alike(one: Floats, other: Floats, seen: NDArray[np.bool_]) -> float:
    """Return the correlation of two patches' slopes where both are seen, -1 to 1."""
    a, b = one[:, seen], other[:, seen]
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-9))


def _square(matrix: Matrix) -> Matrix:
    """Return the (3, 3) form of a (2, 3) map."""
    return np.vstack([matrix, [0, 0, 1]])
