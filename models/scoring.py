"""Compare what to enrol and how to score, on LFW: one photo or several, drawn-mask views, a cohort's normalisation.

    PYTHONPATH=daemon:models python models/prepare.py VIEWS LFW/images --variants 2       (masks.py draws the views)
    PYTHONPATH=daemon:models python models/scoring.py LFW_CROPS VIEWS COHORT models/face_int8.tflite

LFW_CROPS is drawn by masks_test.py: probes wear other masks than the templates' views. COHORT is a training folder. One
probe image each; people with two photos or more are mated, ten galleries of 100 and 1,000 people are drawn, all else
are strangers. Rows are compared on one set: a difference of a point is noise, and the best of them is no result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from crops import cut, read
from evaluate import TWICE, embedded
from maskgate import measure

Vectors = np.ndarray
NEIGHBOURS = 50
"""Of the cohort, for the adaptive symmetric normalisation (Matejka et al. 2017)."""


def normalised(scores: Vectors, templates: Vectors, probes: Vectors, cohort: Vectors) -> Vectors:
    """AS-norm: each score in standard deviations of both sides' scores with their nearest strangers."""
    sides = []
    for side in (templates, probes):
        nearest = np.sort(side @ cohort.T, axis=1)[:, -NEIGHBOURS:]
        sides.append((nearest.mean(1), nearest.std(1)))
    (mean_t, std_t), (mean_p, std_p) = sides
    return ((scores - mean_t[:, None]) / std_t[:, None] + (scores - mean_p[None]) / std_p[None]) / 2


def unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def told(name: str, scores: Vectors, who: np.ndarray, probes: np.ndarray, same: np.ndarray) -> None:
    """One line: FNIR for both gallery sizes and rates."""
    words = []
    for size in (100, 1000):
        for fpir in (1e-2, 1e-3):
            found = measure.search(scores, who, probes, size=size, fpir=fpir, same=same)
            if found is not None:
                rate = measure.share(found.misses, found.people)
                words.append(f"{rate.value * 100:.2f} [{rate.low * 100:.1f}, {rate.high * 100:.1f}]")
    print(f"  {name}: FNIR N=100 at FPIR 1 %; 0.1 %; N=1000 at 1 %; 0.1 %: {'; '.join(words)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lfw", "views", "cohort", "model"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/maskgate-embeddings"))
    wanted = parser.parse_args()

    def see(crops: Vectors) -> Vectors:
        return embedded(wanted.model, crops, wanted.cache)[0]

    lfw, views, strangers = read(wanted.lfw), read(wanted.views), read(wanted.cohort)
    place = {name: i for i, name in enumerate(views.names)}
    at = np.array([i for i, name in enumerate(lfw.names) if lfw.found[i, 0] and views.found[place[name]].all()])
    row = np.array([place[lfw.names[i]] for i in at])
    bare, worn = see(cut(lfw.bare[at])), see(cut(lfw.worn[at, 0]))
    drawn = [see(cut(views.worn[row, v])) for v in range(2)]
    cohort = see(cut(strangers.bare[strangers.counts & ~strangers.held][:2000]))
    cohort_worn = see(cut(strangers.worn[strangers.counts & ~strangers.held][:2000, 0]))
    who = lfw.person[at]
    # Some people have two names: their photos are nobody's strangers.
    twins = (bare @ bare.T > TWICE) & (who[:, None] != who[None])
    keep = ~twins.any(0)
    bare, worn, drawn, who = bare[keep], worn[keep], [d[keep] for d in drawn], who[keep]
    same = np.eye(len(who), dtype=bool)
    print(f"{wanted.model.name}: {len(who)} photos of {len(set(who))} people, {int((~keep).sum())} left out as twins")
    plain = bare @ worn.T
    told("bare probe, one bare photo", bare @ bare.T, who, who, same)
    told("masked probe, one bare photo", plain, who, who, same)
    most = np.maximum.reduce([plain, *(d @ worn.T for d in drawn)])
    told("masked probe, best of bare and two drawn views", most, who, who, same)
    told("masked probe, drawn views alone, best", np.maximum.reduce([d @ worn.T for d in drawn]), who, who, same)
    mean = unit(bare + drawn[0] + drawn[1])
    told("masked probe, mean of bare and two drawn views", mean @ worn.T, who, who, same)
    told("bare probe, mean of bare and two drawn views", mean @ bare.T, who, who, same)
    told("masked probe, one bare photo, AS-norm", normalised(plain, bare, worn, cohort_worn), who, who, same)
    told("bare probe, one bare photo, AS-norm", normalised(bare @ bare.T, bare, bare, cohort), who, who, same)
    several(bare, worn, who)


def several(bare: Vectors, worn: Vectors, who: np.ndarray) -> None:
    """Two enrolled photos against one, for people with three or more: the last is the probe."""
    people, count = np.unique(who, return_counts=True)
    mine = [np.nonzero(who == person)[0] for person in people[count >= 3]]
    first, second, last = (np.array([at[i] for at in mine]) for i in (0, 1, -1))
    own = people[count >= 3]
    others = np.nonzero(np.isin(who, people[count < 3]))[0]
    probe_who = np.concatenate([own, who[others]])
    for cover, vectors in (("bare", bare), ("masked", worn)):
        probes = vectors[np.concatenate([last, others])]
        one, two = bare[first] @ probes.T, bare[second] @ probes.T
        mean = unit(bare[first] + bare[second]) @ probes.T
        for name, scores in (("one photo", one), ("best of two photos", np.maximum(one, two)), ("mean of two", mean)):
            none = np.zeros(scores.shape, bool)
            told(f"{cover} probe, {name}, {len(own)} people with three photos", scores, own, probe_who, none)


if __name__ == "__main__":
    main()
