"""A photo of a face as a camera sees its print or a screen that shows it. Numpy and Pillow alone.

For learning what a teacher says of such pictures, never to count as an attack: real attacks alone are labelled so. A
print has a white margin, faded ink, dots and paper; a screen a dark rim, a raster, its own white and glare; either is
turned a little, held by something the colour of a hand, before a room that is out of focus.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFilter

from maskgate.values import Box

Image = np.ndarray[Any, np.dtype[np.uint8]]
SCENE = 360
"""Side of the picture made, pixels."""


def recaptured(window: Image, box: Box, rng: np.random.Generator) -> tuple[Image, Box]:
    """The face of `window` on paper or a screen in a scene of its own, and its box there."""
    photo, box = framed(window, box, rng)
    screen = rng.random() < 0.5
    surface = lit(photo, rng) if screen else inked(photo, rng)
    rim = rng.uniform(0, 0.12, 4) * max(photo.shape[:2]) * (rng.random() > 0.15)
    edge = tuple((int(a), int(b)) for a, b in (rim[:2], rim[2:]))
    shade = rng.uniform(0, 60) if screen else rng.uniform(190, 255)
    sheet = np.stack([np.pad(surface[..., c], edge, constant_values=shade) for c in range(3)], 2)
    box = (box[0] + edge[1][0], box[1] + edge[0][0], box[2] + edge[1][0], box[3] + edge[0][0])
    return laid(sheet, box, rng)


def framed(window: Image, box: Box, rng: np.random.Generator) -> tuple[Image, Box]:
    """What of the photo is on the paper: the face and up to a box around it, its longer side about 150 pixels."""
    left, top, right, bottom = box
    length = max(right - left, bottom - top)
    room = rng.uniform(0.0, 0.9, 4) * length
    x, y = max(int(left - room[0]), 0), max(int(top - room[1]), 0)
    u, v = min(int(right + room[2]), window.shape[1]), min(int(bottom + room[3]), window.shape[0])
    u, v = max(u, x + 8), max(v, y + 8)
    scale = rng.uniform(100, 220) / max(u - x, v - y)
    size = (max(int((u - x) * scale), 8), max(int((v - y) * scale), 8))
    photo = Pillow.fromarray(np.ascontiguousarray(window[y:v, x:u])).resize(size, Pillow.Resampling.BILINEAR)
    return np.asarray(photo), tuple((b - a) * scale for b, a in zip(box, (x, y, x, y), strict=True))  # type: ignore[return-value]


def waves(shape: tuple[int, ...], rng: np.random.Generator, shortest: float, longest: float) -> np.ndarray:
    """(h, w) -1 to 1: a regular pattern of random period and direction."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(shortest, longest)
    return np.sin(2 * np.pi * (np.cos(angle) * columns + np.sin(angle) * rows) / period)


def inked(photo: Image, rng: np.random.Generator) -> np.ndarray:
    """(h, w, 3) 0-255 as printed: black is grey, colours faded, dots and the paper's grain."""
    light = photo.astype(np.float32) / 255
    grey = light.mean(2, keepdims=True)
    light = np.clip(grey + (light - grey) * rng.uniform(0.3, 1.1), 0, 1)
    low, high = rng.uniform(0.02, 0.25), rng.uniform(0.75, 1.0)
    light = low + (high - low) * light ** rng.uniform(0.7, 1.4)
    if rng.random() < 0.4:
        dots = waves(photo.shape, rng, 2.2, 5) * waves(photo.shape, rng, 2.2, 5)
        light = light * (1 + rng.uniform(0.02, 0.1) * dots[..., None])
    light += rng.standard_normal(photo.shape[:2])[..., None] * rng.uniform(0, 0.02)
    return np.clip(light * 255, 0, 255)


