"""What the liveness network is shown, as another camera and moment would show it. Numpy, Pillow, the gate's geometry.

Every change here keeps what tells a picture from a person: the same light, lens or line would treat both alike. Live
and attack go through the same changes.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFilter

from maskgate import align
from maskgate.pixels import Picture
from maskgate.values import Box

SIDE = 96
"""Side of each view, pixels."""

Image = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """What stage_liveness.py gathered."""

    pixels: Any
    rows: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def window(self, number: int) -> tuple[Image, Box]:
        """The surroundings of one face, (h, w, 3), and the face's box."""
        row = self.rows[number]
        height, width = row["shape"]
        flat = self.pixels[row["at"] : row["at"] + height * width * 3]
        left, top, right, bottom = row["box"]
        return flat.reshape(height, width, 3), (left, top, right, bottom)


def read(folder: Path) -> Windows:
    """What is in a folder of stage_liveness.py's."""
    return Windows(np.memmap(folder / "pixels.bin", np.uint8, "r"), json.loads((folder / "index.json").read_text()))


def seen(window: Image, box: Box, side: int) -> Image:
    """(2 * side, side, 3) as the gate shows it to the network."""
    picture = Picture.from_rgb(window)
    return np.concatenate([picture.region(part, side) for part in align.surroundings(box, picture.size)])


def elsewhere(window: Image, box: Box, rng: np.random.Generator) -> tuple[Image, Box]:
    """The window from another camera: cut, encoded anew, and the face found elsewhere in it."""
    if rng.random() < 0.4:
        window, box = cut(window, box, rng)
    if rng.random() < 0.5:
        window = encoded(window, rng)
    return window, moved(box, rng)


def finished(shown: Image, rng: np.random.Generator) -> Image:
    """In another light, and in the mirror or not."""
    if rng.random() < 0.5:
        shown = shown[:, ::-1]
    return relit(shown, rng)


def cropped(window: Image, box: Box, span: float, side: int) -> Image:
    """(side, side, 3): the face and its surroundings as Silent-Face-Anti-Spoofing's own code cuts them: the box
    enlarged `span` times, moved into the image where it would reach beyond, and no larger than the image.
    """
    image = Pillow.fromarray(np.ascontiguousarray(window))
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    span = min((image.height - 1) / height, (image.width - 1) / width, span)
    half = np.array([width, height]) * span / 2
    middle = np.array([left + right, top + bottom]) / 2
    # Into the image: there is room, for the span was chosen so.
    middle = np.clip(middle, half, np.array(image.size) - 1 - half)
    first, last = np.maximum(middle - half, 0), np.minimum(middle + half, image.size)
    return np.asarray(image.resize((side, side), Pillow.Resampling.BILINEAR, (*first, *last)))


def cut(window: Image, box: Box, rng: np.random.Generator) -> tuple[Image, Box]:
    """As if only a tight crop had been kept: an edge at up to half a box from each side of the face."""
    left, top, right, bottom = box
    length = max(right - left, bottom - top)
    room = rng.uniform(-0.05, 0.5, 4) * length
    x, y = max(int(left - room[0]), 0), max(int(top - room[1]), 0)
    u, v = int(min(right + room[2], window.shape[1])), int(min(bottom + room[3], window.shape[0]))
    if u - x < 24 or v - y < 24:
        return window, box
    return window[y:v, x:u], (left - x, top - y, right - x, bottom - y)


def encoded(window: Image, rng: np.random.Generator) -> Image:
    """Smaller, softer, and through JPEG: size and quality differ from camera to camera, not between live and attack."""
    image = Pillow.fromarray(np.ascontiguousarray(window))
    size = image.size
    if rng.random() < 0.5:
        share = rng.uniform(0.45, 0.95)
        ways = (Pillow.Resampling.BOX, Pillow.Resampling.BILINEAR, Pillow.Resampling.LANCZOS)
        small = (max(int(size[0] * share), 16), max(int(size[1] * share), 16))
        image = image.resize(small, ways[rng.integers(3)]).resize(size, ways[rng.integers(1, 3)])
    elif rng.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.6:
        held = io.BytesIO()
        image.save(held, "JPEG", quality=int(rng.integers(40, 96)), subsampling=int(rng.choice((0, 2))))
        image = Pillow.open(held)
    return np.asarray(image)


def moved(box: Box, rng: np.random.Generator) -> Box:
    """As another detector would frame it."""
    left, top, right, bottom = box
    length = max(right - left, bottom - top)
    x, y = rng.normal(0, 0.04 * length, 2)
    half = np.array([right - left, bottom - top]) / 2 * np.exp(rng.normal(0, 0.09))
    x, y = x + (left + right) / 2, y + (top + bottom) / 2
    return (float(x - half[0]), float(y - half[1]), float(x + half[0]), float(y + half[1]))


def relit(shown: Image, rng: np.random.Generator) -> Image:
    """Another exposure, white balance, saturation and noise."""
    # A table for each channel: powers of every pixel would take most of the time.
    exposed = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.25)) * rng.uniform(0.65, 1.2)
    tinted = np.outer(exposed, np.exp(rng.normal(0, 0.08, 3))).astype("f4")
    light = np.stack([tinted[:, channel][shown[..., channel]] for channel in range(3)], axis=2)
    grey = light.mean(2, keepdims=True)
    light = grey + (light - grey) * np.float32(rng.uniform(0.5, 1.4) if rng.random() > 0.07 else 0.0)
    if rng.random() < 0.5:
        light += rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(0, 0.025))
    return np.asarray(np.clip(light * 255 + 0.5, 0, 255).astype(np.uint8))
