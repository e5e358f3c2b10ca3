"""Pre-render faces whose landmarks are known, masked or not, for train_refiner.py.

    PYTHONPATH=daemon:models python models/stage_eyes.py OUT FOLDER... [--limit 7000]

Each photo is laid out bare by the product's detectors; those landmarks are the truth also for the masks then drawn on
it, which no detector sees. What lies beyond the photo is filled with pieces of other photos, and the photo trimmed by
chance, so that its edge tells nothing. Written: `wide.npy` (n, 3, 176, 176, 3): bare and twice masked, the template in
the middle with a rim of 32; `points.npy` (n, 5, 2), the landmarks in it; `names.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

import masks
import prepare
from maskgate import align
from maskgate.pixels import Picture, load_photo
from maskgate.values import Image, MaskgateError, Points

RIM = 32
SIDE = align.SIDE + 2 * RIM
WORN = 2
TRIMMED = 0.11
"""Up to this share is cut from each side of a photo: many are cut to the face already, all alike."""

_others: list[Path] = []


def filled(photo: Picture, side: float, rng: np.random.Generator) -> Picture:
    """The photo staged as prepare.py does, on a piece of another photo instead of on black."""
    staged = prepare.stage(photo, side).rgb().copy()
    width, height = (round(length * side / max(photo.size)) for length in photo.size)
    left, top = (prepare.FRAME - width) // 2 + 1, (prepare.FRAME - height) // 2 + 1
    other = Pillow.open(_others[rng.integers(len(_others))]).convert("RGB")
    x, y = (int(rng.integers(max(length // 2, 1))) for length in other.size)
    piece = other.crop((x, y, x + other.width // 2, y + other.height // 2)).resize((prepare.FRAME, prepare.FRAME))
    scene = np.asarray(piece).copy()
    cut_left, cut_top, cut_right, cut_bottom = (int(side * n) for n in rng.uniform(0.01, TRIMMED, 4))
    inside = np.s_[top + cut_top : top + height - cut_bottom, left + cut_left : left + width - cut_right]
    scene[inside] = staged[inside]
    return Picture.from_rgb(scene)


def wide(picture: Picture, points: Points) -> tuple[Image, Points]:
    """The template's surroundings, and the landmarks in them."""
    matrix = align.face_matrix(points).copy()
    matrix[:, 2] += RIM
    return picture.sample(matrix, (SIDE, SIDE)), (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def staged(job: tuple[int, Path]) -> tuple[Image, Points] | None:
    """One photo's rows, in a worker process."""
    number, path = job
    rng = np.random.default_rng(number)
    faces = prepare.faces()
    try:
        photo = load_photo(path)
    except MaskgateError:
        return None
    face = prepare.refined(faces, prepare.stage(photo, prepare.NEAR))
    if face is None:
        return None
    points = face.landmarks
    scene = filled(photo, prepare.NEAR, rng)
    bare, there = wide(scene, points)
    kinds = rng.permutation(masks.KINDS)[:WORN]
    worn = [wide(Picture.from_rgb(masks.draw(scene.rgb(), points, str(kind), rng)), points)[0] for kind in kinds]
    return np.stack([bare, *worn]), there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=7000)
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    paths = prepare.photos(wanted.folders)
    rng = np.random.default_rng(0)
    paths = [paths[i] for i in rng.permutation(len(paths))[: wanted.limit]]
    _others.extend(paths)
    rows, names, start = [], [], time.monotonic()
    with ProcessPoolExecutor(wanted.jobs) as pool:
        for path, one in zip(paths, pool.map(staged, enumerate(paths), chunksize=20), strict=True):
            if one is not None:
                rows.append(one)
                names.append(str(path))
            if len(rows) % 500 == 1:
                print(f"{len(rows)} faces, {time.monotonic() - start:.0f} s", flush=True)
    wanted.out.mkdir(parents=True, exist_ok=True)
    np.save(wanted.out / "wide.npy", np.stack([row[0] for row in rows]))
    np.save(wanted.out / "points.npy", np.stack([row[1] for row in rows]))
    (wanted.out / "names.json").write_text(json.dumps(names))
    print(f"{wanted.out}: {len(rows)} of {len(paths)} photos, {os.path.getsize(wanted.out / 'wide.npy')} B")


if __name__ == "__main__":
    main()
