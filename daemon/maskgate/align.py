"""Lay a face onto the embedder's template and judge how good its picture is. Imports numpy alone; opens nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskgate.values import Box, Face, Matrix, Points, Quality

SIDE = 112
"""Width and height of an aligned face, pixels."""

TEMPLATE: Points = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""(5, 2) where the landmarks lie in an aligned face: ArcFace's template (Deng et al. 2019), SFace's too."""

WEIGHTS: NDArray[np.float64] = np.array([1.0, 1.0, 0.2, 0.1, 0.1])
"""What each landmark counts in the alignment: under a mask nose and mouth are guesses, so the eyes decide."""

WIDE = 0.94
"""How large a second look shows the face, of the size on the template: two sizes average what the layout is off by."""

NEAR, AROUND = 1.15, 2.7
"""How much of a picture liveness is judged from, in sides of the face's box."""


def similarity(points: Points, template: Points, weights: NDArray[np.float64]) -> Matrix:
    """Return the (2, 3) turn, scale and shift that takes `points` nearest to `template`, least squares by `weights`.

    The closed form of Umeyama (1991) for two dimensions without reflection, with points as complex numbers.
    """
    share = weights / weights.sum()
    source = points[:, 0].astype(np.float64) + 1j * points[:, 1]
    target = template[:, 0].astype(np.float64) + 1j * template[:, 1]
    source_mean, target_mean = (share * source).sum(), (share * target).sum()
    spread = (share * np.abs(source - source_mean) ** 2).sum()
    turn = (share * np.conj(source - source_mean) * (target - target_mean)).sum() / max(spread, 1e-9)
    shift = target_mean - turn * source_mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def face_matrix(landmarks: Points, size: float = 1.0) -> Matrix:
    """Return the (2, 3) map from the picture the (5, 2) `landmarks` lie in to an aligned face of SIDE x SIDE.

    At a `size` below 1 the face is that much smaller about the middle, and more of what surrounds it is seen.
    """
    middle = (SIDE - 1) / 2
    return similarity(landmarks, ((TEMPLATE - middle) * size + middle).astype(np.float32), WEIGHTS)


def surroundings(box: Box, size: tuple[int, int]) -> tuple[Box, Box]:
    """Return the two rectangles (left, top, right, bottom) around a face's `box` that liveness is judged from.

    The near one, a square, shows skin, print and screen, and may reach beyond the picture of `size` (w, h). The wide
    one shows what the face is part of: a body, a frame, a hand; it is as high to its width as the box, moved into the
    picture, and no larger than that, as in Silent-Face-Anti-Spoofing (minivision-ai, 2020): what it cannot show on one
    side it shows on the other.
    """
    middle, sides = np.reshape(box, (2, 2)).mean(0), np.maximum(np.subtract(box[2:], box[:2]), 1.0)
    half = np.repeat(sides.max() * NEAR / 2, 2)
    whole = np.array(size, np.float64)
    wide = sides / 2 * min(AROUND, *(whole / sides))
    within = np.clip(middle, wide - 0.5, whole - 0.5 - wide)
    return _around(middle, half), _around(within, wide)


def _around(middle: NDArray[np.float64], half: NDArray[np.float64]) -> Box:
    """Return the box of half the sides around its middle."""
    (left, top), (right, bottom) = middle - half, middle + half
    return float(left), float(top), float(right), float(bottom)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How good a picture must be; see the fields of Quality. All inclusive."""

    min_face_px: float
    min_sharpness: float
    min_brightness: float
    max_brightness: float
    min_contrast: float
    max_yaw: float
    max_roll: float
    min_eyes: float


def judge(luma: NDArray[np.uint8], face: Face, size: tuple[int, int], bounds: Bounds) -> Quality:
    """Measure the picture of `face`, found in a picture of `size` (w, h); `luma` is its aligned (SIDE, SIDE) face."""
    light = luma.astype(np.float32)
    inner = light[20:100, 20:92]
    contrast = float(inner.std())
    yaw, roll = _pose(face.landmarks)
    measured = Quality(
        face_px=face.height,
        sharpness=float(_laplacian(inner).std()) / max(contrast, 1.0),
        brightness=float(inner.mean()),
        contrast=contrast,
        yaw=yaw,
        roll=roll,
        eyes=_eyes_visible(light, contrast, face.eyes_apart),
    )
    return Quality(*_numbers(measured), faults=_faults(measured, _share_outside(face.box, size), bounds))


def _numbers(quality: Quality) -> tuple[float, float, float, float, float, float, float]:
    """Return the seven measured numbers of `quality` in their order."""
    return (
        quality.face_px,
        quality.sharpness,
        quality.brightness,
        quality.contrast,
        quality.yaw,
        quality.roll,
        quality.eyes,
    )


def _faults(quality: Quality, outside: float, bounds: Bounds) -> tuple[str, ...]:
    """Name what is not good enough, in the order in which it helps to mend it."""
    found = {
        "cut_off": outside > 0.25,
        "too_small": quality.face_px < bounds.min_face_px,
        "too_dark": quality.brightness < bounds.min_brightness,
        "too_bright": quality.brightness > bounds.max_brightness,
        "too_flat": quality.contrast < bounds.min_contrast,
        "too_blurred": quality.sharpness < bounds.min_sharpness,
        "turned": abs(quality.yaw) > bounds.max_yaw,
        "tilted": abs(quality.roll) > bounds.max_roll,
        "eyes_hidden": quality.eyes < bounds.min_eyes,
    }
    return tuple(name for name, bad in found.items() if bad)


def _laplacian(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the four-neighbour Laplacian of the inner pixels."""
    middle: NDArray[np.float32] = 4 * image[1:-1, 1:-1]
    edges: NDArray[np.float32] = middle - image[:-2, 1:-1] - image[2:, 1:-1] - image[1:-1, :-2] - image[1:-1, 2:]
    return edges


def _pose(landmarks: Points) -> tuple[float, float]:
    """Return yaw (-1 to 1, how far the nose lies off the middle of the eyes) and roll (degrees)."""
    right, left, nose = landmarks[:3].astype(np.float64)
    across = left - right
    length = max(float(np.hypot(*across)), 1e-6)
    off = float((nose - (right + left) / 2) @ across) / length / (length / 2)
    return float(np.clip(off, -1, 1)), float(np.degrees(np.arctan2(across[1], across[0])))


def _eyes_visible(light: NDArray[np.float32], contrast: float, apart: float) -> float:
    """Return 0 to 1: eyes are the most detailed part of a face, and detector and refiner agree where they are.

    Dark glasses and a brim's shadow leave an even patch; hair or a hand makes the two disagree.
    """
    detail = min(float(light[44:60, x - 12 : x + 12].std()) for x in (38, 74)) / max(contrast, 1.0)
    agreement = np.clip(1 - (apart - 0.15) / 0.25, 0, 1)
    return float(np.clip(detail / 0.6, 0, 1) * agreement)


def _share_outside(box: Box, size: tuple[int, int]) -> float:
    """Return how much of the box lies beyond the picture, 0 to 1."""
    left, top, right, bottom = box
    inside = max(min(right, size[0]) - max(left, 0), 0) * max(min(bottom, size[1]) - max(top, 0), 0)
    return 1 - inside / max((right - left) * (bottom - top), 1e-6)
