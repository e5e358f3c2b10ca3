"""Make faces of nobody for train.py: two photos laid over each other and bent, bare and with a drawn mask.

    PYTHONPATH=daemon python models/blend.py OUT FOLDER... [--count 12000]

FOLDERs are prepare.py's with a `teacher.npy`; only photos that train.py may learn from are taken. Thousands of people
are few for a network that has to place any face; a blend of two aligned faces, bent smoothly, is one more that the
teacher can be asked about (mixing for distillation after Beyer et al. 2022, "Knowledge distillation: A good teacher is
patient and consistent"). OUT has prepare.py's form, for teach.py to embed; nothing in it is ever held back or measured
on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from tqdm import tqdm

import masks
from crops import Crops, read
from disturb import RIM, SIDE
from maskgate import align

ALONE = 0.3
"""Share of the blends that are one photo, bent."""
BEND_PX = 2.2
"""Standard deviation by which the knots of the bend move, pixels of the template."""
KNOTS = 5
FULL = SIDE + 2 * RIM

_photos: list[tuple[Crops, int]] = []
"""What may be blended: a folder's crops and a photo in it. Filled before the workers are forked."""


def bent(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The (128, 128, 3) face pulled about smoothly: knots of a coarse mesh move, what lies between follows."""
    at = np.linspace(0, FULL, KNOTS)
    knots = np.stack(np.meshgrid(at, at), -1) + rng.normal(0, BEND_PX, (KNOTS, KNOTS, 2))
    mesh = []
    for row in range(KNOTS - 1):
        for column in range(KNOTS - 1):
            box = tuple(round(float(v)) for v in (at[column], at[row], at[column + 1], at[row + 1]))
            corners = [knots[row, column], knots[row + 1, column], knots[row + 1, column + 1], knots[row, column + 1]]
            mesh.append((box, tuple(float(v) for corner in corners for v in corner)))
    image = Pillow.fromarray(face).transform((FULL, FULL), Pillow.Transform.MESH, mesh, Pillow.Resampling.BILINEAR)
    return np.asarray(image)


def blend(number: int) -> tuple[np.ndarray, np.ndarray, str]:
    """A bare face, the same masked, and the kind of its mask; the same number gives the same pixels."""
    rng = np.random.default_rng((11, number))
    two = (_photos[at] for at in rng.choice(len(_photos), 2, replace=False))
    left, right = (one.bare[n].astype(np.float32) for one, n in two)
    share = 1.0 if rng.random() < ALONE else rng.uniform(0.3, 0.7)
    left = left[:, ::-1] if rng.random() < 0.5 else left
    face = bent((share * left + (1 - share) * right + 0.5).astype(np.uint8), rng)
    kind = masks.KINDS[number % len(masks.KINDS)]
    points = align.TEMPLATE + RIM + rng.normal(0, 1.0, align.TEMPLATE.shape)
    return face, masks.draw(face, points, kind, rng), kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=12000)
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    parts = [read(folder) for folder in wanted.folders]
    _photos.extend((one, n) for one in parts for n in np.nonzero(one.counts & ~one.held)[0])
    wanted.out.mkdir(parents=True, exist_ok=True)
    shape = (wanted.count, FULL, FULL, 3)
    bare = np.lib.format.open_memmap(wanted.out / "bare.npy", "w+", np.uint8, shape)
    worn = np.lib.format.open_memmap(wanted.out / "worn.npy", "w+", np.uint8, (wanted.count, 1, *shape[1:]))
    rows = []
    with ProcessPoolExecutor(wanted.jobs, multiprocessing.get_context("fork")) as pool:
        made = pool.map(blend, range(wanted.count), chunksize=50)
        for number, (face, masked, kind) in enumerate(tqdm(made, str(wanted.out), wanted.count, mininterval=10)):
            bare[number], worn[number, 0] = face, masked
            rows.append({"at": number, "name": f"blend/{number}", "kinds": [kind], "made": True})
    (wanted.out / "index.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
