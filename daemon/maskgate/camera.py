"""Deliver frames, newest only, from the Pi's camera or from files. Looks at none; reads the clock and nothing else.

`at_s` of every frame is on the clock that `clock()` reads: `time.monotonic` for a camera and for files played at their
own speed, the newest frame's own time for files played as fast as they are taken (`paced = false`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskgate import config
from maskgate.pixels import Picture, load_photo
from maskgate.values import BadPhoto, CameraError

log = logging.getLogger(__name__)

STILLS = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
VIDEOS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ogv", ".webm"})
STILL_S = 1.0
"""How long a still is shown."""
Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame in two sizes."""

    at_s: float
    """When its exposure began."""
    main: Picture
    lores: Picture
    """The same field of view, smaller; `main` itself when that is small enough."""
    origin: str = ""
    """Name of the file it came from; empty for a camera."""
    form: str = ""
    """How a camera laid the large picture out, as negotiated, e.g. "NV12"; empty for files."""


class Camera(Protocol):
    """An open source of frames."""

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame each time, in order of time; end with the last file. CameraError when it fails."""

    def clock(self) -> float:
        """Return now, on the clock of `Frame.at_s`."""


@contextmanager
def open_camera(settings: config.Camera) -> Iterator[Camera]:
    """Open the source that the settings name; raise CameraError, one line, when it is absent, taken or unreadable."""
    if settings.source == "picamera2":
        with _picamera2(settings) as camera:
            yield camera
    else:
        yield Replay(settings)


# The Pi's camera


@contextmanager
def _picamera2(settings: config.Camera) -> Iterator[Camera]:
    """Open the first camera that libcamera knows; closed again, it may be opened by others."""
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise CameraError(f"camera.source is 'picamera2': {error}; apt install python3-picamera2") from error
    if not Picamera2.global_camera_info():
        raise CameraError("no camera is attached; check its cable, `rpicam-hello --list-cameras` must show it")
    try:
        picam2 = Picamera2()
    except (RuntimeError, OSError) as error:
        why = error.__cause__ or error
        raise CameraError(f"the camera cannot be had ({why}); is another program using it?") from error
    try:
        yield _started(picam2, settings)
    finally:
        picam2.close()


def _started(picam2: Any, settings: config.Camera) -> _Live:
    """Start both streams of an open Picamera2."""
    from libcamera import ColorSpace, Transform

    turn = settings.rotate == 180
    frame_us = round(1e6 / settings.fps)
    can_pace = "FrameDurationLimits" in picam2.camera_controls
    try:
        video = picam2.create_video_configuration(
            main={"size": settings.size, "format": "YUV420"},
            lores={"size": _fitted(settings.size, settings.lores, even=True), "format": "YUV420"},
            raw=None,  # a raw stream would take tens of megabytes that nobody reads
            transform=Transform(hflip=turn, vflip=turn),
            colour_space=ColorSpace.Sycc(),  # BT.601, full range: what Picture expects
            buffer_count=4,
            controls={"FrameDurationLimits": (frame_us, frame_us)} if can_pace else {},
        )
        picam2.configure(video)
        picam2.start()
    except (RuntimeError, OSError) as error:
        raise CameraError(f"the camera cannot be started: {error}; check camera.size and camera.lores") from error
    # A little short of the camera's own period, so that the next frame is waited for and not missed.
    return _Live(picam2, stall_s=settings.stall_s, rest_s=0.9 / settings.fps)


class _Live:
    """The running camera."""

    def __init__(self, picam2: Any, *, stall_s: float, rest_s: float) -> None:
        """Wrap a started Picamera2; `rest_s` spaces the frames of a camera that does not pace itself."""
        self._picam2, self._stall_s, self._rest_s = picam2, stall_s, rest_s
        # What was negotiated, not what was asked for.
        self._config = picam2.camera_configuration()
        space, turn = self._config["colour_space"], self._config["transform"]
        self._limited = space is not None and "full" not in str(space.range).lower()
        for name in ("main", "lores"):
            stream = self._config[name]
            log.info("camera: %s %s %s %s %s", name, stream["size"], stream["format"], space, turn)

    def clock(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame; CameraError when none newer than the last comes within `stall_s`."""
        offset_s, newest_s, heard_s = None, -math.inf, time.monotonic()
        while True:
            stamp_s, main, lores = self._shot()
            now_s = time.monotonic()
            if offset_s is None:
                offset_s = clock_offset(stamp_s, now_s)
            at_s = stamp_s - offset_s
            if at_s > now_s:
                raise CameraError(f"the camera's clock is {at_s - now_s:.3f} s ahead; it must be opened anew")
            if at_s > newest_s:
                newest_s = at_s
                yield Frame(at_s, main, lores, form=str(self._config["main"]["format"]))
                heard_s = time.monotonic()
                time.sleep(max(0.0, self._rest_s - (heard_s - now_s)))
            elif now_s - heard_s > self._stall_s:
                raise CameraError(f"the camera has repeated itself for {self._stall_s:g} s; check its cable")

    def _shot(self) -> tuple[float, Picture, Picture]:
        """Wait for one request; return its sensor timestamp and copies of both pictures, the request given back."""
        try:
            request = self._picam2.capture_request(wait=self._stall_s)
        except TimeoutError as error:
            raise CameraError(f"the camera has sent no frame for {self._stall_s:g} s; check its cable") from error
        except RuntimeError as error:
            raise CameraError(f"the camera has failed: {error}; check its cable") from error
        try:
            stamp_ns = request.get_metadata().get("SensorTimestamp")
            main, lores = self._picture(request, "main"), self._picture(request, "lores")
        finally:
            request.release()
        if stamp_ns is None:
            raise CameraError("the camera does not say when its frames were taken; it cannot be used")
        return stamp_ns / 1e9, main, lores

    def _picture(self, request: Any, stream: str) -> Picture:
        """Copy one stream's picture out of a request."""
        form = self._config[stream]
        planes = unpack(request.make_buffer(stream), size=form["size"], stride=form["stride"], form=form["format"])
        return Picture.from_yuv(*(full_range(*planes) if self._limited else planes))


