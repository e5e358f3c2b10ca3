"""Pictures: sampling agrees with OpenCV, camera planes with RGB, and bad photos end in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskgate.pixels import Picture, load_photo
from maskgate.values import BadPhoto

cv2 = pytest.importorskip("cv2")


def smooth(width: int = 320, height: int = 240) -> np.ndarray:
    """Return an (h, w, 3) picture without fine detail, so that resampling methods must agree."""
    small = np.random.default_rng(3).integers(0, 255, (height // 40, width // 40, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def planes(rgb: np.ndarray) -> Picture:
    """Return the picture as a camera would give it, 4:2:0."""
    y, cb, cr = (np.asarray(plane) for plane in Image.fromarray(rgb).convert("YCbCr").split())

    def half(plane: np.ndarray) -> np.ndarray:
        return plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean(axis=(1, 3)).round().astype(np.uint8)

    return Picture.from_yuv(y, half(cb), half(cr))


TURN = np.array([[0.8, 0.3, -20.0], [-0.3, 0.8, 60.0]])


def test_sampling_agrees_with_opencv() -> None:
    picture = smooth()
    ours = Picture.from_rgb(picture).sample(TURN, (112, 112)).astype(int)
    theirs = cv2.warpAffine(picture, TURN, (112, 112), flags=cv2.INTER_LINEAR).astype(int)
    assert np.abs(ours - theirs)[2:-2, 2:-2].mean() < 1.0


@pytest.mark.parametrize("scale", [0.5, 0.34, 0.2, 0.1])
def test_shrinking_averages_and_does_not_shift(scale: float) -> None:
    picture = smooth(640, 480)
    matrix = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
    size = (round(640 * scale), round(480 * scale))
    ours = Picture.from_rgb(picture).sample(matrix, size).astype(int)
    theirs = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(ours - theirs)[2:-2, 2:-2].mean() < 2.5


def test_camera_planes_show_the_same_as_rgb() -> None:
    picture = smooth()
    seen = planes(picture)
    assert seen.size == (320, 240)
    assert np.abs(seen.rgb().astype(int) - picture).mean() < 2.5
    ours, theirs = seen.sample(TURN, (112, 112)), Picture.from_rgb(picture).sample(TURN, (112, 112))
    inside = theirs.sum(axis=2) > 0
    assert np.abs(ours.astype(int) - theirs)[inside].mean() < 2.5


def test_the_luma_of_camera_planes_is_not_copied() -> None:
    y = np.zeros((240, 320), np.uint8)
    half = np.full((120, 160), 128, np.uint8)
    assert Picture.from_yuv(y, half, half).luma() is y


def test_fitting_keeps_the_shape_and_tells_the_scale() -> None:
    fitted, scale = Picture.from_rgb(smooth(320, 120)).fit((640, 480))
    assert (fitted.shape, scale) == ((480, 640, 3), 2.0)
    assert not fitted[245:].any()
    assert fitted[:230].any()


def test_a_huge_photo_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (10_000, 10_000)).save(path)
    with pytest.raises(BadPhoto, match="10000 x 10000 pixels are too many"):
        load_photo(path)


def test_a_large_photo_is_shrunk(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (6000, 4000), (10, 200, 30)).save(path)
    picture = load_photo(path)
    assert max(picture.size) <= 3200
    assert np.abs(picture.rgb()[5, 5].astype(int) - (10, 200, 30)).max() <= 2


def test_a_photo_is_turned_upright_as_its_exif_says(tmp_path: Path) -> None:
    upright = smooth(64, 96)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(load_photo(tmp_path / "turned.png").rgb(), upright)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16", "CMYK"])
def test_any_colour_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    name = "photo.tif" if mode == "CMYK" else "photo.png"
    image = Image.new("L", (40, 30), 100)
    image = Image.new("I;16", (40, 30), 100 * 256) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / name)
    assert load_photo(tmp_path / name).rgb().shape == (30, 40, 3)


def test_a_16_bit_grey_photo_keeps_its_brightness(tmp_path: Path) -> None:
    Image.new("I;16", (40, 30), 100 * 256).save(tmp_path / "deep.png")
    assert set(np.unique(load_photo(tmp_path / "deep.png").rgb())) == {100}


def test_what_is_transparent_lies_on_grey(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 30), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert set(np.unique(load_photo(tmp_path / "clear.png").rgb())) == {128}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.jpg", b"not a photo", "is not a photo"),
        ("empty.jpg", b"", "is not a photo"),
        ("cut.jpg", None, "cannot be read"),
    ],
)
def test_what_is_no_photo_ends_in_one_line(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    path = tmp_path / name
    if content is None:
        Image.fromarray(smooth()).save(path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    with pytest.raises(BadPhoto, match=says) as caught:
        load_photo(path)
    assert "\n" not in str(caught.value)


def test_a_missing_photo_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadPhoto, match="no such file"):
        load_photo(tmp_path / "none.jpg")
    with pytest.raises(BadPhoto, match="is a folder"):
        load_photo(tmp_path)
