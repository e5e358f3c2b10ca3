"""Pre-render the training faces: each photo's aligned face, bare and with several drawn masks, into one folder of .npy.

    PYTHONPATH=daemon python models/render.py OUT FOLDER... [--variants 4] [--limit N] [--renderer masks_test]

Landmarks come from the product's detectors, on the masked picture once more: a masked crop suffers their true drift.
Crops are (128, 128, 3): the 112 x 112 template with a rim of 8 pixels, so that training can still move them. Written:
`bare.npy` (n, 128, 128, 3), `worn.npy` (n, variants, 128, 128, 3), `index.json` (names, people, sources, kinds; a
variant whose face was lost has the kind "lost" and is black). One seed per photo and variant: the same call renders
the same pixels.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from maskgate import align
from maskgate.faces import Faces, load
from maskgate.pixels import Picture, load_photo
from maskgate.values import Face, Image, Points
from prepare import central, photos

HERE = Path(__file__).parent
RIM = 8
SIDE = align.SIDE + 2 * RIM

_faces: Faces | None = None


def loose(picture: Picture, landmarks: Points) -> Image:
    """The aligned face with its rim."""
    matrix = align.face_matrix(landmarks).copy()
    matrix[:, 2] += RIM
    return picture.sample(matrix, (SIDE, SIDE))


def around(picture: Picture, face: Face) -> tuple[Picture, Face]:
    """The picture cut to 1.3 face heights each way, at most 300 pixels wide: drawing costs by the pixel."""
    shrink = min(1.0, 300 / (3.6 * max(face.height, 1.0)))
    reach = 1.8 * face.height
    width, height = picture.size
    left, top = max(0.0, face.centre[0] - reach), max(0.0, face.centre[1] - reach)
    right, bottom = min(width, face.centre[0] + reach), min(height, face.centre[1] + reach)
    matrix = np.array([[shrink, 0, -left * shrink], [0, shrink, -top * shrink]])
    cut = picture.sample(matrix, (max(int((right - left) * shrink), 32), max(int((bottom - top) * shrink), 32)))
    moved = (face.landmarks * shrink + matrix[:, 2]).astype(np.float32)
    box = np.array(face.box) * shrink + np.tile(matrix[:, 2], 2)
    return Picture.from_rgb(cut), replace(face, landmarks=moved, box=tuple(float(v) for v in box))


def wear(
    faces: Faces, picture: Picture, face: Face, masks: ModuleType, kind: str, rng: np.random.Generator
) -> Image | None:
    """The face as the product aligns it once a mask is drawn; None when the detector loses it."""
    worn = Picture.from_rgb(masks.draw(picture.rgb(), face.landmarks, kind, rng))
    again = faces._settled(worn, face)
    return None if again is None else loose(worn, faces.refine(worn, again).landmarks)


def render(job: tuple[int, Path, int, str]) -> tuple[Image, Image, list[str]] | None:
    """One photo, in a worker process that loads the networks once."""
    global _faces
    number, path, variants, renderer = job
    masks = importlib.import_module(renderer)
    _faces = _faces or load(Path(os.environ.get("MODELS", HERE)), threads=1)
    picture = load_photo(path)
    face = central(_faces, picture)
    if face is None:
        return None
    picture, face = around(picture, face)
    worn, kinds = np.zeros((variants, SIDE, SIDE, 3), np.uint8), []
    for variant in range(variants):
        kind = masks.KINDS[(number * variants + variant) % len(masks.KINDS)]
        crop = wear(_faces, picture, face, masks, kind, np.random.default_rng((number, variant)))
        kinds.append("lost" if crop is None else kind)
        if crop is not None:
            worn[variant] = crop
    return loose(picture, face.landmarks), worn, kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--variants", type=int, default=4)
    parser.add_argument("--limit", type=int, help="a random subset of this many photos")
    parser.add_argument("--renderer", default="masks", help="the module that draws; masks_test for measurements")
    wanted = parser.parse_args()
    paths = photos(wanted.folders)
    if wanted.limit and wanted.limit < len(paths):
        paths = sorted(np.random.default_rng(0).choice(np.array(paths, dtype=object), wanted.limit, replace=False))
    wanted.out.mkdir(parents=True, exist_ok=True)
    shape = (len(paths), SIDE, SIDE, 3)
    bare = np.lib.format.open_memmap(wanted.out / "bare.npy", "w+", np.uint8, shape)
    worn = np.lib.format.open_memmap(wanted.out / "worn.npy", "w+", np.uint8, (shape[0], wanted.variants, *shape[1:]))
    rows: list[dict[str, object]] = []
    start = time.monotonic()
    jobs = [(number, path, wanted.variants, wanted.renderer) for number, path in enumerate(paths)]
    with ProcessPoolExecutor(2) as pool:
        for (number, path, *_), one in zip(jobs, pool.map(render, jobs, chunksize=20), strict=True):
            if one is not None:
                bare[number], worn[number], kinds = one
                rows.append({"at": number, "name": str(path), "kinds": kinds})
            if number % 200 == 199:
                print(f"{number + 1} of {len(paths)}, {time.monotonic() - start:.0f} s", flush=True)
    (wanted.out / "index.json").write_text(json.dumps(rows))
    lost = sum(str(r["kinds"]).count("lost") for r in rows)
    print(
        f"{wanted.out}: {len(paths)} photos, {len(paths) - len(rows)} without a face, {lost} variants lost their face"
    )


if __name__ == "__main__":
    main()
