"""Say what a visit's sightings tell about life. Reads no clock, file or pin.

Each cue says attack, live or nothing. Cues are never averaged: one that says attack vetoes, and nothing outvotes it.
Fail closed: a face counts as live only when the network for liveness has said so of the very sightings that would open
the gate, and no cue has said attack of them or of the whole visit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from maskgate.values import Sighting

ENOUGH = 3
"""Looks that the network for liveness must have answered: the median of so many survives one bad frame."""


class Says(Enum):
    """What a cue says."""

    ATTACK = "attack"
    LIVE = "live"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue's answer."""

    name: str
    says: Says
    value: float | None = None
    """What was measured; None when there was too little to measure."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How sure the gate must be; follows from `policy.liveness`."""

    threshold: float
    """The median of the looks' live probabilities must reach this, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the cues say of a visit."""

    cues: tuple[Cue, ...] = ()
    """In the order of CUES."""

    @property
    def attack(self) -> Cue | None:
        """The first cue that says attack; None when none does."""
        return next((cue for cue in self.cues if cue.says is Says.ATTACK), None)

    @property
    def is_live(self) -> bool:
        """True when the network says live and no cue says attack."""
        return self.attack is None and any(cue.name == "passive" and cue.says is Says.LIVE for cue in self.cues)

    @property
    def live(self) -> float | None:
        """The median of the looks' live probabilities; None when there were too few."""
        return next((cue.value for cue in self.cues if cue.name == "passive"), None)

    @property
    def deciding(self) -> Cue | None:
        """The cue that vetoes, else the one that says live; None when neither is there."""
        return self.attack or next((cue for cue in self.cues if cue.says is Says.LIVE), None)


UNJUDGED = Verdict()
"""Where liveness is not judged."""


def judge(seen: Sequence[Sighting], streak: Sequence[Sighting], rules: Rules) -> Verdict:
    """Ask every cue; both are usable sightings of one visit in their order.

    `streak` would open the gate: only it can be live, lest a person shows his face first and then a picture. `seen` is
    the whole visit: what it says against life counts, too.
    """
    return Verdict(
        tuple(_sterner(cue(seen, rules), cue(streak, rules)) if streak else cue(seen, rules) for cue in CUES)
    )


def _sterner(seen: Cue, streak: Cue) -> Cue:
    """Return what says attack, else what the streak says."""
    return seen if seen.says is Says.ATTACK and streak.says is not Says.ATTACK else streak


def passive(sightings: Sequence[Sighting], rules: Rules) -> Cue:
    """Say attack or live by the median of what the network for liveness answered; nothing below ENOUGH answers."""
    answers = [s.live for s in sightings if s.live is not None and math.isfinite(s.live)]
    if len(answers) < ENOUGH:
        return Cue("passive", Says.NOTHING)
    middle = median(answers)
    return Cue("passive", Says.LIVE if middle >= rules.threshold else Says.ATTACK, middle)


CUES: tuple[Callable[[Sequence[Sighting], Rules], Cue], ...] = (passive,)
"""Every cue; the order is that of the log."""
