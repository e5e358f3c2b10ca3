"""Faces as the refiner meets them: roughly laid out, and where their landmarks then lie. Numpy and Pillow alone."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow

from disturb import degraded
from maskgate import align

SIDE = 96
"""The network sees the template with a rim of RIM template pixels, at this many pixels."""
RIM = 16.0
UNIT = 8.0
WIDE_RIM = 32
"""Rim of stage_eyes.py's pictures, template pixels."""


def wrong(rng: np.random.Generator) -> np.ndarray:
    """(2, 3) map from a wide crop to the network's input, wrongly laid out."""
    hard = rng.random() < 0.25
    angle = np.radians(rng.normal(0, 9 if hard else 4))
    scale = np.exp(rng.normal(0, 0.14 if hard else 0.06)) * SIDE / (align.SIDE + 2 * RIM)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([WIDE_RIM + align.SIDE / 2, WIDE_RIM + align.SIDE / 2 - 4]) + rng.normal(0, 7 if hard else 3, 2)
    return np.column_stack([turn, np.full(2, SIDE / 2) - turn @ middle])


def shown(crop: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(SIDE, SIDE, 3) the network's input, and (5, 2) where the landmarks lie, in UNITs off their places."""
    matrix = wrong(rng)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    image = Pillow.fromarray(crop).transform(
        (SIDE, SIDE), Pillow.Transform.AFFINE, _pillow(inverse), Pillow.Resampling.BILINEAR
    )
    at = points @ matrix[:, :2].T + matrix[:, 2]
    if rng.random() < 0.5:
        image = image.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
        at = np.column_stack([SIDE - 1 - at[:, 0], at[:, 1]])[[1, 0, 2, 4, 3]]
    return degraded(image, rng), ((at - places()) / UNIT).astype(np.float32)


def _pillow(inverse: np.ndarray) -> tuple[float, ...]:
    """Pillow's coefficients, whose pixels have their middles at halves."""
    moved = inverse.copy()
    moved[:, 2] += 0.5 - inverse[:, :2].sum(1) * 0.5
    return tuple(moved.ravel())


def places() -> np.ndarray:
    """(5, 2) where the template's landmarks lie in the network's input."""
    scale = SIDE / (align.SIDE + 2 * RIM)
    return (align.TEMPLATE.astype(np.float64) + RIM) * scale + (scale - 1) / 2
