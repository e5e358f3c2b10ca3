"""Cameras made of arrays, for the tests of the loop: a face that walks up to the gate, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from maskgate.camera import Frame
from maskgate.pixels import Picture

SIZE = (640, 480)
FPS = 10.0


@dataclass(frozen=True)
class Film:
    """Frames with a clock that stands at the newest one; a camera to the loop."""

    scenes: tuple[Callable[[], np.ndarray], ...]
    """Each draws one (480, 640, 3) frame."""
    events: tuple[tuple[int, Callable[[], None]], ...] = ()
    """What happens before which frame."""

    def frames(self) -> Iterator[Frame]:
        """Yield the frames, FPS a second."""
        for number, scene in enumerate(self.scenes):
            for at, happen in self.events:
                if at == number:
                    happen()
            object.__setattr__(self, "_now_s", number / FPS)
            picture = Picture.from_rgb(scene())
            yield Frame(number / FPS, picture, picture, "film")

    def clock(self) -> float:
        """Return the newest frame's time."""
        return float(getattr(self, "_now_s", 0.0))

    def __add__(self, other: Film) -> Film:
        """Return both films, one after the other."""
        later = tuple((at + len(self.scenes), happen) for at, happen in other.events)
        return replace(self, scenes=self.scenes + other.scenes, events=self.events + later)


def wall(seed: int = 0) -> np.ndarray:
    """Return a textured wall with a camera's noise."""
    rng = np.random.default_rng(5)
    ground = np.asarray(Image.fromarray(rng.integers(80, 140, (12, 16, 3), np.uint8)).resize(SIZE))
    noise = np.random.default_rng(seed).normal(0, 3, ground.shape)
    return np.clip(ground + noise, 0, 255).astype(np.uint8)


def scene(photo: Image.Image, height: int, *, seed: int = 0, x: int = 320) -> np.ndarray:
    """Return the wall with the photo before it, `height` pixels high, its middle at (x, 240)."""
    shown = wall(seed)
    small = np.asarray(photo.resize((round(photo.width * height / photo.height), height), Image.Resampling.BOX))
    top, left = 240 - height // 2, x - small.shape[1] // 2
    shown[top : top + height, left : left + small.shape[1]] = small
    return shown


def empty_scene(seconds: float, seed: int = 0) -> Film:
    """Return a film in which nobody comes."""
    return Film(tuple(lambda i=i: wall(seed + i) for i in range(int(seconds * FPS))))  # type: ignore[misc]


def approach(
    photo: Image.Image,
    *,
    before_s: float = 1.0,
    meanwhile: tuple[float, Callable[[], None]] | None = None,
) -> Film:
    """Return a film: nobody, then the photo walks up within two seconds and stays one, then nobody for two."""
    heights = [*np.linspace(200, 400, 20).astype(int), *[400] * 10]
    before = empty_scene(before_s).scenes
    walk = tuple(
        lambda i=i, h=h: scene(photo, int(h), seed=1000 + i, x=320 + i % 3)  # type: ignore[misc]
        for i, h in enumerate(heights)
    )
    events = ((int(meanwhile[0] * FPS), meanwhile[1]),) if meanwhile else ()
    return Film(before + walk + empty_scene(2, seed=5000).scenes, events)
