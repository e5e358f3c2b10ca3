"""Make 640x480 scenes with faces of a known size in clutter, for measuring and calibrating detectors.

The backgrounds are collages of scikit-image's sample photos: objects, textures, a cat; no person, and no coins, which
bear heads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

WIDTH, HEIGHT = 640, 480
CLUTTER = (
    "brick.png", "chelsea.png", "chessboard_RGB.png", "clock_motion.png", "coffee.png", "color.png",
    "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "page.png", "retina.jpg",
    "rocket.jpg", "text.png",
)  # fmt: skip


def load_clutter(folder: Path) -> list[Image.Image]:
    """The background photos out of scikit-image's `data` folder."""
    return [Image.open(folder / name).convert("RGB") for name in CLUTTER]


def background(clutter: list[Image.Image], rng: np.random.Generator) -> Image.Image:
    """One photo over the whole scene and five pieces of others on top, each scaled, turned and tinted at random."""
    scene = piece(clutter, rng, WIDTH, HEIGHT)
    for _ in range(5):
        w, h = (int(n) for n in rng.integers(80, 320, 2))
        scene.paste(
            piece(clutter, rng, w, h), (int(rng.integers(-40, WIDTH - 40)), int(rng.integers(-40, HEIGHT - 40)))
        )
    return scene


def piece(clutter: list[Image.Image], rng: np.random.Generator, w: int, h: int) -> Image.Image:
    """A random cut of a random photo, `w` x `h`."""
    photo = clutter[rng.integers(len(clutter))]
    side = rng.uniform(0.4, 1.0)
    cw, ch = max(int(photo.width * side), 8), max(int(photo.height * side), 8)
    left, top = int(rng.integers(photo.width - cw + 1)), int(rng.integers(photo.height - ch + 1))
    cut = photo.crop((left, top, left + cw, top + ch)).resize((w, h), Image.Resampling.BOX)
    tint = rng.uniform(0.5, 1.2, 3)
    return Image.fromarray(np.clip(np.asarray(cut) * tint, 0, 255).astype(np.uint8))


def paste(
    scene: Image.Image,
    photo: Image.Image,
    face: tuple[float, float, float, float],
    height: float,
    rng: np.random.Generator,
    *,
    feather: float = 1 / 16,
) -> tuple[float, float, float, float]:
    """Paste `photo`, whose face has the box `face`, so that the face is `height` px high; return its box in the scene.

    The face lies inside the scene; the photo's edge is feathered over that share of its width. Shrinking averages
    areas, as a lens does.
    """
    scale = height / (face[3] - face[1])
    w, h = max(round(photo.width * scale), 4), max(round(photo.height * scale), 4)
    scaled = [
        face[0] * w / photo.width,
        face[1] * h / photo.height,
        face[2] * w / photo.width,
        face[3] * h / photo.height,
    ]
    x = int(rng.integers(-int(scaled[0]), WIDTH - int(scaled[2])))
    y = int(rng.integers(-int(scaled[1]), HEIGHT - int(scaled[3])))
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    edge = round(w * feather)
    alpha = Image.new("L", (w, h), 0)
    alpha.paste(255, (edge, edge, w - edge, h - edge))
    scene.paste(photo.resize((w, h), how), (x, y), alpha.filter(ImageFilter.GaussianBlur(edge / 2)))
    return (scaled[0] + x, scaled[1] + y, scaled[2] + x, scaled[3] + y)


def camera_noise(scene: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """The scene as a cheap camera sees it: gain 0.6 to 1.1, noise of 2 to 6 grey levels."""
    noisy = np.asarray(scene, np.float32) * rng.uniform(0.6, 1.1) + rng.normal(0, rng.uniform(2, 6), (HEIGHT, WIDTH, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)
