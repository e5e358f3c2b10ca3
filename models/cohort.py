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
import tomllib
from pathlib import Path

import numpy as np
from scipy.cluster.vq import kmeans2

from calibrate import Vectors, chosen, numbered, people
from crops import read
from evaluate import embedded
from maskgate.cohort import WEIGHT, Cohort
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="+", help="folders of prepare.py")
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/maskgate-embeddings"))
    wanted = parser.parse_args()
    file = wanted.models / "models.toml"
    text = file.read_text(encoding="utf-8")
    before = re.search(r"(?m)^\[embedder\.cohort\]\n(?:\w+ = .*\n)+", text)
    if before is None:
        raise SystemExit(f"{file}: has no table [embedder.cohort] to be written anew; take the file of this release")
    # Not through the gate's own `load`, which refuses an embedder whose cohort is not drawn yet.
    model = wanted.models / tomllib.loads(text)["embedder"]["file"]
    bare, person, teacher = [], [], []
    for number, folder in enumerate(wanted.faces):
        crops = read(folder)
        kept = chosen(crops, held=False)
        bare.append(crops.bare[kept])
        person.append(numbered(crops, kept, number))
        teacher.append(crops.teacher[kept])
    vectors = embedded(model, np.concatenate(bare), wanted.cache).thrice
    who = people(np.concatenate(person), np.concatenate(teacher))
    cohort = drawn(vectors, np.random.default_rng(0))
    steps = np.round(cohort / np.abs(cohort).max() * 127).astype(np.int8)
    cohort = unit(steps.astype(np.float32))
    usual = float(Cohort(cohort, 0.0).excess(vectors).mean() / WEIGHT)
    photos = np.where(who[:, None] != who[None, :], vectors @ vectors.T, -1).max(1)
    nearest = (cohort @ vectors.T).max(1)
    print(
        f"{len(vectors)} photos; nearest photo of one drawn: {nearest.mean():.3f}, at most {nearest.max():.3f}; of"
        f" another person, of a photo: {photos.mean():.3f}, at most {photos.max():.3f}; usual {usual:.4f}"
    )
    path = wanted.models / "cohort.npy"
    np.save(path, steps)
    digest, embedder = (hashlib.sha256(made.read_bytes()).hexdigest() for made in (path, model))
    table = f'[embedder.cohort]\nfile = "{path.name}"\nsha256 = "{digest}"\nusual = {usual:.4f}\n'
    table += f'embedder = "{embedder}"\n'
    file.write_text(text[: before.start()] + table + text[before.end() :], encoding="utf-8")


if __name__ == "__main__":
    main()
