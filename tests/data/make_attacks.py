"""Render the attacks of attacks/: a flat thing with a resident's face on it, before the hallway of the visits.

What these clips are: drawings. Nobody held anything before a camera. A photo of people/, or a clip of visits/, is
laid on a sheet or a screen (margin and faded ink; black rim, pixel raster and glare), gripped by drawn hands, moved
as the clip's name says in a plane's own perspective, and filmed as the visits are. They exercise the gate's refusals
from frame to log. They say nothing about error rates: those are measured on real attacks alone.

Rerun with `python tests/data/make_attacks.py`, the package and PyAV installed. Everything random is seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import make_visits as visits
import numpy as np
from make_visits import FPS, HEIGHT, HERE, WIDTH, Pixels
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

SECONDS = 3.2
FOCAL = 620.0
"""Of the camera that films the plane, pixels."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a plane is: middle (x, y) and width in the frame, pixels, and its turns, degrees."""

    x: float
    y: float
    width: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    bend: float = 0.0
    """How far the sides bow towards the camera, shares of the width."""


Movement = Callable[[float], Pose]
Sheet = Callable[[float], Pillow.Image]
"""What the plane shows at a time, RGBA."""


# The things ----------------------------------------------------------------------------------------------------------


def portrait(photo: str, *, room: float = 1.25, mask: str | None = None) -> Pillow.Image:
    """Cut head and shoulders out of people/PHOTO.jpg, `room` face heights around the face, with a mask or bare."""
    rgb = np.asarray(Pillow.open(HERE / "people" / f"{photo}.jpg").convert("RGB"))
    points, (x, y, height) = visits.landmarks_and_face(rgb)
    if mask is not None:
        rgb = visits.masks.draw(rgb, points, mask, np.random.default_rng(5))
    half, up = room * height * 0.8, room * height
    box = (max(x - half, 0), max(y - up, 0), min(x + half, rgb.shape[1]), min(y + up * 1.05, rgb.shape[0]))
    cut = Pillow.fromarray(rgb).crop(tuple(int(edge) for edge in box))
    return cut.resize((420, round(420 * cut.height / cut.width)), Pillow.Resampling.LANCZOS)


def print_of(photo: str, rng: np.random.Generator) -> Sheet:
    """A photo printed on paper: faded colours, a white margin, grain, two hands at its sides."""
    image = portrait(photo)
    faded = np.asarray(image, np.float32) * 0.78 + 42
    faded += rng.normal(0, 5, (*faded.shape[:2], 1))
    paper = Pillow.new("RGBA", (image.width + 50, image.height + 56), (238, 236, 228, 255))
    paper.paste(Pillow.fromarray(np.clip(faded, 0, 255).astype(np.uint8)), (25, 24))
    held = gripped(paper)
    return lambda t: held


def screen_of(frames: Callable[[float], Pillow.Image], *, rim: int, rng: np.random.Generator) -> Sheet:
    """A phone or tablet that shows `frames`: lit, bluish, with a raster, a black rim and a lamp's reflection."""
    first = frames(0.0)
    size = first.size
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    raster = 1 + 0.05 * np.sin(2 * np.pi * columns / 3.1) * np.sin(2 * np.pi * rows / 3.3)
    spot = rng.uniform(0.2, 0.8, 2) * (size[0], size[1] * 0.5)
    glare = 70 * np.exp(-(((columns - spot[0]) / 60) ** 2 + ((rows - spot[1] - 0.4 * columns) / 34) ** 2))

    def shown(t: float) -> Pillow.Image:
        lit = np.asarray(frames(t).convert("RGB"), np.float32) * raster[..., None] * (0.92, 1.0, 1.12) + 14
        roll = 1 + 0.03 * np.sin(2 * np.pi * (rows / size[1] * 1.5 - 7.3 * t))
        lit = np.clip(lit * roll[..., None] + glare[..., None], 0, 255).astype(np.uint8)
        case = Pillow.new("RGBA", (size[0] + 2 * rim, size[1] + 4 * rim), (0, 0, 0, 0))
        pen = ImageDraw.Draw(case)
        pen.rounded_rectangle((0, 0, case.width - 1, case.height - 1), radius=26, fill=(14, 14, 16, 255))
        case.paste(Pillow.fromarray(lit), (rim, 2 * rim))
        return gripped(case)

    return shown


