"""Draw the cohort: faces of nobody, as the embedder would see them, by which the gate sets scores right.

    PYTHONPATH=daemon python models/cohort.py FOLDER...   (folders of prepare.py, all their photos)

What the embedder makes of the photos that train.py learnt from is described by MEANS means and one spread
about them (k-means, one covariance for all), and COHORT vectors are drawn from that. So no photo's vector is shipped:
what is drawn lies no nearer to the nearest photo than photos of strangers do, which is printed. Writes `cohort.npy`
(COHORT, 128) int8 beside models.toml, and [embedder.cohort] into it; calibrate.py must follow.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

import numpy as np
from scipy.cluster.vq import kmeans2

from calibrate import Vectors, chosen, embedded
from crops import read
from maskgate.cohort import NEAREST
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


def nearness(faces: Vectors, cohort: Vectors) -> Vectors:
    """The mean cosine of each of (n, d) `faces` with the NEAREST of the cohort."""
    return np.sort(faces @ cohort.T, 1)[:, -NEAREST:].mean(1)


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
    usual = float(nearness(vectors, cohort).mean())
    others = np.sort(vectors @ vectors.T, 1)[:, -2]
    print(
        f"{len(vectors)} photos; nearest photo: of one drawn {(cohort @ vectors.T).max(1).mean():.3f},"
        f" of a photo {others.mean():.3f}; usual {usual:.4f}"
    )
    path = wanted.models / "cohort.npy"
    np.save(path, steps)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = wanted.models / "models.toml"
    text = file.read_text(encoding="utf-8")
    text = re.sub(r"(?m)(^\[embedder\.cohort\]\nfile = .*\nsha256 = ).*$", rf'\g<1>"{digest}"', text)
    file.write_text(re.sub(r"(?m)^usual = .*$", f"usual = {usual:.4f}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
