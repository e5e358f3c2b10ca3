"""Compare what to enrol and how to score, on faces that train.py held back: views, mirror images, frames, a cohort.

    PYTHONPATH=daemon python models/scoring.py models/face_int8.tflite FOLDER...

FOLDERs are prepare.py's and teach.py's. True and false matches at FAR 1e-3 and 1e-4 (TAR, per cent): people with names
against their own other photos, everybody else as impostors; masks are drawn afresh for each photo. Scores are plain
cosines. The named people are few, so differences of a point are noise; every row is on the same photos. "Poor" probes
are dark, small or blurred as train.py makes them: one such frame, or the mean of three.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from crops import Crops, read
from disturb import RIM, disturbed
from evaluate import Looks, embedded
from network import unit

MOST = 500
"""Photos taken of each folder."""
NEIGHBOURS = 50
"""Of the cohort, for the adaptive symmetric normalisation (Matejka et al. 2017)."""
FRAMES = 3

Vectors = np.ndarray


def normalised(scores: Vectors, templates: Vectors, probes: Vectors, cohort: Vectors) -> Vectors:
    """AS-norm: each score in standard deviations of both sides' scores with their nearest strangers."""
    sides = []
    for side in (templates, probes):
        nearest = np.sort(side @ cohort.T, axis=1)[:, -NEIGHBOURS:]
        sides.append((nearest.mean(1), nearest.std(1)))
    (mean_t, std_t), (mean_p, std_p) = sides
    return ((scores - mean_t[:, None]) / std_t[:, None] + (scores - mean_p[None]) / std_p[None]) / 2


def chosen(parts: list[Crops]) -> tuple[list[tuple[Crops, int]], np.ndarray]:
    """Held-back photos, and a number of a person for each."""
    rng, places, who = np.random.default_rng(1), [], []
    for i, one in enumerate(parts):
        usable = np.nonzero(one.held & one.counts & one.found[:, :2].all(1))[0]
        for n in rng.permutation(usable)[:MOST]:
            places.append((one, int(n)))
            who.append(one.person[n] if one.person[n] >= 0 else 1000 + 100_000 * i + n)
    return places, np.array(who)


def rimmed(face: np.ndarray) -> np.ndarray:
    """The (112, 112, 3) face with a black rim, as `embedded` takes it."""
    return np.pad(face, ((RIM, RIM), (RIM, RIM), (0, 0)))


class Table:
    """Prints a row for each way to score."""

    def __init__(self, who: np.ndarray) -> None:
        self.apart = who[:, None] != who[None]
        self.own = ~self.apart & ~np.eye(len(who), dtype=bool)

    def row(self, name: str, scores: Vectors, rows: np.ndarray | None = None, own: np.ndarray | None = None) -> None:
        """True matches at two false match rates; `rows` are the templates that count, `own` the pairs, all if None."""
        rows = np.arange(len(scores)) if rows is None else rows
        genuine = scores[rows][(self.own if own is None else own)[rows]]
        impostor = np.sort(scores[rows][self.apart[rows]])
        rates = [(genuine >= impostor[-max(int(len(impostor) * far), 1)]).mean() for far in (1e-3, 1e-4)]
        print(f"| {name} | {'; '.join(f'{rate * 100:.2f}' for rate in rates)} % |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/maskgate-embeddings"))
    wanted = parser.parse_args()

    def see(faces: list[np.ndarray]) -> Looks:
        return embedded(wanted.model, np.stack(faces), wanted.cache)

    parts = [read(folder) for folder in wanted.folders]
    places, who = chosen(parts)
    bare, worn, drawn = zip(*((one.bare[n], one.worn[n, 0], one.worn[n, 1]) for one, n in places), strict=True)
    rng = np.random.default_rng(2)
    poor = [[rimmed(disturbed(one.worn[n, 0], rng, strong=True)) for one, n in places] for _ in range(FRAMES)]
    enrolled, covered = see(list(bare)), see(list(worn))
    plain, masked, view = enrolled.plain, covered.plain, see(list(drawn)).plain
    frames = [see(faces).plain for faces in poor]
    cohort = see([one.worn[n, 0] for one in parts for n in np.nonzero(one.counts & ~one.held)[0][:500]]).plain
    table = Table(who)
    print(f"{wanted.model.name}: {len(who)} photos, {int(table.own.sum())} own pairs of {(np.bincount(who) > 1).sum()}")
    table.row("bare probe, one bare photo", plain @ plain.T)
    table.row("bare probe, photo looked at three times, as enrolled", enrolled.thrice @ plain.T)
    table.row("bare probe, both looked at three times", enrolled.thrice @ enrolled.thrice.T)
    table.row("bare probe, mean of photo and a drawn-mask view", unit(plain + view) @ plain.T)
    table.row("masked probe, one bare photo", plain @ masked.T)
    table.row("masked probe, photo looked at three times, as enrolled", enrolled.thrice @ masked.T)
    table.row("masked probe, the same, the probe also smaller in the mirror", enrolled.thrice @ covered.twice.T)
    table.row("masked probe, both looked at three times", enrolled.thrice @ covered.thrice.T)
    table.row("masked probe, mean of photo and a drawn-mask view", unit(plain + view) @ masked.T)
    table.row("masked probe, best of photo and a drawn-mask view", np.maximum(plain @ masked.T, view @ masked.T))
    table.row("masked probe, a drawn-mask view alone", view @ masked.T)
    table.row("masked probe, one bare photo, AS-norm", normalised(plain @ masked.T, plain, masked, cohort))
    table.row("masked probe, poor, one frame", plain @ frames[0].T)
    table.row(f"masked probe, poor, mean of {FRAMES} frames", plain @ unit(np.sum(frames, axis=0)).T)
    table.row("masked probe, masked photo", masked @ masked.T)
    several(table, who, plain, masked)


def several(table: Table, who: np.ndarray, plain: Vectors, masked: Vectors) -> None:
    """Two enrolled photos against one, for people with three or more; the second is the person's next one."""
    mine = {person: np.nonzero(who == person)[0] for person in np.unique(who)}
    rows = np.concatenate([at for at in mine.values() if len(at) > 2])
    next_one = np.concatenate([np.roll(at, -1) for at in mine.values() if len(at) > 2])
    own = table.own.copy()
    own[rows, next_one] = False
    for cover, probes in (("bare", plain), ("masked", masked)):
        one, second, worn = plain[rows] @ probes.T, plain[next_one] @ probes.T, masked[next_one] @ probes.T
        mean = unit(plain[rows] + plain[next_one]) @ probes.T
        ways = {"one photo": one, "mean of two": mean, "best of two": np.maximum(one, second)}
        for name, found in (ways | {"best of a bare and a masked one": np.maximum(one, worn)}).items():
            scores = np.zeros((len(who), len(who)), np.float32)
            scores[rows] = found
            table.row(f"{cover} probe, {name}, {len(rows)} photos of people with three", scores, rows, own)


if __name__ == "__main__":
    main()
