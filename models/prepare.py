"""Pre-render faces: each photo's aligned face, bare and with several drawn masks, into one folder of .npy.

    PYTHONPATH=daemon python models/prepare.py OUT FOLDER... [--variants 3] [--limit N] [--renderer masks_test]

A photo is staged in the middle of a black frame, as a camera would show it, and the product's own detector and refiner
lay the face out; the masked pictures are staged nearer and farther and laid out afresh, so that a masked crop suffers
the true drift of the landmarks. Crops are (128, 128, 3): the 112 x 112 template with a rim of 8 pixels, so that
training can still move them. Written: `bare.npy` (n, 128, 128, 3), `worn.npy` (n, variants, 128, 128, 3), `index.json`
(number, name and kinds of mask by photo, and what the gate as shipped would find wrong with the picture, bare first and
then by variant; a variant whose face was lost has the kind "lost" and is black, and a photo without a face is left
out). One seed per photo and variant: the same call renders the same pixels.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from tqdm import tqdm

from maskgate import align, config
from maskgate.faces import Faces, load
from maskgate.look import bounds_of, foremost
from maskgate.pixels import Picture, load_photo
from maskgate.values import Face, Image, MaskgateError, Points

HERE = Path(__file__).parent
RIM = 8
SIDE = align.SIDE + 2 * RIM
FRAME = 320
"""Side of the staged frame: a detector on 640 x 480 sees the same number of pixels of a face."""
NEAR, FAR = 240, 130
"""Longest side of the photo in the frame; masked pictures are shown between the two."""


@cache
def faces() -> Faces:
    """The networks, once per process, the detector at the frame's size."""
    loaded = load(Path(os.environ.get("MODELS", HERE)), threads=1)
    loaded = replace(loaded, detector=loaded.thorough())
    loaded.detector.resize((FRAME, FRAME))
    return loaded


def stage(picture: Picture, side: float) -> Picture:
    """The picture in the middle of a black frame, its longest side `side` pixels."""
    scale = side / max(picture.size)
    shift = [(FRAME - length * scale) / 2 + (scale - 1) / 2 for length in picture.size]
    return Picture.from_rgb(picture.sample(np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (FRAME, FRAME)))


def refined(faces: Faces, staged: Picture) -> Face | None:
    """The foremost face with its landmarks set right; None when there is none."""
    face = foremost(faces.find(staged), staged.size)
    return None if face is None else faces.refine(staged, face)


def laid_out(staged: Picture, face: Face) -> tuple[Image, tuple[str, ...]]:
    """The aligned face with its rim, and what the gate finds wrong with it by its default bounds."""
    matrix = align.face_matrix(face.landmarks).copy()
    matrix[:, 2] += RIM
    crop = staged.sample(matrix, (SIDE, SIDE))
    luma = Picture.from_rgb(crop[RIM:-RIM, RIM:-RIM]).luma()
    return crop, align.judge(luma, face, staged.size, bounds_of(config.Quality())).faults


def wear(
    faces: Faces, near: Picture, points: Points, masks: ModuleType, kind: str, seed: tuple[int, int]
) -> tuple[Image, tuple[str, ...]] | None:
    """The face as the product aligns it once a mask is drawn, and its faults; None when the detector loses it."""
    rng = np.random.default_rng(seed)
    drawn = Picture.from_rgb(masks.draw(near.rgb(), points, kind, rng))
    worn = stage(drawn, FRAME * rng.uniform(FAR / NEAR, 1.0))
    again = refined(faces, worn)
    return None if again is None else laid_out(worn, again)


def render(job: tuple[int, Path, int, str]) -> tuple[Image, Image, dict[str, object]] | None:
    """One photo, in a worker process that loads the networks once."""
    number, path, variants, renderer = job
    masks = importlib.import_module(renderer)
    networks = faces()
    try:
        near = stage(load_photo(path), NEAR)
    except MaskgateError:
        return None
    face = refined(networks, near)
    if face is None:
        return None
    bare, found_bare = laid_out(near, face)
    worn, kinds, faults = np.zeros((variants, SIDE, SIDE, 3), np.uint8), [], [found_bare]
    for variant in range(variants):
        kind = masks.KINDS[(number * variants + variant) % len(masks.KINDS)]
        drawn = wear(networks, near, face.landmarks, masks, kind, (number, variant))
        kinds.append("lost" if drawn is None else kind)
        faults.append(() if drawn is None else drawn[1])
        if drawn is not None:
            worn[variant] = drawn[0]
    return bare, worn, {"kinds": kinds, "faults": faults}


def photos(folders: list[Path]) -> list[Path]:
    """Every photo in the folders, sorted."""
    return sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--variants", type=int, default=3)
    parser.add_argument("--limit", type=int, help="a random subset of this many photos")
    parser.add_argument("--held", action="store_true", help="every third photo alone: what train.py holds back")
    parser.add_argument("--renderer", default="masks", help="the module that draws; masks_test for measurements")
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    paths = photos(wanted.folders)
    if wanted.limit and wanted.limit < len(paths):
        paths = sorted(np.random.default_rng(0).choice(np.array(paths, dtype=object), wanted.limit, replace=False))
    wanted.out.mkdir(parents=True, exist_ok=True)
    shape = (len(paths), SIDE, SIDE, 3)
    bare = np.lib.format.open_memmap(wanted.out / "bare.npy", "w+", np.uint8, shape)
    worn = np.lib.format.open_memmap(wanted.out / "worn.npy", "w+", np.uint8, (shape[0], wanted.variants, *shape[1:]))
    rows: list[dict[str, object]] = []
    jobs = [
        (number, path, wanted.variants, wanted.renderer)
        for number, path in enumerate(paths)
        if number % 3 == 0 or not wanted.held
    ]
    with ProcessPoolExecutor(wanted.jobs) as pool:
        rendered = tqdm(pool.map(render, jobs, chunksize=20), str(wanted.out), len(jobs), mininterval=10)
        for (number, path, *_), one in zip(jobs, rendered, strict=True):
            if one is not None:
                bare[number], worn[number], told = one
                rows.append({"at": number, "name": str(path), **told})
    (wanted.out / "index.json").write_text(json.dumps(rows))
    lost = sum(str(r["kinds"]).count("lost") for r in rows)
    print(
        f"{wanted.out}: {len(paths)} photos, {len(paths) - len(rows)} without a face, {lost} variants lost their face"
    )


if __name__ == "__main__":
    main()
