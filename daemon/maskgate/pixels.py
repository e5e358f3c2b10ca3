"""Pictures: sample a face out of one, turn camera planes into RGB, read a photo safely. Opens photos, nothing else.

Points follow the detector's habit: (0, 0) is the middle of the first pixel.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from maskgate.values import BadPhoto, Box, Image, Matrix

MAX_PHOTO_PIXELS = 64_000_000
"""Photos with more pixels are refused before they are decoded: they would not fit into a small board's memory."""
MAX_PHOTO_SIDE = 3200
"""Larger photos are shrunk to this on reading, pixels: no face needs more."""

Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture, kept as it came: RGB, or a camera's three planes (4:2:0, full range, BT.601 as in JPEG)."""

    planes: tuple[Plane, ...]
    """((h, w, 3),) RGB, or (y (h, w), u (h/2, w/2), v (h/2, w/2)), all uint8."""

    @classmethod
    def from_rgb(cls, image: Image) -> Picture:
        """Wrap an (h, w, 3) uint8 RGB array; it is not copied."""
        return cls((image,))

    @classmethod
    def from_yuv(cls, y: Plane, u: Plane, v: Plane) -> Picture:
        """Wrap camera planes; they are not copied. Odd sizes of `y` need `u` and `v` rounded up."""
        return cls((y, u, v))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.planes[0].shape[:2]
        return width, height

    def luma(self) -> Plane:
        """Return (h, w) uint8 brightness; for camera planes the Y plane itself, not a copy."""
        if len(self.planes) == 3:
            return self.planes[0]
        return np.asarray(Pillow.fromarray(self.planes[0]).convert("L"))

    def rgb(self) -> Image:
        """Return the whole picture as (h, w, 3) uint8 RGB."""
        if len(self.planes) == 1:
            return self.planes[0]
        y, u, v = (Pillow.fromarray(plane) for plane in self.planes)
        chroma = (plane.resize(y.size, Pillow.Resampling.NEAREST) for plane in (u, v))
        return np.asarray(Pillow.merge("YCbCr", (y, *chroma)).convert("RGB"))

    def sample(self, matrix: Matrix, size: tuple[int, int]) -> Image:
        """Draw the picture into a new one of `size` (w, h), (h, w, 3) uint8 RGB.

        `matrix` (2, 3) maps points of this picture to points of the new one, as OpenCV's warpAffine takes it. Bilinear;
        when it shrinks, blocks of pixels are averaged first. Beyond the edge there is black.
        """
        if len(self.planes) == 1:
            return _sample(self.planes[0], matrix, size, 0)
        # A chroma sample lies in the middle of its 2 x 2 pixels: c = (p - 0.5) / 2.
        half = np.hstack([matrix[:, :2] * 2, matrix[:, 2:] + matrix[:, :2].sum(axis=1, keepdims=True) / 2])
        y = _sample(self.planes[0], matrix, size, 0)
        u, v = (_sample(plane, half, size, 128) for plane in self.planes[1:])
        merged = Pillow.merge("YCbCr", [Pillow.fromarray(plane) for plane in (y, u, v)])
        return np.asarray(merged.convert("RGB"))

    def region(self, box: Box, side: int) -> Image:
        """Draw the rectangle `box` (left, top, right, bottom) of the picture, stretched to (side, side, 3) uint8 RGB.

        Sampled as by `sample`, but beyond the edge the edge is repeated: black would be a mark of its own.
        """
        scales = [side / max(last - first, 1.0) for first, last in zip(box[:2], box[2:], strict=True)]
        shifts = [
            (side - 1) / 2 - (first + last) / 2 * scale
            for first, last, scale in zip(box[:2], box[2:], scales, strict=True)
        ]
        spans = [_inside(*part, side) for part in zip(self.size, scales, shifts, strict=True)]
        (left, right), (top, bottom) = spans
        matrix = np.array([[scales[0], 0, shifts[0] - left], [0, scales[1], shifts[1] - top]])
        drawn = self.sample(matrix, (right - left, bottom - top))
        return np.pad(drawn, ((top, side - bottom), (left, side - right), (0, 0)), mode="edge")

    def fit(self, size: tuple[int, int]) -> tuple[Image, float]:
        """Shrink or enlarge to fit into `size` (w, h), black to the right and below; also return the scale."""
        scale = min(size[0] / self.size[0], size[1] / self.size[1])
        if scale == 1 and size == self.size:
            return self.rgb(), 1.0
        # The middle of the first pixel moves with the scale, so that edges meet edges.
        shift = (scale - 1) / 2
        return self.sample(np.array([[scale, 0, shift], [0, scale, shift]]), size), scale


def _inside(length: int, scale: float, shift: float, side: int) -> tuple[int, int]:
    """Return the first and one past the last of `side` drawn pixels whose middles lie in the picture; at least one."""
    first = int(np.clip(np.ceil(shift), 0, side - 1))
    last = int(np.clip(np.floor((length - 1) * scale + shift), first, side - 1))
    return first, last + 1


