"""Turn probabilities of a living face into the rates that liveness is judged by: APCER, BPCER, bounds. Pure.

The words are ISO/IEC 30107-3's. APCER is the share of attacks of one species that pass for living people, BPCER the
share of living people ("bona fide") that are refused. Both count presentations: single images, or whole visits. Bounds
are exact (Clopper & Pearson 1934), so they hold for few presentations too, as far as those are independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with exact bounds."""

    hits: int
    n: int
    low: float
    """95 % bounds of the share, 0 to 1."""
    high: float

    @property
    def value(self) -> float:
        """The share itself, 0 to 1."""
        return self.hits / self.n


def share(hits: int, n: int, *, confidence: float = 0.95) -> Share:
    """Return `hits` of `n`, n at least 1, with Clopper and Pearson's two-sided bounds."""
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _root(lambda p: 1 - _at_most(hits - 1, n, p) - tail)
    high = 1.0 if hits == n else _root(lambda p: tail - _at_most(hits, n, p))
    return Share(hits, n, low, high)


def _root(rising: Callable[[float], float]) -> float:
    """Return where a function that rises from 0 to 1 is zero."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _at_most(hits: int, n: int, p: float) -> float:
    """Return the probability of at most `hits` of `n`, each with the probability `p` between 0 and 1."""
    k = np.arange(hits + 1)
    terms = np.exp(_log_ways(hits, n) + k * math.log(p) + (n - k) * math.log1p(-p))
    return min(1.0, float(terms.sum()))


@lru_cache(maxsize=4)
def _log_ways(hits: int, n: int) -> Numbers:
    """Return the logarithms of the numbers of ways to choose 0 to `hits` of `n`."""
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(hits + 1)
    ways: Numbers = factorials[n] - factorials[k] - factorials[n - k]
    return ways


def refused(live: Numbers, at: float) -> Share:
    """BPCER: the share of living people's presentations whose probability is below `at`."""
    return share(int((live < at).sum()), len(live))


def passed(attack: Numbers, at: float) -> Share:
    """APCER: the share of attacks whose probability is `at` or above."""
    return share(int((attack >= at).sum()), len(attack))


def trade(live: Numbers, attack: Numbers) -> list[tuple[float, float, float]]:
    """Return (threshold, APCER, BPCER) for every threshold that changes one of them, rising; both must hold some."""
    limits = np.unique(np.concatenate([live, attack, [np.nextafter(max(live.max(), attack.max()), np.inf)]]))
    lives, attacks = np.sort(live), np.sort(attack)
    bpcer = np.searchsorted(lives, limits) / len(lives)
    apcer = 1 - np.searchsorted(attacks, limits) / len(attacks)
    return [(float(a), float(b), float(c)) for a, b, c in zip(limits, apcer, bpcer, strict=True)]


def equal_error(live: Numbers, attack: Numbers) -> float:
    """Return the error rate where APCER and BPCER are nearest to each other: the mean of the two there."""
    _, apcer, bpcer = min(trade(live, attack), key=lambda point: abs(point[1] - point[2]))
    return (apcer + bpcer) / 2


def visit(looks: Sequence[float]) -> float:
    """Return the probability that a visit is a living person's: the median of its looks, as `decide` judges it."""
    return float(np.median(looks))
