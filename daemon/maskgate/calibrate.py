"""Turn "one stranger in so many visits" into score thresholds, from measured impostor scores. Pure: opens nothing.

A stranger's visit is at most `looks` usable sightings, and a grant needs `agree` of them in a row. Every run of `agree`
neighbours contains exactly one of the sightings number agree, 2 agree, 3 agree ..., so at most looks // agree sightings
bound the whole visit, and each of them is compared with every template of the gallery:

    P(stranger is let in) <= templates * (looks // agree) * FMR(threshold)

which is a union bound: it needs no independence between a visit's frames or between templates, and is therefore on the
safe side. (Grother, Ngan & Hanaoka, NISTIR 8271, use the same N * FMR for a search of N.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log

from maskgate.values import Cover


@dataclass(frozen=True, slots=True)
class Curve:
    """How impostors, and the people themselves, scored when templates and probes of some cover met."""

    fmr: tuple[float, ...]
    """False match rates of one comparison, descending."""
    score: tuple[float, ...]
    """The score that each of them asks for, ascending."""
    fnmr: tuple[float, ...]
    """Share of people's own comparisons that fall below that score."""
    pairs: int
    """Impostor comparisons behind the curve."""
    people: int
    """Different people behind the comparisons."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score to be reached, and what it was measured to mean."""

    score: float
    fmr: float
    """The false match rate it stands for: the one asked for, or the lowest that the measurement supports."""
    fnmr: float
    """Measured share of people's own sightings that score below it."""
    supported: bool
    """False when a lower rate was asked for than the measurement supports: `fmr` is then what can be promised."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The curves of one embedder."""

    curves: Mapping[Cover, Curve]
    """Of bare templates, by the cover of the probe."""
    both: Curve
    """Of masked templates and masked probes."""

    @property
    def surplus(self) -> dict[Cover, float]:
        """By the probe's cover, how much higher strangers score with a masked template than with a bare one.

        The most over the rates that both curves list, never negative: with scores lowered by it, a masked template
        lets in no more strangers than a bare one. Bare probe with masked template is the masked curve turned round.
        """
        bare, masked = self.curves[Cover.BARE], self.curves[Cover.MASKED]
        return {Cover.BARE: _highest_over(masked, bare), Cover.MASKED: _highest_over(self.both, masked)}

    def threshold(self, fmr: float, cover: Cover) -> Threshold:
        """Return the score for at most `fmr` false matches a comparison; never extrapolates beyond the curve."""
        curve = self.curves[cover]
        asked = min(fmr, curve.fmr[0])
        if asked < curve.fmr[-1]:
            return Threshold(curve.score[-1], curve.fmr[-1], curve.fnmr[-1], False)
        return Threshold(_between(asked, curve.fmr, curve.score), asked, _between(asked, curve.fmr, curve.fnmr), True)

    def thresholds(self, stranger_odds: int, *, templates: int, looks: int, agree: int) -> dict[Cover, Threshold]:
        """Return for each cover the threshold at which at most one stranger in `stranger_odds` visits is let in."""
        fmr = 1 / (stranger_odds * chances(templates, looks, agree))
        return {cover: self.threshold(fmr, cover) for cover in self.curves}


def chances(templates: int, looks: int, agree: int) -> int:
    """Return how many comparisons of a stranger's visit could end in a grant, by the bound above."""
    return max(templates, 1) * max(looks // agree, 1)


def odds(threshold: Threshold, *, templates: int, looks: int, agree: int) -> int:
    """Return the visits of strangers of which at most one is let in at `threshold`."""
    # The products round down by parts in 1e16; without the nudge 10,000 comes back as 9,999.
    return int(1 / (threshold.fmr * chances(templates, looks, agree)) * (1 + 1e-9))


def _highest_over(curve: Curve, other: Curve) -> float:
    """Return the most by which `curve` asks for a higher score than `other` at one rate, at least 0."""
    scores = dict(zip(other.fmr, other.score, strict=True))
    over = [score - scores[fmr] for fmr, score in zip(curve.fmr, curve.score, strict=True) if fmr in scores]
    return max(0.0, *over)


def _between(fmr: float, rates: tuple[float, ...], values: tuple[float, ...]) -> float:
    """Interpolate `values` at `fmr`, linear in the logarithm of the rate."""
    for i in range(len(rates) - 1):
        if rates[i] >= fmr >= rates[i + 1]:
            share = (log(rates[i]) - log(fmr)) / (log(rates[i]) - log(rates[i + 1]))
            return values[i] + share * (values[i + 1] - values[i])
    return values[-1] if fmr <= exp(log(rates[-1])) else values[0]
