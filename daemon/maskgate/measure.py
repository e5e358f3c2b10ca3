"""Turn scores into the rates that biometrics are judged by: FMR, TAR, FPIR, FNIR, with intervals. Pure: opens nothing.

The words are ISO/IEC 19795-1's. A rate rests on comparisons between people of one set, who are few beside the
comparisons they make; so an interval draws people, not comparisons (Bolle, Ratha & Pankanti 2004), and a threshold is
only read off where at least `FEWEST` comparisons lie beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int_]

FEWEST = 10
"""Comparisons that must lie beyond a threshold for its rate to be worth saying."""
DRAWS = 1000
"""Bootstrap draws of an interval."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with what it rests on."""

    value: float
    """0 to 1."""
    low: float
    """95 % interval, drawing people."""
    high: float
    n: int
    """Comparisons, or probes."""
    people: int


def threshold(impostors: Scores, rate: float) -> float | None:
    """Return the lowest score that at most a share `rate` of the impostors reaches; None when that is too few."""
    allowed = int(len(impostors) * rate)
    if allowed < FEWEST:
        return None
    # The next lower impostor must stay below: the score just above it.
    edge = np.partition(impostors, len(impostors) - allowed - 1)[len(impostors) - allowed - 1]
    return float(np.nextafter(edge, np.float32(2)))


def share(hits: Flags, people: Numbers, *, seed: int = 0) -> Rate:
    """Return the share of True in `hits`, each of which belongs to one of `people`."""
    _, who = np.unique(people, return_inverse=True)
    total = np.bincount(who, hits)
    count = np.bincount(who)
    drawn = np.random.default_rng(seed).integers(len(count), size=(DRAWS, len(count)))
    means = total[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Rate(float(hits.mean()), float(low), float(high), len(hits), len(count))


def beyond(impostors: Scores, limit: float) -> float:
    """Return the share of scores at `limit` or above."""
    return float((impostors >= limit).mean())


def roc(genuine: Scores, impostors: Scores, *, points: int = 120) -> list[tuple[float, float]]:
    """Return (false match rate, true match rate), both falling, down to the lowest rate that is worth saying."""
    lowest = FEWEST / max(len(impostors), 1)
    if lowest >= 1 or not len(genuine):
        return []
    rates = np.geomspace(1.0, lowest * (1 + 1e-9), points)
    ordered = np.sort(genuine)
    limits = [threshold(impostors, float(rate)) for rate in rates[1:]]
    found = [(1.0, 1.0)]
    for rate, limit in zip(rates[1:], limits, strict=True):
        if limit is not None:
            found.append((float(rate), float(1 - np.searchsorted(ordered, limit) / len(ordered))))
    return found


@dataclass(frozen=True, slots=True)
class Search:
    """What became of searches of galleries of one size."""

    misses: Flags
    """One per mated probe and gallery: the right subject was not first, or scored too low."""
    people: Numbers
    """Who each of those probes shows."""


def search(
    scores: Scores,
    templates: Numbers,
    probes: Numbers,
    *,
    size: int,
    fpir: float,
    seeds: int = 10,
    same: Flags | None = None,
) -> Search | None:
    """Search `seeds` galleries of `size` people drawn by chance, one bare template each; everybody else is a stranger.

    `scores` is (templates, probes); `templates` and `probes` name the person of each row and column, and `same`, of
    that shape, is True where both are one photo. Each gallery's threshold lets a share `fpir` of the strangers' probes
    through. None where people or strangers are too few.
    """
    known = np.unique(templates)
    if size >= len(known):
        return None
    outcomes = [_one_gallery(scores, templates, probes, size, fpir, seed, same) for seed in range(seeds)]
    found = [outcome for outcome in outcomes if outcome is not None]
    if not found:
        return None
    return Search(np.concatenate([f.misses for f in found]), np.concatenate([f.people for f in found]))


def _one_gallery(
    scores: Scores, templates: Numbers, probes: Numbers, size: int, fpir: float, seed: int, same: Flags | None
) -> Search | None:
    """Draw one gallery and search it."""
    rng = np.random.default_rng(seed)
    enrolled = rng.permutation(np.unique(templates))[:size]
    rows = np.array([rng.choice(np.nonzero(templates == person)[0]) for person in enrolled])
    part = scores[rows]
    stranger = ~np.isin(probes, enrolled)
    mated = ~stranger if same is None else ~stranger & ~same[rows].any(0)
    if not stranger.any() or not mated.any():
        return None
    limit = threshold(part[:, stranger].max(0), fpir)
    if limit is None:
        return None
    own = part[:, mated]
    right = (enrolled[own.argmax(0)] == probes[mated]) & (own.max(0) >= limit)
    return Search(~right, probes[mated])