def lit(photo: Image, rng: np.random.Generator) -> np.ndarray:
    """(h, w, 3) 0-255 as a screen shows it: another contrast and white, raster or moire, glare."""
    light = (photo.astype(np.float32) / 255) ** rng.uniform(0.6, 1.6) * rng.uniform(0.6, 1.4)
    light = light * (1 + rng.normal(0, 0.06, 3) + np.array([-0.04, 0, 0.06]) * rng.random())
    if rng.random() < 0.6:
        light = light * (1 + rng.uniform(0.02, 0.12) * waves(photo.shape, rng, 2.0, 12)[..., None])
    if rng.random() < 0.5:
        rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
        y, x = rng.random(2) * photo.shape[:2]
        wide = rng.uniform(0.08, 0.5) * photo.shape[1]
        light += rng.uniform(0.1, 0.7) * np.exp(-(((columns - x) ** 2 + (rows - y) ** 2) / wide**2))[..., None]
    return np.clip(light * 255, 0, 255)


def room(rng: np.random.Generator) -> Pillow.Image:
    """Something out of focus."""
    coarse = rng.integers(0, 255, (int(rng.integers(3, 9)), int(rng.integers(3, 9)), 3))
    mean = coarse.mean(2, keepdims=True)
    coarse = mean + (coarse - mean) * rng.uniform(0, 0.5)
    image = Pillow.fromarray(coarse.astype(np.uint8))
    # A quarter of the size: the room is out of focus, and blurring it whole took half of the time.
    how = (Pillow.Resampling.NEAREST, Pillow.Resampling.BICUBIC)[rng.integers(2)]
    image = image.resize((SCENE // 4, SCENE // 4), how).filter(ImageFilter.BoxBlur(rng.uniform(0, 1.5)))
    return image.resize((SCENE, SCENE), Pillow.Resampling.BILINEAR)


def laid(sheet: np.ndarray, box: Box, rng: np.random.Generator) -> tuple[Image, Box]:
    """The sheet turned and tilted a little before a room; the face's box is what is upright around its corners."""
    height, width = sheet.shape[:2]
    angle, scale = np.radians(rng.normal(0, 5)), min(1.0, SCENE / max(height, width)) * rng.uniform(0.7, 1.0)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.array([[1, rng.normal(0, 0.04)], [rng.normal(0, 0.04), rng.uniform(0.9, 1.1)]])
    shift = SCENE / 2 + rng.normal(0, 20, 2) - turn @ np.array([width / 2, height / 2])
    back = np.linalg.inv(turn)
    data = np.column_stack([back, -back @ shift]).ravel()
    how = {"resample": Pillow.Resampling.BILINEAR}
    seen = Pillow.fromarray(sheet.astype(np.uint8)).transform((SCENE, SCENE), Pillow.Transform.AFFINE, data, **how)
    where = Pillow.new("L", (width, height), 255).transform((SCENE, SCENE), Pillow.Transform.AFFINE, data, **how)
    scene = room(rng)
    scene.paste(seen, (0, 0), where)
    corners = turn @ np.array([[box[0], box[2], box[0], box[2]], [box[1], box[1], box[3], box[3]]]) + shift[:, None]
    if rng.random() < 0.5:
        hold(scene, turn @ np.array([width * rng.random(), height]) + shift, rng)
    (left, top), (right, bottom) = corners.min(1), corners.max(1)
    return np.asarray(scene), (float(left), float(top), float(right), float(bottom))


def hold(scene: Pillow.Image, at: np.ndarray, rng: np.random.Generator) -> None:
    """Fingers over the sheet's lower edge."""
    skin = np.array([225, 170, 140]) * rng.uniform(0.35, 1.05)
    for n in range(int(rng.integers(1, 5))):
        wide, long = int(rng.uniform(14, 30)), int(rng.uniform(30, 80))
        finger = Pillow.new("L", (wide, long), 0)
        rows, columns = np.mgrid[:long, :wide]
        round_ = ((columns / wide - 0.5) ** 2 + (rows / long - 0.5) ** 2) < 0.25
        finger = Pillow.fromarray((round_ * 255).astype(np.uint8))
        colour = tuple(int(c) for c in skin * rng.uniform(0.85, 1.0))
        scene.paste(colour, (int(at[0]) + n * wide, int(at[1]) - long // 3), finger)