def clock_offset(stamp_s: float, now_s: float) -> float:
    """Return what to subtract from sensor timestamps to get the monotonic clock, judged by the first one.

    libcamera documents CLOCK_BOOTTIME, Linux's camera drivers stamp CLOCK_MONOTONIC. The two differ by the time the
    machine slept, and a frame cannot come from the future.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic() if stamp_s > now_s else 0.0


def unpack(buffer: Plane, *, size: tuple[int, int], stride: int, form: str) -> tuple[Plane, Plane, Plane]:
    """Return the Y, U and V planes (views) of a camera buffer; `stride` is the bytes per row of Y, with its padding."""
    width, height = size
    half_w, half_h = (width + 1) // 2, (height + 1) // 2
    luma, chroma = buffer[: height * stride], buffer[height * stride :]
    y = luma.reshape(height, stride)[:, :width]
    if form in ("NV12", "NV21"):
        pairs = chroma[: half_h * stride].reshape(half_h, stride)[:, : 2 * half_w]
        first, second = pairs[:, 0::2], pairs[:, 1::2]
    elif form in ("YUV420", "YVU420"):
        area = half_h * (stride // 2)
        first, second = (chroma[start : start + area].reshape(half_h, stride // 2)[:, :half_w] for start in (0, area))
    else:
        raise CameraError(f"the camera delivers {form}, must be YUV420 or NV12")
    return (y, first, second) if form in ("YUV420", "NV12") else (y, second, first)


_STEPS = np.arange(256)
_FULL_LUMA = np.clip(np.round((_STEPS - 16) * 255 / 219), 0, 255).astype(np.uint8)
_FULL_CHROMA = np.clip(np.round((_STEPS - 128) * 255 / 224 + 128), 0, 255).astype(np.uint8)


def full_range(y: Plane, u: Plane, v: Plane) -> tuple[Plane, Plane, Plane]:
    """Stretch planes of video range (16 to 235) to the full one."""
    return _FULL_LUMA[y], _FULL_CHROMA[u], _FULL_CHROMA[v]


# Files


@dataclass(frozen=True, slots=True)
class _Shot:
    """A frame of a file that is turned into pictures only if somebody wants it."""

    at_s: float
    """Seconds since the replay began."""
    origin: str
    draw: Callable[[], tuple[Picture, Picture]]

    def frame(self, at_s: float) -> Frame:
        """Return it as a frame taken at `at_s`."""
        main, lores = self.draw()
        return Frame(at_s, main, lores, self.origin)


class Replay:
    """A video, a still, or a folder of both played in the order of their names as one stream."""

    def __init__(self, settings: config.Camera) -> None:
        """Look for the files; raise CameraError when there are none."""
        self._settings = settings
        self._clips = _clips(Path(settings.source))
        self._newest_s = 0.0

    def clock(self) -> float:
        """Return the monotonic clock for a paced replay, else the newest frame's time."""
        return time.monotonic() if self._settings.paced else self._newest_s

    def frames(self) -> Iterator[Frame]:
        """Yield frames until the last file ends; paced ones drop what the taker is too slow for."""
        return self._paced() if self._settings.paced else self._unpaced()

    def _unpaced(self) -> Iterator[Frame]:
        """Yield every frame."""
        for shot in self._shots():
            self._newest_s = shot.at_s
            yield shot.frame(shot.at_s)

    def _paced(self) -> Iterator[Frame]:
        """Yield each time the newest frame that was due when it was asked for, or wait for the next one."""
        start_s: float | None = None
        asked_s, held = time.monotonic(), None
        for shot in self._shots():
            # Opening the file takes time that is not the film's.
            start_s = time.monotonic() if start_s is None else start_s
            due_s = start_s + shot.at_s
            if held is not None and due_s > asked_s:
                yield held.frame(start_s + held.at_s)
                asked_s = time.monotonic()
            held = shot
            time.sleep(max(0.0, due_s - time.monotonic()))
        if held is not None and start_s is not None:
            yield held.frame(start_s + held.at_s)

    def _shots(self) -> Iterator[_Shot]:
        """Join the files' frames into one stream whose time never stands still or runs backwards."""
        begin_s, period_s = 0.0, 1 / self._settings.fps
        for clip in self._clips:
            at_s = begin_s - period_s
            reader = _still if clip.suffix.lower() in STILLS else _video
            for shot in reader(clip, begin_s, self._settings):
                if shot.at_s > at_s:
                    at_s = shot.at_s
                    yield shot
            begin_s = at_s + period_s


