"""Gather live faces and attacks for train_liveness.py: what surrounds each face, bare and with a drawn mask.

    PYTHONPATH=daemon:models python models/stage_liveness.py OUT SOURCE=LIVE,ATTACK[,KIND]...       (env of the product)

Each SOURCE is one camera and place, given as its folder of live and its folder of attack photos, either of which may be
empty ("staff=masked/staff,"). KIND says what the photos are: `film` (numbered in order), `name` (a film of each person,
whom the name begins with, as "0003_0003_01_.."), or nothing. The gate's own detector finds the face; a window shows
ROOM times its box, shrunk to at most BOX pixels. Written: `pixels.bin`, all windows end to end, and `index.json`, one
row for each: where its pixels begin, its shape, the box within it, source, person, live or not, masked or bare, file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import masks
from maskgate.faces import Faces, load
from maskgate.look import foremost
from maskgate.pixels import Picture, load_photo
from maskgate.values import Face, Image, MaskgateError

HERE = Path(__file__).parent
ROOM = 4.2
"""Side of the window in box sides: the wide view, and as much again as training may move it."""
BOX = 144.0
"""Longest side of the face's box in the window, pixels."""
EXTENSIONS = (".jpg", ".jpeg", ".png")


@cache
def faces() -> Faces:
    """The networks, once per process."""
    return load(HERE, threads=1)


def window(picture: Picture, face: Face) -> tuple[Image, tuple[float, float, float, float]]:
    """What there is of the picture around the face, and the face's box in it."""
    left, top, right, bottom = face.box
    side = max(right - left, bottom - top)
    scale = min(1.0, BOX / side)
    (x, y), (width, height) = face.centre, picture.size
    edges = [max(x - ROOM / 2 * side, 0), max(y - ROOM / 2 * side, 0)]
    edges += [min(x + ROOM / 2 * side, width), min(y + ROOM / 2 * side, height)]
    first = np.floor(edges[:2])
    size = (max(int((edges[2] - first[0]) * scale), 8), max(int((edges[3] - first[1]) * scale), 8))
    shift = (scale - 1) / 2 - first * scale
    seen = picture.sample(np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), size)
    box = np.array(face.box) * scale + np.tile(shift, 2)
    return seen, (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def staged(job: tuple[Path, int]) -> list[tuple[Image, tuple[float, ...], str]]:
    """The windows of one photo, with the kind of its drawn mask ("" for none); empty when there is no face in it."""
    path, number = job
    try:
        picture = load_photo(path)
    except MaskgateError:
        return []
    face = foremost(faces().find(picture, thorough=True), picture.size)
    if face is None:
        return []
    refined = faces().refine(picture, face)
    rng = np.random.default_rng(number)
    kind = masks.KINDS[int(rng.integers(len(masks.KINDS)))]
    drawn = Picture.from_rgb(masks.draw(picture.rgb(), refined.landmarks, kind, rng))
    return [(*window(picture, face), ""), (*window(drawn, face), kind)]


def photos(folder: str, limit: int | None) -> list[Path]:
    """Every photo in the folder and below, or `limit` of them drawn by chance; none where no folder is named."""
    if not folder:
        return []
    found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in EXTENSIONS)
    if limit and len(found) > limit:
        kept = np.random.default_rng(0).choice(len(found), limit, replace=False)
        found = [found[n] for n in sorted(kept)]
    return found


def person(source: str, path: Path, kind: str) -> str:
    """Whom it shows as far as the name says: nobody learns from and is examined on one person."""
    return f"{source}/{path.name.split('_')[0]}" if kind == "name" else source


def listed(sources: list[str], limit: int | None) -> Iterator[dict[str, Any]]:
    """One row a photo."""
    for told in sources:
        source, _, folders = told.partition("=")
        live, attack, kind = (*folders.split(","), "")[:3]
        for folder, lives in ((live, True), (attack, False)):
            for path in photos(folder, limit):
                who = person(source, path, kind)
                yield {"source": source, "person": who, "kind": kind, "live": lives, "file": str(path)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sources", nargs="+", metavar="SOURCE=LIVE,ATTACK")
    parser.add_argument("--limit", type=int, help="at most so many photos of each folder")
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    found = list(listed(wanted.sources, wanted.limit))
    rows: list[dict[str, Any]] = []
    begins = 0
    with ProcessPoolExecutor(wanted.jobs) as pool, (wanted.out / "pixels.bin").open("wb") as pixels:
        jobs = [(Path(row["file"]), number) for number, row in enumerate(found)]
        windows = pool.map(staged, jobs, chunksize=10)
        for row, views in zip(found, tqdm(windows, str(wanted.out), len(found), mininterval=10), strict=True):
            for image, box, kind in views:
                rows.append(row | {"at": begins, "shape": image.shape[:2], "box": box, "drawn": kind})
                pixels.write(np.ascontiguousarray(image).tobytes())
                begins += image.size
    (wanted.out / "index.json").write_text(json.dumps(rows))
    print(f"{wanted.out}: {len(found)} photos, {len(found) - len(rows) // 2} without a face, {begins >> 20} MB")


if __name__ == "__main__":
    main()
