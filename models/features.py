"""Pass rendered faces, jittered and degraded, through the frozen first part of SFace, for train.py. Runs beside it.

    PYTHONPATH=daemon python models/features.py OUT ROUND FOLDER... --trunk TRUNK.tflite --whole WHOLE.tflite

FOLDER is what render.py wrote, or an .npz of prepare.py whose `bare` are really worn masks (for the mask's output
alone). Writes OUT/ROUND-<folder>/: `maps.npy` (n, 14, 14, 512) float16 by number of instance, `rows.npz`: photo,
variant (-1 bare) and `target` (photos, 128), the teacher's embedding of the bare photo.
Photos that the mask classifier calls masked are left out.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image as Pillow
from PIL import ImageFilter

RIM = 8
SIDE = 112


class Net:
    """One float TFLite file."""

    def __init__(self, path: Path) -> None:
        self.net = Interpreter(str(path), num_threads=1)
        self.net.allocate_tensors()

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        given = self.net.get_input_details()[0]
        if given["dtype"] is np.int8:
            image = (image ^ 0x80).view(np.int8)
        self.net.set_tensor(given["index"], image[None].astype(given["dtype"]))
        self.net.invoke()
        return [self.net.get_tensor(out["index"])[0] for out in self.net.get_output_details()]

    def embedding(self, image: np.ndarray) -> np.ndarray:
        """The output of 128 numbers, as a unit vector."""
        vector = next(v for v in self(image) if v.shape == (128,))
        return np.asarray(vector / np.linalg.norm(vector))


def disturbed(crop: np.ndarray, rng: np.random.Generator, *, strong: bool) -> np.ndarray:
    """A (112, 112, 3) picture of the face as another camera and another moment would give it."""
    image = Pillow.fromarray(crop)
    if rng.random() < 0.5:
        image = image.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
    image = moved(image, rng, 1.0 if strong else 0.5)
    if not strong:
        return np.asarray(image)
    if rng.random() < 0.5:
        small = int(rng.integers(34, 100))
        image = image.resize((small, small), Pillow.Resampling.BOX).resize((SIDE, SIDE), Pillow.Resampling.BILINEAR)
    elif rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    light = np.asarray(image, np.float32) / 255
    light = light ** np.exp(rng.normal(0, 0.25)) * rng.uniform(0.6, 1.15) * rng.normal(1, 0.05, 3)
    if rng.random() < 0.15:
        light = np.repeat(light.mean(2, keepdims=True), 3, 2)
    light += rng.normal(0, rng.uniform(0, 0.03), light.shape)
    image = Pillow.fromarray(np.clip(light * 255, 0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        held = io.BytesIO()
        image.save(held, "JPEG", quality=int(rng.integers(25, 85)))
        image = Pillow.open(held)
    return np.asarray(image)


def moved(image: Pillow.Image, rng: np.random.Generator, much: float) -> Pillow.Image:
    """Turned, scaled and shifted by what landmarks drift, cut to the template."""
    angle, scale = np.radians(rng.normal(0, 1.5 * much)), np.exp(rng.normal(0, 0.025 * much))
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    middle, half = image.width / 2, SIDE / 2
    x, y = middle + rng.normal(0, 1.2 * much, 2)
    data = (a, -b, x - a * half + b * half, b, a, y - b * half - a * half)
    return image.transform((SIDE, SIDE), Pillow.Transform.AFFINE, data, Pillow.Resampling.BILINEAR)


def cut(crop: np.ndarray) -> np.ndarray:
    """The (112, 112, 3) middle of a rendered face."""
    return np.ascontiguousarray(crop[RIM:-RIM, RIM:-RIM])


def instances(bare: np.ndarray, worn: np.ndarray, kept: np.ndarray, bares: int) -> list[tuple[int, int]]:
    """(photo, variant) of everything to pass through: each mask once, the bare face `bares` times (-1, -2 ...)."""
    pairs = [(p, v) for p in kept for v in range(worn.shape[1]) if worn[p, v, 40:60, 40:60].any()]
    return pairs + [(p, -1 - i) for p in kept for i in range(bares)]


def pass_folder(out: Path, folder: Path, round_: int, trunk: Net, whole: Net, classifier: Net, *, plain: bool) -> None:
    """Everything of one folder of render.py."""
    bare, worn = np.load(folder / "bare.npy", mmap_mode="r"), np.load(folder / "worn.npy", mmap_mode="r")
    there = [p for p in range(len(bare)) if bare[p, 40:60, 40:60].any()]
    kept = np.array([p for p in there if float(classifier(cut(bare[p]))[0].ravel()[0]) < 0])
    target = np.zeros((len(bare), 128), np.float32)
    for p in kept:
        target[p] = whole.embedding(cut(bare[p]))
    chosen = instances(bare, worn, kept, 1)
    rng = np.random.default_rng((round_, len(bare)))
    rng.shuffle(chosen)
    picture = (
        cut(bare[p] if v < 0 else worn[p, v])
        if plain
        else disturbed(bare[p] if v < 0 else worn[p, v], rng, strong=v >= 0 or rng.random() < 0.6)
        for p, v in chosen
    )
    save(out / f"{round_}-{folder.name}", picture, np.array(chosen), target, trunk)
    print(
        f"{folder.name}: {len(there)} faces, {len(there) - len(kept)} look masked, {len(chosen)} instances", flush=True
    )


def save(out: Path, pictures: Any, chosen: np.ndarray, target: np.ndarray, trunk: Net) -> None:
    """Run the trunk over the pictures; the folder gets its name when it is complete."""
    part = out.with_name(out.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    maps = np.lib.format.open_memmap(part / "maps.npy", "w+", np.float16, (len(chosen), 14, 14, 512))
    start = time.monotonic()
    for number, picture in enumerate(pictures):
        maps[number] = trunk(picture)[0]
        if number % 1000 == 999:
            print(f"{out.name}: {number + 1} of {len(chosen)}, {time.monotonic() - start:.0f} s", flush=True)
    np.savez(part / "rows.npz", photo=chosen[:, 0], variant=chosen[:, 1], target=target)
    part.rename(out)


def pass_worn(out: Path, file: Path, round_: int, trunk: Net) -> None:
    """Really worn masks, nine tenths of `web`: without a target, for the mask's output."""
    with np.load(file) as found:
        web = found["bare"][np.array(["web" in Path(n).parts for n in found["names"]])]
    crops = web[np.arange(len(web)) % 10 != 0]
    rng = np.random.default_rng(round_)
    pictures = (disturbed(crop, rng, strong=bool(rng.random() < 0.5)) for crop in crops)
    chosen = np.column_stack([np.arange(len(crops)), np.zeros(len(crops), int)])
    save(out / f"{round_}-worn", pictures, chosen, np.zeros((len(crops), 128), np.float32), trunk)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("round", type=int)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--trunk", type=Path, required=True)
    parser.add_argument("--whole", type=Path, required=True)
    parser.add_argument("--plain", action="store_true", help="disturb nothing: for validation")
    wanted = parser.parse_args()
    trunk, whole = Net(wanted.trunk), Net(wanted.whole)
    classifier = Net(Path(__file__).parent / "mask_int8.tflite")
    for folder in wanted.folders:
        if folder.suffix == ".npz":
            pass_worn(wanted.out, folder, wanted.round, trunk)
        else:
            pass_folder(wanted.out, folder, wanted.round, trunk, whole, classifier, plain=wanted.plain)


if __name__ == "__main__":
    main()
