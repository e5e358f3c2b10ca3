"""Lay out the development photos as the product does: aligned crops, bare and with a drawn mask, into one .npz.

    PYTHONPATH=daemon python models/prepare.py OUT.npz FOLDER... [--draw] [--limit N]

Every photo goes through `Faces.find(thorough=True)`, the face nearest the middle, `refine`, and `align`; with `--draw`
a mask of the next kind is drawn on the photo and the result goes through the same once more, so that masked faces
suffer the detectors' true errors. Arrays: `names`, `bare` (n, 112, 112, 3) uint8, `eyes_apart`, `score`, `height`, and
with `--draw` `masked`, `masked_found`, `kinds`. Photos without a face are left out and counted.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import masks
from maskgate import align
from maskgate.faces import Faces, load
from maskgate.pixels import Picture, load_photo
from maskgate.values import Face, Image

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Prepared:
    """One photo's face as the product sees it."""

    name: str
    face: Face
    bare: Image
    kind: str = ""
    masked: Image | None = None
    """None when no mask was drawn, or when the detector lost the masked face."""


def central(faces: Faces, picture: Picture) -> Face | None:
    """The face nearest the middle, with its eyes settled by both detectors; None when there is none."""
    middle = np.array(picture.size) / 2
    found = faces.find(picture, thorough=True)
    face = min(found, key=lambda face: float(np.abs(np.array(face.centre) - middle).max()), default=None)
    return None if face is None else faces.refine(picture, face)


def crop(picture: Picture, face: Face) -> Image:
    """The aligned face."""
    return picture.sample(align.face_matrix(face.landmarks), (align.SIDE, align.SIDE))


def wear(faces: Faces, picture: Picture, face: Face, kind: str, seed: int) -> Image | None:
    """The aligned face after a mask was drawn on the photo and the photo looked at afresh."""
    drawn = masks.draw(picture.rgb(), face.landmarks, kind, np.random.default_rng(seed))
    worn = Picture.from_rgb(drawn)
    again = central(faces, worn)
    return None if again is None else crop(worn, again)


_faces: Faces | None = None


def prepare(job: tuple[int, Path, bool]) -> Prepared | None:
    """One photo, in a worker process that loads the networks once."""
    global _faces
    number, path, drawing = job
    _faces = _faces or load(Path(os.environ.get("MODELS", HERE)), threads=1)
    picture = load_photo(path)
    face = central(_faces, picture)
    if face is None:
        return None
    kind = masks.KINDS[number % len(masks.KINDS)] if drawing else ""
    masked = wear(_faces, picture, face, kind, number) if drawing else None
    return Prepared(str(path), face, crop(picture, face), kind, masked)


def prepared(paths: list[Path], *, drawing: bool) -> Iterator[Prepared]:
    """Each photo with a face, in order, on two processes."""
    jobs = [(number, path, drawing) for number, path in enumerate(paths)]
    with ProcessPoolExecutor(2) as pool:
        yield from (one for one in pool.map(prepare, jobs, chunksize=20) if one is not None)


def photos(folders: list[Path]) -> list[Path]:
    """Every photo in the folders, sorted."""
    return sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))


def save(out: Path, rows: list[Prepared], *, drawing: bool) -> None:
    """Write the arrays."""
    arrays = {
        "names": np.array([r.name for r in rows]),
        "bare": np.stack([r.bare for r in rows]),
        "eyes_apart": np.array([r.face.eyes_apart for r in rows], np.float32),
        "score": np.array([r.face.score for r in rows], np.float32),
        "height": np.array([r.face.height for r in rows], np.float32),
    }
    if drawing:
        arrays["masked"] = np.stack([np.zeros_like(r.bare) if r.masked is None else r.masked for r in rows])
        arrays["masked_found"] = np.array([r.masked is not None for r in rows])
        arrays["kinds"] = np.array([r.kind for r in rows])
    np.savez(out, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--limit", type=int, help="a random subset of this many photos")
    wanted = parser.parse_args()
    paths = photos(wanted.folders)
    if wanted.limit and wanted.limit < len(paths):
        paths = sorted(np.random.default_rng(0).choice(np.array(paths, dtype=object), wanted.limit, replace=False))
    rows = list(prepared(paths, drawing=wanted.draw))
    save(wanted.out, rows, drawing=wanted.draw)
    lost = sum(r.masked is None for r in rows) if wanted.draw else 0
    print(f"{wanted.out}: {len(paths)} photos, {len(paths) - len(rows)} without a face, {lost} lost under the mask")


if __name__ == "__main__":
    main()