def _clips(source: Path) -> list[Path]:
    """Return the files to play; a folder's other files (licences, say) are left out."""
    if source.is_dir():
        clips = sorted(clip for clip in source.iterdir() if clip.suffix.lower() in STILLS | VIDEOS and clip.is_file())
        if not clips:
            raise CameraError(f"{source}: holds no stills or videos; put some there or name another camera.source")
        return clips
    if not source.is_file():
        raise CameraError(f"{source}: no such file or folder; camera.source is picamera2, a video or a folder")
    return [source]


def _still(path: Path, begin_s: float, settings: config.Camera) -> Iterator[_Shot]:
    """Show a still for STILL_S."""
    try:
        main = load_photo(path)
    except BadPhoto as error:
        raise CameraError(str(error)) from error
    pictures = main, _shrunk(main, settings.lores)
    for number in range(math.ceil(STILL_S * settings.fps)):
        yield _Shot(begin_s + number / settings.fps, path.name, lambda: pictures)


def _shrunk(picture: Picture, limit: tuple[int, int]) -> Picture:
    """Return the picture, made to fit into `limit`."""
    size = _fitted(picture.size, limit)
    if size == picture.size:
        return picture
    x, y = (small / large for small, large in zip(size, picture.size, strict=True))
    # The middle of the first pixel moves with the scale, so that edges meet edges.
    return Picture.from_rgb(picture.sample(np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]]), size))


def _fitted(size: tuple[int, int], limit: tuple[int, int], *, even: bool = False) -> tuple[int, int]:
    """Return `size` (w, h) scaled to fit into `limit` in the same proportions, never enlarged; on request in twos."""
    scale = min(1.0, limit[0] / size[0], limit[1] / size[1])
    step = 2 if even else 1
    width, height = (max(step, round(side * scale / step) * step) for side in size)
    return width, height


def _video(path: Path, begin_s: float, settings: config.Camera) -> Iterator[_Shot]:
    """Decode a video frame by frame, timed by the stream's own timestamps."""
    try:
        import av
    except ImportError as error:
        raise CameraError(f"{path}: {error}; videos need PyAV: pip install 'maskgate[video]'") from error
    try:
        with av.open(str(path)) as film:
            if not film.streams.video:
                raise CameraError(f"{path}: has no picture; name a video")
            yield from _decoded(film, path, begin_s, settings)
    except CameraError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CameraError(f"{path}: cannot be played ({why}); name a video that plays") from error


def _decoded(film: Any, path: Path, begin_s: float, settings: config.Camera) -> Iterator[_Shot]:
    """Yield the frames of an open film; one without a timestamp comes a frame's time after the one before."""
    rate = float(film.streams.video[0].average_rate or settings.fps)
    first_s, last_s = None, -1 / rate
    for image in film.decode(video=0):
        stamp_s = image.time
        if stamp_s is None:
            stamp_s = (first_s or 0.0) + last_s + 1 / rate
        first_s = stamp_s if first_s is None else first_s
        last_s = stamp_s - first_s
        yield _Shot(begin_s + last_s, path.name, partial(_drawn, image, settings.lores))
    if first_s is None:
        raise CameraError(f"{path}: has no frame that can be decoded; name a video that plays")


def _drawn(image: Any, limit: tuple[int, int]) -> tuple[Picture, Picture]:
    """Turn a decoded frame into main and lores pictures: full-range BT.601 whatever it was, upright."""
    turns = round(getattr(image, "rotation", 0) / 90) % 4
    main = _planes(image, (image.width, image.height), turns)
    small = _fitted(main.size, limit)
    if small == main.size:
        return main, main
    return main, _planes(image, small if turns % 2 == 0 else small[::-1], turns)


def _planes(image: Any, size: tuple[int, int], turns: int) -> Picture:
    """Scale a decoded frame to `size` (before turning it by `turns` quarters counter-clockwise) and wrap its planes."""
    form: dict[str, Any] = {"format": "yuvj420p", "dst_colorspace": "ITU601", "dst_color_range": "JPEG"}
    scaled = image.reformat(*size, interpolation="AREA", **form)
    y, u, v = (
        np.rot90(np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : plane.width], turns)
        for plane in scaled.planes
    )
    return Picture.from_yuv(y, u, v)
