"""Draw masks to measure with: other outlines, fabrics and light than masks.py's, so a test is no memory of training.

Flat polygons in units of the eye distance (origin between the eyes, x to the image's right, y down), bent by the turn
of the nose, filled with filtered noise. Never used for training. Reads no file or clock.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

Image: TypeAlias = NDArray[np.uint8]
Outline: TypeAlias = tuple[tuple[float, float], ...]

MARKS = np.array([[-0.5, 0], [0.5, 0], [0, 0.68], [-0.39, 1.12], [0.39, 1.12]], np.float64)
"""Eyes, nose and mouth corners of the drawn head."""

HALVES: dict[str, Outline] = {
    "pleated": ((0, 0.33), (0.3, 0.36), (0.74, 0.55), (0.98, 0.62), (0.93, 1.2), (0.74, 1.62), (0.3, 1.86), (0, 1.88)),
    "duckbill": ((0, 0.2), (0.2, 0.34), (0.52, 0.6), (0.9, 0.78), (0.88, 1.1), (0.6, 1.6), (0.34, 1.9), (0, 1.96)),
    "bandana": ((0, 0.42), (0.5, 0.5), (1.1, 0.52), (1.12, 0.9), (0.9, 1.5), (0.5, 2.1), (0.12, 2.6), (0, 2.7)),
    "gaiter": ((0, 0.5), (0.55, 0.56), (1.06, 0.7), (1.05, 1.3), (0.92, 1.9), (0.9, 2.6), (0.5, 2.75), (0, 2.8)),
    "sport": ((0, 0.26), (0.16, 0.3), (0.5, 0.62), (0.96, 0.66), (1.0, 0.95), (0.8, 1.5), (0.4, 1.74), (0, 1.76)),
    "slipped": ((0, 0.74), (0.3, 0.76), (0.7, 0.72), (0.96, 0.76), (0.94, 1.3), (0.7, 1.74), (0.3, 1.92), (0, 1.94)),
}
"""Half an outline by kind, from the middle of the upper edge down to the middle of the lower edge."""

KINDS = tuple(HALVES)
INKS = (
    (0.62, 0.75, 0.9),
    (0.9, 0.92, 0.94),
    (0.16, 0.17, 0.2),
    (0.55, 0.2, 0.25),
    (0.3, 0.42, 0.3),
    (0.8, 0.7, 0.5),
    (0.35, 0.3, 0.55),
)


def draw(rgb: Image, landmarks: NDArray[Any], kind: str, rng: np.random.Generator) -> Image:
    """A copy of the picture whose face wears a mask of `kind` (one of KINDS); `landmarks` (5, 2) as everywhere."""
    place, depth = pose(np.asarray(landmarks, np.float64))
    points = projected(outline(HALVES[kind], rng), place, depth)
    scale = float(np.sqrt(abs(np.linalg.det(place[:2]))))
    height, width = rgb.shape[:2]
    cover = filled([points], (width, height), 0.012 * scale)
    loops = [] if kind in ("bandana", "gaiter") else straps(place, depth, rng)
    cord = lines(loops, (width, height), max(1.0, 0.035 * scale))
    back = np.linalg.inv(place[:2])
    columns, rows = np.meshgrid(np.arange(width) - place[2, 0], np.arange(height) - place[2, 1])
    x, y = columns * back[0, 0] + rows * back[1, 0], columns * back[0, 1] + rows * back[1, 1]
    under = rgb.astype(np.float64)
    light = max(0.18, float(np.percentile(under[cover > 0.5], 75)) / 200 if (cover > 0.5).any() else 0.5)
    ink = np.array(INKS[rng.integers(len(INKS))]) * rng.uniform(0.85, 1.1, 3)
    if float(np.ptp(under, axis=2).mean()) < 4:
        ink = np.full(3, ink.mean())
    fabric = 235 * min(light, 1.1) * ink * (form(x, y, rng) + fabric_of(kind, x, y, scale, rng))[..., None]
    halo = Pillow.fromarray((cover * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(0.05 * scale))
    shade = 1 - 0.35 / 255 * np.asarray(halo, np.float64)[..., None]
    out = under * np.where(cover[..., None] > 0, 1, shade)
    out = out + (235 * min(light, 1.0) * 0.8 - out) * cord[..., None]
    out = out + (fabric + rng.normal(0, 2, fabric.shape[:2])[..., None] - out) * cover[..., None]
    return np.clip(out + 0.5, 0, 255).astype(np.uint8)


def pose(landmarks: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 2) affine map of the flat head, and what a unit of depth shifts in pixels, from the nose's offset."""
    flat = [0, 1, 3, 4]
    known = np.column_stack([MARKS[flat], np.ones(4)])
    place = np.linalg.lstsq(known, landmarks[flat], rcond=None)[0]
    shift = landmarks[2] - MARKS[2] @ place[:2] - place[2]
    limit = 0.35 * np.sqrt(abs(np.linalg.det(place[:2])))
    return place, shift * min(1.0, limit / (float(np.hypot(*shift)) + 1e-9))


