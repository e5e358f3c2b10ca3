"""Photos that an administrator might hand over by mistake, made from the people of tests/data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

PEOPLE = Path(__file__).parent / "data" / "people"
GOOD = PEOPLE / "Obama" / "enrol.jpg"
"""One upright, sharp face, 264 pixels high; every bad photo but a few is made from it."""
OTHER = PEOPLE / "Hopper" / "enrol.jpg"
BUST = 640
"""Rows of GOOD that hold head and shoulders."""


def not_an_image(folder: Path) -> Path:
    """Text that calls itself a photo."""
    path = folder / "letter.jpg"
    path.write_text("Dear gate, this is no photo.\n")
    return path


def empty_file(folder: Path) -> Path:
    """A photo of no bytes, as a full memory card leaves behind."""
    path = folder / "empty.jpg"
    path.touch()
    return path


def truncated(folder: Path) -> Path:
    """A JPEG whose second half never arrived."""
    path = folder / "truncated.jpg"
    data = GOOD.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def bomb(folder: Path) -> Path:
    """100 megapixels in some ten kilobytes."""
    path = folder / "bomb.png"
    Image.new("1", (10_000, 10_000)).save(path)
    return path


def exif_rotated(folder: Path) -> Path:
    """A phone's photo: stored lying on its side, upright by its EXIF orientation."""
    path, exif = folder / "rotated.jpg", Image.Exif()
    exif[0x0112] = 6
    _photo().transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=92)
    return path


def grey(folder: Path) -> Path:
    """One channel instead of three."""
    path = folder / "grey.jpg"
    _photo().convert("L").save(path, quality=92)
    return path


def rgba(folder: Path) -> Path:
    """A PNG with transparency around the head and shoulders."""
    path, photo = folder / "rgba.png", _photo().convert("RGBA")
    x = np.linspace(-1, 1, photo.width)[None]
    seen = np.broadcast_to(np.where(np.abs(x) < 0.9, 255, 0), photo.size[::-1]).astype(np.uint8)
    photo.putalpha(Image.fromarray(seen))
    photo.save(path)
    return path


def no_face(folder: Path) -> Path:
    """A wall."""
    path, rng = folder / "wall.jpg", np.random.default_rng(0)
    Image.fromarray(rng.integers(150, 180, (480, 640, 3), dtype=np.uint8)).filter(ImageFilter.BoxBlur(2)).save(path)
    return path


def several_faces(folder: Path) -> Path:
    """Two people side by side, their faces about equally large."""
    path, one = folder / "two.jpg", _photo()
    other = Image.open(OTHER).convert("RGB").resize((round(512 * one.height / 600), one.height))
    pair = Image.new("RGB", (one.width + other.width, one.height))
    pair.paste(one, (0, 0))
    pair.paste(other, (one.width, 0))
    pair.save(path, quality=92)
    return path


def too_small(folder: Path) -> Path:
    """A face of 20 pixels in a wide picture."""
    path, photo = folder / "small.jpg", _photo()
    scene = Image.new("RGB", (640, 480), (150, 146, 138))
    scene.paste(photo.resize((round(photo.width * 20 / 264), round(photo.height * 20 / 264))), (300, 200))
    scene.save(path, quality=95)
    return path


def too_blurred(folder: Path) -> Path:
    """A face so far out of focus that one can just tell it is one."""
    path = folder / "blurred.jpg"
    _photo().filter(ImageFilter.GaussianBlur(14)).save(path, quality=92)
    return path


BAD: dict[str, Callable[[Path], Path]] = {
    "not_an_image": not_an_image,
    "empty_file": empty_file,
    "truncated": truncated,
    "bomb": bomb,
    "no_face": no_face,
    "several_faces": several_faces,
    "too_small": too_small,
    "too_blurred": too_blurred,
}
"""Photos that must be refused, each with a reason."""
ODD: dict[str, Callable[[Path], Path]] = {"exif_rotated": exif_rotated, "grey": grey, "rgba": rgba}
"""Photos that are unusual, but fine."""


def _photo() -> Image.Image:
    """Head and shoulders of GOOD."""
    photo = Image.open(GOOD).convert("RGB")
    return photo.crop((0, 0, photo.width, BUST))
