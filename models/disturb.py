"""Show a face as another camera or moment would: moved, small, blurred, dark, noisy. Numpy and Pillow alone."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFilter

RIM = 8
SIDE = 112
WIDE = 0.94
"""The gate's align.WIDE; training's environment has no maskgate."""


def disturbed(crop: np.ndarray, rng: np.random.Generator, *, strong: bool) -> np.ndarray:
    """A (112, 112, 3) picture of the face as another camera and another moment would give it."""
    image = Pillow.fromarray(crop)
    if rng.random() < 0.5:
        image = image.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
    image = moved(image, rng, 1.0 if strong else 0.5)
    if not strong:
        return np.asarray(image)
    return degraded(image, rng)


def degraded(image: Pillow.Image, rng: np.random.Generator) -> np.ndarray:
    """The picture as a worse camera, another light and a narrow line would give it, of the same size."""
    size = image.size
    if rng.random() < 0.5:
        small = int(rng.integers(34, 100))
        image = image.resize((small, small), Pillow.Resampling.BOX).resize(size, Pillow.Resampling.BILINEAR)
    elif rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    light = np.asarray(image, np.float32) / 255
    light = light ** np.exp(rng.normal(0, 0.25)) * rng.uniform(0.6, 1.15) * rng.normal(1, 0.05, 3)
    if rng.random() < 0.15:
        light = np.repeat(light.mean(2, keepdims=True), 3, 2)
    light += rng.normal(0, rng.uniform(0, 0.03), light.shape)
    image = Pillow.fromarray(np.clip(light * 255, 0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        held = io.BytesIO()
        image.save(held, "JPEG", quality=int(rng.integers(25, 85)))
        image = Pillow.open(held)
    return np.asarray(image)


def moved(image: Pillow.Image, rng: np.random.Generator, much: float) -> Pillow.Image:
    """Turned, scaled and shifted by what landmarks drift, cut to the template."""
    angle, scale = np.radians(rng.normal(0, 1.5 * much)), np.exp(rng.normal(0, 0.025 * much))
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    middle, half = image.width / 2, SIDE / 2
    x, y = middle + rng.normal(0, 1.2 * much, 2)
    data = (a, -b, x - a * half + b * half, b, a, y - b * half - a * half)
    return image.transform((SIDE, SIDE), Pillow.Transform.AFFINE, data, Pillow.Resampling.BILINEAR)