def _sample(plane: Plane, matrix: Matrix, size: tuple[int, int], fill: int) -> Plane:
    """Draw one plane or RGB array through `matrix` (source to destination)."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    image = Pillow.fromarray(plane)
    shrink = int(np.sqrt(abs(np.linalg.det(inverse[:, :2]))))
    if shrink >= 2:
        image, inverse = _reduced(image, inverse, size, shrink)
    # Pillow counts from the pixel's corner, points count from its middle.
    offset = inverse[:, 2] + 0.5 - inverse[:, :2] @ (0.5, 0.5)
    data = (*inverse[0, :2], offset[0], *inverse[1, :2], offset[1])
    colour = (fill,) * plane.shape[2] if plane.ndim == 3 else fill
    return np.asarray(
        image.transform(size, Pillow.Transform.AFFINE, data, Pillow.Resampling.BILINEAR, fillcolor=colour)
    )


def _reduced(image: Pillow.Image, inverse: Matrix, size: tuple[int, int], shrink: int) -> tuple[Pillow.Image, Matrix]:
    """Average blocks of `shrink` pixels in the part of `image` that will be drawn; return it with its own inverse."""
    corners = np.array([[0, 0, 1], [size[0], 0, 1], [0, size[1], 1], [size[0], size[1], 1]]) @ inverse.T
    left, top = np.clip(np.floor(corners.min(axis=0)) - shrink, 0, image.size).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + shrink, 0, image.size).astype(int)
    if right - left < shrink or bottom - top < shrink:
        return image, inverse
    small = image.reduce(shrink, box=(int(left), int(top), int(right), int(bottom)))
    moved = inverse.copy()
    moved[:, 2] -= (left, top)
    # The middle of the first block lies (shrink - 1) / 2 pixels in.
    moved[:, 2] -= (shrink - 1) / 2
    return small, moved / shrink


def jpeg_of(picture: Picture, size: tuple[int, int], *, quality: int = 60) -> bytes:
    """Shrink a picture to fit into `size` (w, h) and encode it as JPEG, some 5 to 15 KiB at 320 x 240."""
    scale = min(1.0, size[0] / picture.size[0], size[1] / picture.size[1])
    wanted = max(1, round(picture.size[0] * scale)), max(1, round(picture.size[1] * scale))
    out = io.BytesIO()
    Pillow.fromarray(picture.fit(wanted)[0]).save(out, "JPEG", quality=quality)
    return out.getvalue()


def image_of(jpeg: bytes) -> Image:
    """Decode what `jpeg_of` encoded; raise BadPhoto when it is no picture."""
    try:
        with Pillow.open(io.BytesIO(jpeg)) as image:
            return np.array(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise BadPhoto(f"the picture cannot be read: {error}") from None


def load_photo(path: Path) -> Picture:
    """Read a photo upright and in RGB, shrunk to MAX_PHOTO_SIDE; raise BadPhoto when it cannot be."""
    try:
        with warnings.catch_warnings(action="ignore"), Pillow.open(path) as image:
            if image.width * image.height > MAX_PHOTO_PIXELS:
                raise BadPhoto(
                    f"{path}: {image.width} x {image.height} pixels are too many; "
                    f"shrink it below {MAX_PHOTO_PIXELS // 1_000_000} megapixels"
                )
            image.draft("RGB", (MAX_PHOTO_SIDE, MAX_PHOTO_SIDE))
            return Picture.from_rgb(np.array(_upright_rgb(image)))
    except FileNotFoundError:
        raise BadPhoto(f"{path}: no such file") from None
    except IsADirectoryError:
        raise BadPhoto(f"{path}: is a folder; name photos, or use --folder") from None
    except Pillow.DecompressionBombError:
        raise BadPhoto(f"{path}: has far too many pixels; shrink it") from None
    except UnidentifiedImageError:
        raise BadPhoto(f"{path}: is not a photo that can be read; JPEG and PNG are safe choices") from None
    except BadPhoto:
        raise
    except (OSError, ValueError, SyntaxError, MemoryError, EOFError) as error:
        raise BadPhoto(f"{path}: cannot be read: {str(error) or type(error).__name__}") from None


def _upright_rgb(image: Pillow.Image) -> Pillow.Image:
    """Turn by the EXIF orientation, shrink, and convert any mode to RGB (transparency onto grey)."""
    upright = ImageOps.exif_transpose(image)
    upright.thumbnail((MAX_PHOTO_SIDE, MAX_PHOTO_SIDE), Pillow.Resampling.BOX)
    if upright.mode.startswith("I"):
        upright = Pillow.fromarray((np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8))
    if "A" in upright.mode or "transparency" in upright.info:
        clear = upright.convert("RGBA")
        ground = Pillow.new("RGBA", clear.size, (128, 128, 128, 255))
        upright = Pillow.alpha_composite(ground, clear)
    return upright.convert("RGB")
