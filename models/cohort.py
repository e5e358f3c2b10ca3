"""Draw the cohort: faces of nobody, as the embedder would see them, by which the gate sets scores right.

    PYTHONPATH=daemon python models/cohort.py FOLDER...   (folders of prepare.py)

What the embedder makes of the photos that train.py learnt from is described by MEANS means and one spread
about them (k-means, one covariance for all), and COHORT vectors are drawn from that. So no photo's vector is shipped:
how near what is drawn lies to the nearest photo is printed beside how near photos of two people do. Writes `cohort.npy`
(COHORT, 128) int8 beside models.toml, and [embedder.cohort] into it; calibrate.py must follow. One seed; another number
of the matrix library's threads may round a step otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from calibrate import Vectors, chosen, embedded, people
from crops import Crops, read
from maskgate.cohort import WEIGHT, Cohort
from maskgate.faces import load
from network import unit

HERE = Path(__file__).parent
MEANS = 64
COHORT = 2048


def drawn(vectors: Vectors, rng: np.random.Generator) -> Vectors:
    """(COHORT, d) unit vectors of nobody, spread as (n, d) `vectors` are."""
    means, nearest = kmeans2(vectors, min(MEANS, len(vectors) // 4), minit="++", seed=rng)
    off = vectors - means[nearest]
    spread = off.T @ off / len(off)
    # As many about each mean as photos are.
    about = nearest[rng.integers(len(vectors), size=COHORT)]
    return unit(means[about] + rng.multivariate_normal(np.zeros(len(spread)), spread, COHORT)).astype(np.float32)


def strangers(parts: list[Crops]) -> NDArray[np.bool_]:
    """(n, n) which of the chosen photos show two people, as far as names and the teacher tell."""
    person, teacher = [], []
    for i, one in enumerate(parts):
        kept = chosen(one, held=False)
        person.append(np.where(one.person[kept] >= 0, one.person[kept] + 1000 * i, -1))
        teacher.append(one.teacher[kept])
    who = people(np.concatenate(person), np.concatenate(teacher))
    return np.asarray(who[:, None] != who[None, :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="+", help="folders of prepare.py")
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--keep", type=Path, default=Path("embeddings"), help="folder for embeddings already made")
    wanted = parser.parse_args()
    wanted.keep.mkdir(parents=True, exist_ok=True)
    parts = [read(folder) for folder in wanted.faces]
    bare = np.concatenate([one.bare[chosen(one, held=False)] for one in parts])
    faces = load(wanted.models, threads=1)
    vectors = embedded(faces, bare, wanted.keep / f"cohort{len(bare)}.bare", closely=True)
    cohort = drawn(vectors, np.random.default_rng(0))
    steps = np.round(cohort / np.abs(cohort).max() * 127).astype(np.int8)
    cohort = unit(steps.astype(np.float32))
    usual = float(Cohort(cohort, 0.0).excess(vectors).mean() / WEIGHT)
    photos = np.where(strangers(parts), vectors @ vectors.T, -1).max(1)
    nearest = (cohort @ vectors.T).max(1)
    print(
        f"{len(vectors)} photos; nearest photo of one drawn: {nearest.mean():.3f}, at most {nearest.max():.3f}; of"
        f" another person, of a photo: {photos.mean():.3f}, at most {photos.max():.3f}; usual {usual:.4f}"
    )
    path = wanted.models / "cohort.npy"
    np.save(path, steps)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = wanted.models / "models.toml"
    text = file.read_text(encoding="utf-8")
    table = f'[embedder.cohort]\nfile = "{path.name}"\nsha256 = "{digest}"\nusual = {usual:.4f}\n'
    table += f'embedder = "{faces.embedder}"\n'
    text, found = re.subn(r"(?m)^\[embedder\.cohort\]\n(?:\w+ = .*\n)+", table, text)
    if found != 1:
        raise SystemExit(f"{file}: has {found} tables [embedder.cohort], must have one")
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