def projected(
    points: NDArray[np.float64], place: NDArray[np.float64], depth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pixels of flat points: the middle stands out as far as the nose, the cheeks fall back."""
    out = np.clip(0.8 - 1.3 * points[:, :1] ** 2, -0.9, 0.8)
    return np.asarray(points @ place[:2] + place[2] + out * depth)


def outline(half: Outline, rng: np.random.Generator) -> NDArray[np.float64]:
    """The whole outline with straight edges cut into short pieces; each mask sits a little differently."""
    right = np.array(half) * rng.normal(1, 0.03, 2) + rng.normal(0, 0.018, (len(half), 2)) + (0, rng.normal(0, 0.03))
    left = right[-2:0:-1] * (-1, 1) + rng.normal(0, 0.012, (len(half) - 2, 2))
    knots = np.vstack([right, left])
    t = np.linspace(0, 1, 6, endpoint=False)[None, :, None]
    pieces = knots[:, None] * (1 - t) + np.roll(knots, -1, axis=0)[:, None] * t
    closed = pieces.reshape(-1, 2)
    return np.asarray(
        (np.roll(closed, 2, 0) + np.roll(closed, 1, 0) + closed + np.roll(closed, -1, 0) + np.roll(closed, -2, 0)) / 5
    )


def filled(shapes: list[NDArray[np.float64]], size: tuple[int, int], soft: float) -> NDArray[np.float32]:
    """How much of each pixel the shapes cover, 0 to 1."""
    sheet = Pillow.new("L", (size[0] * 3, size[1] * 3))
    for shape in shapes:
        ImageDraw.Draw(sheet).polygon([(float(a) * 3, float(b) * 3) for a, b in shape + 0.5], fill=255)
    small = sheet.resize(size, Pillow.Resampling.BOX).filter(ImageFilter.GaussianBlur(max(0.3, soft)))
    return np.asarray(small, np.float32) / 255


def lines(paths: list[NDArray[np.float64]], size: tuple[int, int], width: float) -> NDArray[np.float32]:
    """How much of each pixel the lines cover, 0 to 1."""
    sheet = Pillow.new("L", (size[0] * 3, size[1] * 3))
    for path in paths:
        ImageDraw.Draw(sheet).line(
            [(float(a) * 3, float(b) * 3) for a, b in path + 0.5], fill=255, width=round(width * 3)
        )
    return np.asarray(sheet.resize(size, Pillow.Resampling.BOX), np.float32) / 255


def straps(
    place: NDArray[np.float64], depth: NDArray[np.float64], rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Straight cords from the cheeks to the ears, on the side that is turned to the camera, or on both."""
    ear = rng.uniform(0.1, 0.35)
    both = [np.array([[s * 0.9, 0.72], [s * 1.2, ear]]) for s in (-1, 1)] + [
        np.array([[s * 0.84, 1.4], [s * 1.2, ear + 0.2]]) for s in (-1, 1)
    ]
    turned = float(depth @ place[0]) / float(place[0] @ place[0])
    return [projected(p, place, depth * 0) for p in both if abs(turned) < 0.12 or np.sign(p[0, 0]) != np.sign(turned)]


def form(x: NDArray[np.float64], y: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Light over the bulge of the face: brightest beside the nose, dark at the jaw."""
    side = rng.uniform(-0.35, 0.35)
    return np.asarray(1.02 - 0.33 * (x - side) ** 2 - 0.22 * np.clip(y - 1.2, 0, 2))


def fabric_of(
    kind: str, x: NDArray[np.float64], y: NDArray[np.float64], scale: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Relative brightness of folds, seams and print."""
    cloth = noise(x.shape, scale * 0.25, rng) * 0.07
    if kind in ("pleated", "slipped"):
        period = rng.uniform(0.24, 0.34)
        return np.asarray(cloth + 0.12 * (((y + 0.06 * x**2) / period) % 1 - 0.5))
    if kind == "duckbill":
        return np.asarray(cloth - 0.25 * np.exp(-(((y - 1.05) / 0.03) ** 2)) + 0.14 * np.clip(1.05 - y, -0.5, 0.5))
    if kind == "bandana":
        pattern = np.sin(x * rng.uniform(14, 26)) * np.sin(y * rng.uniform(14, 26)) > rng.uniform(0.1, 0.7)
        return np.asarray(cloth * 2 + pattern * rng.choice((-0.4, 0.35)))
    if kind == "gaiter":
        return np.asarray(noise(x.shape, scale * 0.12, rng) * 0.16 + 0.06 * np.sin(y * 9 + 2 * x**2))
    badge = (np.abs(x - rng.choice((-0.45, 0.45))) < 0.16) & (np.abs(y - 1.2) < 0.07)
    return np.asarray(
        cloth - 0.2 * np.exp(-((np.abs(x) - 0.28 - 0.25 * y) ** 2) / 0.0015) + badge * rng.choice((-0.5, 0.4))
    )


def noise(shape: tuple[int, ...], size: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth noise of about unit deviation, with features of `size` pixels."""
    small = rng.normal(0, 1, (max(int(shape[0] / max(size, 1)) + 2, 3), max(int(shape[1] / max(size, 1)) + 2, 3)))
    image = Pillow.fromarray(small.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Pillow.Resampling.BICUBIC), np.float64) * 1.3
