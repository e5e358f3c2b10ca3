"""Compare false match rates between groups of age, gender and origin, at one threshold for all.

    PYTHONPATH=daemon python models/groups.py TIGHT models/face_int8.tflite [--rate 1e-3] [--held]

TIGHT is prepare.py's and teach.py's folder of photos named <n>_<age>_<gender>_<origin>.jpg; the labels are the set's.
The threshold is the score that a share `rate` of all pairs of two people reaches, bare with bare; each group's rate is
of pairs within the group, which is the harder case and the one that matters to it. Pairs whose teacher's score is above
calibrate.SAME are taken for one person and left out. Intervals: 95 %, 200 bootstrap draws over people.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from calibrate import SAME
from crops import read
from evaluate import HERE, embedded, threshold
from maskgate.faces import load

GENDERS = ("male", "female")
ORIGINS = ("White", "Black", "Asian", "Indian", "other")
AGES = ((0, 30), (30, 45), (45, 60), (60, 200))
DRAWS = 200


def groups(names: np.ndarray) -> dict[str, np.ndarray]:
    """Members of each group, as flags."""
    age, gender, origin = np.array([[int(n) for n in Path(name).stem.split("_")[1:4]] for name in names]).T
    found = {word: gender == n for n, word in enumerate(GENDERS)}
    found |= {word: origin == n for n, word in enumerate(ORIGINS)}
    return found | {f"age {low} to {high}": (age >= low) & (age < high) for low, high in AGES}


def rate(beyond: np.ndarray, counted: np.ndarray, members: np.ndarray) -> tuple[float, float, float, int]:
    """False match rate within a group with its interval, and its pairs."""
    at = np.nonzero(members)[0]
    hits, pairs = (flags[np.ix_(at, at)].astype(np.float32) for flags in (beyond & counted, counted))
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        weight = np.bincount(rng.integers(len(at), size=len(at)), minlength=len(at)).astype(np.float32)
        drawn.append(float(weight @ hits @ weight / (weight @ pairs @ weight)))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(hits.sum() / pairs.sum()), float(low), float(high), int(pairs.sum() / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tight", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--held", action="store_true", help="only photos that train.py held back")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/maskgate-embeddings"))
    wanted = parser.parse_args()
    crops = read(wanted.tight)
    use = crops.counts & crops.found[:, 0] & (crops.held | (not wanted.held))
    bare, worn, teacher = crops.bare[use], crops.worn[use, 0], crops.teacher[use]
    counted = teacher @ teacher.T <= SAME
    np.fill_diagonal(counted, False)
    cohort = load(HERE, threads=1).cohort
    for model in wanted.models:
        seen = embedded(model, bare, wanted.cache)
        for cover, probes in (("bare", seen.plain), ("masked", embedded(model, worn, wanted.cache).twice)):
            scores = cohort.scores(seen.thrice, probes)
            limit = threshold(scores[counted], wanted.rate)
            print(f"{model.name}, {cover} probes, score {limit:.3f} for {wanted.rate:.0e} of all")
            for name, members in groups(crops.names[use]).items():
                value, low, high, pairs = rate(scores >= limit, counted, members)
                print(f"  {name}: {value:.1e} [{low:.1e}, {high:.1e}] n={members.sum()}, {pairs} pairs", flush=True)


if __name__ == "__main__":
    main()
