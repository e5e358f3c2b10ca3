"""Laws of maskgate.camera, on real files decoded by PyAV, and on buffers laid out as cameras lay them out."""

from __future__ import annotations

import importlib.util
import itertools
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from maskgate import config
from maskgate.camera import Frame, clock_offset, full_range, open_camera, unpack
from maskgate.values import CameraError

RED, GREEN, WHITE = (200, 40, 60), (30, 180, 90), (250, 250, 250)


def settings(source: Path, **changes: Any) -> config.Camera:
    """Return settings for an unpaced replay of `source`."""
    values: dict[str, Any] = {"source": str(source), "paced": False, "fps": 10} | changes
    return config.Camera(**values)


def played(source: Path, **changes: Any) -> list[Frame]:
    """Return all frames of a replay."""
    with open_camera(settings(source, **changes)) as camera:
        return list(camera.frames())


def scene(width: int = 640, height: int = 480) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw red to the left, green to the right, white in the top left corner."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = RED, GREEN
    image[: height // 4, : width // 4] = WHITE
    return image


def film(
    path: Path,
    *,
    frames: int = 10,
    rate: int = 10,
    size: tuple[int, int] = (640, 480),
    space: str = "ITU601",
    full: bool = False,
    turned: int = 0,
) -> Path:
    """Encode a film of the scene, frame by frame a grey step darker in the last row's patch; say its colours truly."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"crf": "1"}
        stream.codec_context.colorspace = {"ITU601": 6, "ITU709": 1}[space]
        stream.codec_context.color_range = 2 if full else 1
        if turned:
            stream.set_display_rotation(turned)
        for number in range(frames):
            image = scene(*size)
            image[-80:, -80:] = 10 * number
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                format="yuv420p", dst_colorspace=space, dst_color_range="JPEG" if full else "MPEG"
            )
            frame.colorspace, frame.color_range, frame.pts = {"ITU601": 6, "ITU709": 1}[space], 2 if full else 1, number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def close(pixel: np.ndarray[Any, Any], colour: tuple[int, int, int]) -> bool:
    """Say whether a pixel has a colour, but for what compression does to it."""
    return bool(np.abs(pixel.astype(int) - colour).max() <= 6)


def shades(frames: list[Frame]) -> list[int]:
    """Return the number that each frame of a film shows."""
    return [round(float(frame.main.luma()[-40:, -40:].mean()) / 10) for frame in frames]


@pytest.mark.parametrize("space", ["ITU601", "ITU709"])
@pytest.mark.parametrize("full", [False, True])
def test_the_colours_of_a_film_survive_whatever_its_colour_space(tmp_path: Path, space: str, full: bool) -> None:
    frame = played(film(tmp_path / "film.mp4", frames=2, space=space, full=full))[0]
    for picture in (frame.main, frame.lores):
        rgb = picture.rgb()
        height, width = rgb.shape[:2]
        assert close(rgb[height // 2, width // 6], RED)
        assert close(rgb[height // 2, -width // 6], GREEN)
        assert close(rgb[height // 12, width // 12], WHITE)


@pytest.mark.parametrize("turned", [90, 180, -90])
def test_a_film_that_was_held_turned_is_played_upright(tmp_path: Path, turned: int) -> None:
    frame = played(film(tmp_path / "film.mp4", frames=2, turned=turned, size=(640, 360)), lores=(320, 240))[0]
    # The scene's white corner goes where the turn, counter-clockwise, takes the top left one.
    corner = {90: (-20, 20), 180: (-20, -20), -90: (20, -20)}[turned]
    assert frame.main.size == ((640, 360) if turned == 180 else (360, 640))
    assert frame.lores.size == ((320, 180) if turned == 180 else (135, 240))
    for picture in (frame.main, frame.lores):
        assert close(picture.rgb()[corner], WHITE)


def test_an_unpaced_film_yields_every_frame_at_its_own_time_and_carries_the_clock(tmp_path: Path) -> None:
    with open_camera(settings(film(tmp_path / "film.mp4", rate=25))) as camera:
        frames = []
        for frame in camera.frames():
            assert camera.clock() == frame.at_s
            frames.append(frame)
    assert [frame.at_s for frame in frames] == pytest.approx([number / 25 for number in range(10)])
    assert shades(frames) == list(range(10))
    assert {frame.origin for frame in frames} == {"film.mp4"}


def asked_for(path: Path, *, taking_s: float) -> list[tuple[float, Frame]]:
    """Play a film at its own speed to somebody who takes that long over each frame; tell when each was asked for."""
    taken = []
    with open_camera(settings(path, paced=True)) as camera:
        frames = camera.frames()
        asked_s = time.monotonic()
        while (frame := next(frames, None)) is not None:
            taken.append((asked_s, frame))
            time.sleep(taking_s)
            asked_s = time.monotonic()
        assert abs(camera.clock() - time.monotonic()) < 0.1
    return taken


def test_a_paced_film_takes_its_own_time_and_shows_no_frame_before_it_is_due(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", rate=20)
    began_s = time.monotonic()
    with open_camera(settings(path, paced=True)) as camera:
        assert all(time.monotonic() >= frame.at_s for frame in camera.frames())
    assert time.monotonic() - began_s >= 9 / 20


@pytest.mark.parametrize("taking_s", [0.0, 0.06, 0.22])
def test_however_slow_the_taker_each_frame_was_the_newest_when_it_was_asked_for(
    tmp_path: Path, taking_s: float
) -> None:
    taken = asked_for(film(tmp_path / "film.mp4", frames=20, rate=20), taking_s=taking_s)
    # The last frame has no successor, however late it is asked for.
    assert all(frame.at_s > asked_s - 1 / 20 for asked_s, frame in taken[:-1])
    numbers = shades([frame for _, frame in taken])
    assert (np.diff(numbers) >= 1).all()
    assert numbers[-1] == 19
    if taking_s:
        assert len(taken) <= 0.95 / taking_s + 3


def test_a_folder_is_one_stream_in_the_order_of_names_in_continuous_time(tmp_path: Path) -> None:
    film(tmp_path / "2-film.mp4", frames=5, rate=10)
    for name in ("1-first.jpg", "3-last.PNG"):
        Pillow.fromarray(scene()).save(tmp_path / name)
    (tmp_path / "LICENSE.txt").write_text("terms")
    (tmp_path / "0-folder.mp4").mkdir()
    frames = played(tmp_path)
    runs = [(name, len(list(run))) for name, run in itertools.groupby(frames, lambda frame: frame.origin)]
    assert runs == [("1-first.jpg", 10), ("2-film.mp4", 5), ("3-last.PNG", 10)]
    assert [frame.at_s for frame in frames] == pytest.approx([number / 10 for number in range(25)])


def test_a_still_is_shown_for_a_second_at_the_rate_asked_for(tmp_path: Path) -> None:
    Pillow.fromarray(scene()).save(tmp_path / "still.png")
    frames = played(tmp_path / "still.png", fps=15)
    assert len(frames) == 15
    assert np.array_equal(frames[-1].main.rgb(), scene())


def test_a_replay_can_be_played_again(tmp_path: Path) -> None:
    with open_camera(settings(film(tmp_path / "film.mp4"))) as camera:
        assert [frame.at_s for frame in camera.frames()] == [frame.at_s for frame in camera.frames()]


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
@pytest.mark.parametrize(
    ("size", "limit", "small"),
    [
        ((1280, 960), (640, 480), (640, 480)),
        ((1280, 720), (640, 480), (640, 360)),
        ((480, 640), (640, 480), (360, 480)),
        ((320, 240), (640, 480), (320, 240)),
    ],
)
def test_lores_is_the_same_field_of_view_made_to_fit(
    tmp_path: Path, suffix: str, size: tuple[int, int], limit: tuple[int, int], small: tuple[int, int]
) -> None:
    path = tmp_path / f"scene{suffix}"
    if suffix == ".png":
        Pillow.fromarray(scene(*size)).save(path)
    else:
        film(path, frames=2, size=size)
    frame = played(path, lores=limit)[0]
    assert (frame.main.size, frame.lores.size) == (size, small)
    assert (frame.lores is frame.main) is (size == small)
    shown = np.asarray(Pillow.fromarray(frame.main.rgb()).resize(small, Pillow.Resampling.BOX)).astype(int)
    far = np.abs(shown - frame.lores.rgb())
    # Edges may differ by how they are averaged; all but them must agree.
    assert np.percentile(far, 98) <= 8
    assert far.mean() < 2


def test_odd_sizes_are_played(tmp_path: Path) -> None:
    Pillow.fromarray(scene(641, 479)).save(tmp_path / "odd.png")
    frame = played(tmp_path)[0]
    assert (frame.main.size, frame.lores.size) == ((641, 479), (640, 478))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.mp4", None, "no such file or folder"),
        ("text.mp4", b"this is no film", "cannot be played"),
        ("empty.mp4", b"", "cannot be played"),
        ("text.jpg", b"this is no photo", "is not a photo"),
    ],
)
@pytest.mark.parametrize("paced", [False, True])
def test_what_cannot_be_played_is_one_line(
    tmp_path: Path, name: str, content: bytes | None, words: str, paced: bool
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CameraError, match=words) as caught:
        played(tmp_path / name, paced=paced)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_truncated_film_is_one_line(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", frames=20)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CameraError, match="cannot be played"):
        played(path)


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(CameraError, match="has no picture"):
        played(tmp_path / "sound.mkv")


def test_a_folder_without_anything_to_play_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(CameraError, match="holds no stills or videos"), open_camera(settings(tmp_path)):
        pass


@pytest.mark.skipif(importlib.util.find_spec("picamera2") is not None, reason="this machine has picamera2")
def test_without_picamera2_the_error_says_what_to_install() -> None:
    with pytest.raises(CameraError, match="apt install python3-picamera2"), open_camera(config.Camera()):
        pass


@pytest.mark.parametrize("form", ["YUV420", "YVU420", "NV12", "NV21"])
@pytest.mark.parametrize("padding", [0, 24])
@pytest.mark.parametrize("size", [(64, 48), (62, 46)])
def test_camera_buffers_are_taken_apart_whatever_their_layout(form: str, padding: int, size: tuple[int, int]) -> None:
    width, height = size
    stride = width + padding
    draw = np.random.default_rng(1).integers
    y, u, v = (draw(1, 255, (height // n, width // n), np.uint8) for n in (1, 2, 2))
    first, second = (u, v) if form in ("YUV420", "NV12") else (v, u)
    if form.startswith("NV"):
        rows = [y, np.stack([first, second], axis=-1).reshape(height // 2, width)]
        widths = [stride, stride]
    else:
        rows, widths = [y, first, second], [stride, stride // 2, stride // 2]
    padded = [np.pad(plane, ((0, 0), (0, wide - plane.shape[1]))) for plane, wide in zip(rows, widths, strict=True)]
    # Allocators round buffers up to pages.
    buffer = np.concatenate([*(plane.ravel() for plane in padded), np.zeros(100, np.uint8)])
    planes = unpack(buffer, size=size, stride=stride, form=form)
    assert all(np.array_equal(got, made) for got, made in zip(planes, (y, u, v), strict=True))


def test_a_format_that_nobody_asked_for_is_refused() -> None:
    with pytest.raises(CameraError, match="delivers MJPEG"):
        unpack(np.zeros(1000, np.uint8), size=(16, 16), stride=16, form="MJPEG")


def test_video_range_is_stretched_to_black_white_and_neutral() -> None:
    y, u, v = full_range(*(np.array([16, 128, 235, 240], np.uint8) for _ in range(3)))
    assert y.tolist() == [0, 130, 255, 255]
    assert u.tolist() == v.tolist() == [0, 128, 250, 255]


def test_sensor_timestamps_of_either_clock_become_monotonic() -> None:
    now_s = time.monotonic()
    slept_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    assert clock_offset(now_s - 0.05, now_s) == 0
    # A stamp ahead of the monotonic clock can only come from the one that counts sleep.
    assert clock_offset(now_s + 3600, now_s) == pytest.approx(slept_s, abs=0.01)