def cut_out(photo: str) -> Sheet:
    """A face cut out of a print along its outline, held on a stick: no margin that could betray it."""
    sprite = visits.person(photo)
    x, y, height = sprite.face
    box = tuple(int(edge) for edge in (x - 0.62 * height, y - 0.85 * height, x + 0.62 * height, y + 0.62 * height))
    face = sprite.rgba.crop(box)
    oval = Pillow.new("L", face.size)
    ImageDraw.Draw(oval).ellipse((2, 2, face.width - 3, face.height - 3), fill=255)
    alpha = np.minimum(np.asarray(face.getchannel("A")), np.asarray(oval))
    rgb = np.asarray(face.convert("RGB"), np.float32) * 0.8 + 36
    made = Pillow.fromarray(np.dstack([np.clip(rgb, 0, 255), alpha]).astype(np.uint8))
    return lambda t: made


def gripped(thing: Pillow.Image) -> Pillow.Image:
    """The thing in the middle of much air, between two hands whose arms come from below."""
    side, above = round(thing.width * 0.22), round(thing.height * 0.8)
    air = Pillow.new("RGBA", (thing.width + 2 * side, thing.height + 2 * above), (0, 0, 0, 0))
    air.paste(thing, (side, above), thing)
    hand = Pillow.new("RGBA", air.size, (0, 0, 0, 0))
    pen, reach, low = ImageDraw.Draw(hand), round(thing.width * 0.07), above + round(thing.height * 0.62)
    pen.rectangle((side // 6, low + 30, side - 8, air.height), fill=(70, 74, 92, 255))
    pen.rectangle((air.width - side + 8, low + 30, air.width - side // 6, air.height), fill=(70, 74, 92, 255))
    for k in range(4):
        top = above + round(thing.height * (0.5 + 0.1 * k))
        shade = (196 - 4 * k, 150 - 3 * k, 124 - 3 * k, 255)
        pen.rounded_rectangle((4, top, side + reach, top + thing.height // 11), radius=18, fill=shade)
    pen.rounded_rectangle((2, low - 30, side // 2, low + thing.height // 4), 24, (186, 140, 114, 255))
    pen.rounded_rectangle(
        (air.width - side // 2, low - 20, air.width - 2, low + thing.height // 4), 24, (186, 140, 114, 255)
    )
    pen.rounded_rectangle(
        (air.width - side - reach, low, air.width - 6, low + thing.height // 8), 20, (190, 144, 118, 255)
    )
    air.alpha_composite(hand.filter(ImageFilter.GaussianBlur(1.5)))
    return air


# The movements -------------------------------------------------------------------------------------------------------


def eased(t: float, start_s: float, end_s: float) -> float:
    """From 0 to 1 between two times, without a jerk."""
    share = np.clip((t - start_s) / (end_s - start_s), 0, 1)
    return float(share * share * (3 - 2 * share))


def raised(t: float, at: Pose) -> Pose:
    """The thing comes up from below within half a second."""
    return Pose(at.x, at.y + (1 - eased(t, 0, 0.5)) * 620, at.width, at.yaw, at.pitch, at.roll, at.bend)


def waved(t: float) -> Pose:
    """Swung to and fro and turned."""
    swing = np.sin(2 * np.pi * 0.55 * t)
    return raised(t, Pose(320 + 95 * swing, 235 + 18 * np.cos(5 * t), 390, 24 * np.sin(3.1 * t), 0, 7 * swing))


def bent(t: float) -> Pose:
    """Bowed like a face and turned a little, drifting."""
    return raised(t, Pose(320 + 40 * np.sin(2.4 * t), 240, 400, 16 * np.sin(2.9 * t), 0, 2, 0.18 * np.sin(2.2 * t)))


def closer(t: float) -> Pose:
    """Brought from arm's length to the camera."""
    return Pose(320 + 5 * np.sin(4 * t), 242 + 4 * np.cos(3 * t), 190 * 2.5 ** eased(t, 0.1, 2.4), 3 * np.sin(3 * t))


def still(t: float) -> Pose:
    """Held as still as on a tripod."""
    return raised(t, Pose(320, 240, 410))


def shaking(t: float) -> Pose:
    """Held in a hand that trembles and drifts."""
    shake = [np.sin(2 * np.pi * f * t + f) for f in (1.1, 2.7, 6.3)]
    x, y = 320 + 22 * shake[0] + 4 * shake[2], 238 + 15 * np.sin(2 * np.pi * 0.8 * t) + 3 * shake[1]
    return raised(t, Pose(x, y, 400 + 10 * shake[1], 5 * shake[0], 3 * shake[1], 2 * shake[2]))


# Filming -------------------------------------------------------------------------------------------------------------


def corners(pose: Pose, aspect: float) -> np.ndarray:
    """(4, 2) where the plane's corners fall in the frame, from the upper left clockwise."""
    yaw, pitch, roll = np.deg2rad((pose.yaw, pose.pitch, pose.roll))
    square = np.array([[-1, -aspect, 0], [1, -aspect, 0], [1, aspect, 0], [-1, aspect, 0]]) / 2
    turn_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    turn_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    placed = square @ (turn_z @ turn_x @ turn_y).T
    depth = FOCAL / pose.width
    return placed[:, :2] * FOCAL / (depth + placed[:, 2:]) + (pose.x, pose.y)


def filmed(sheet: Pillow.Image, pose: Pose) -> Pixels:
    """(480, 640, 4) float32: the thing as the camera sees it."""
    if pose.bend:
        sheet = bowed(sheet, pose.bend)
    size = np.array(sheet.size)
    source = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size
    target = corners(pose, sheet.height / sheet.width)
    rows = []
    for (u, v), (x, y) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    back = np.linalg.solve(np.array(rows), source.ravel())
    seen = sheet.transform((WIDTH, HEIGHT), Pillow.Transform.PERSPECTIVE, tuple(back), Pillow.Resampling.BICUBIC)
    return np.asarray(seen, np.float32)


def bowed(sheet: Pillow.Image, bend: float) -> Pillow.Image:
    """The sheet bent around an upright axis: its sides come nearer and narrower together."""
    columns = np.linspace(-1, 1, sheet.width)
    pixels = np.asarray(sheet)
    source = np.interp(columns, np.sin(columns * abs(bend) * 4) / np.sin(abs(bend) * 4 + 1e-9), columns)
    picked = pixels[:, np.round((source + 1) / 2 * (sheet.width - 1)).astype(int)]
    shade = 1 - 0.5 * abs(bend) * columns**2
    lit = picked[..., :3] * shade[None, :, None]
    return Pillow.fromarray(np.dstack([np.clip(lit, 0, 255).astype(np.uint8), picked[..., 3]]))


def attack(name: str, sheet: Sheet, path: Movement, seed: int) -> None:
    """Write attacks/NAME.mp4: an empty hallway, then somebody unseen holds the thing up."""
    visits.write(f"../attacks/{name}", frames(sheet, path, seed))


def frames(sheet: Sheet, path: Movement, seed: int) -> Iterator[np.ndarray]:
    """The frames of an attack."""
    rng = np.random.default_rng(seed)
    scene = visits.hallway(rng)
    for n in range(round((0.4 + SECONDS) * FPS)):
        t = n / FPS - 0.4
        frame = scene
        if t >= 0:
            thing = np.mean([filmed(sheet(t), path(t + k / 90)) for k in (-1, 0, 1)], axis=0)
            alpha = thing[..., 3:] / 255
            frame = scene * (1 - 0.3 * visits.cast(alpha, 0.7)) * (1 - alpha) + thing[..., :3] * alpha * np.float32(
                0.95
            )
        yield visits.exposed(frame, rng)


def clip_frames(name: str, *, start_s: float) -> Callable[[float], Pillow.Image]:
    """What visits/NAME.mp4 shows, cropped to a tablet's shape, from `start_s` on."""
    with av.open(str(HERE / "visits" / f"{name}.mp4")) as video:
        pictures = [frame.to_image() for frame in video.decode(video=0)]

    def at(t: float) -> Pillow.Image:
        picture = pictures[min(round((start_s + t) * FPS), len(pictures) - 1)]
        return picture.crop((110, 0, 530, 480)).resize((420, 480), Pillow.Resampling.LANCZOS)

    return at


def main() -> None:
    """Make every attack."""
    (Path(HERE) / "attacks").mkdir(exist_ok=True)
    rng = np.random.default_rng(11)
    attack("print_waved", print_of("Obama/speech", rng), waved, 21)
    attack("print_bent", print_of("Obama/blue_room", rng), bent, 22)
    attack("print_closer", print_of("Noah/close", rng), closer, 23)
    bare, masked = portrait("Obama/blue_room"), portrait("Noah/close", mask="surgical")
    attack("phone_still", screen_of(lambda t: bare, rim=14, rng=rng), still, 24)
    attack("phone_shaking", screen_of(lambda t: bare, rim=14, rng=rng), shaking, 25)
    attack("screen_masked", screen_of(lambda t: masked, rim=20, rng=rng), shaking, 26)
    attack("cut_out", cut_out("Obama/speech"), lambda t: replace_width(shaking(t), 210), 27)
    replay = clip_frames("walk_up", start_s=0.5)
    attack("replay_walk_up", screen_of(replay, rim=20, rng=rng), lambda t: replace_width(shaking(t), 640), 28)


def replace_width(pose: Pose, width: float) -> Pose:
    """The pose of a thing of another size."""
    return Pose(pose.x, pose.y, width, pose.yaw, pose.pitch, pose.roll, pose.bend)


if __name__ == "__main__":
    main()
