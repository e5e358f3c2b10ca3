"""Say what a visit's sightings tell about life. Reads no clock, file or pin.

Each cue says attack, live or nothing. Cues are never averaged: one that says attack vetoes, and nothing outvotes it.
Fail closed: a face counts as live only when the network for liveness has said so of the very sightings that would open
the gate, and no cue has said attack of them or of the whole visit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from statistics import median

from maskgate import carry
from maskgate.carry import Glimpse
from maskgate.values import Sighting

ENOUGH = 3
"""Answers that a cue needs: the median of so many survives one bad frame."""
WATCH_S = 0.5
"""A face is watched at least so long before it is let in: a fast machine has its three looks before anything moves."""
CARRIED = 0.15
"""From here on surroundings go along with the face; live people reached 0.00 (models/LIVENESS_CUES.md)."""
ANCHORS = 3
"""Looks that later ones are compared with, the face having moved between them."""


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
    sure: float = 0.0
    """Below this median the gate is unsure, and may challenge the person."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the cues say of a visit."""

    cues: tuple[Cue, ...] = ()
    """In the order in which they are asked."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """What a visit's looks showed between them; `follow` makes it longer."""

    anchors: tuple[Glimpse, ...] = ()
    """The latest looks between which the face had moved."""
    carried: tuple[float, ...] = ()
    """What each comparison of two looks gave; see `carry.carried`."""


def follow(trail: Trail, sighting: Sighting) -> Trail:
    """Compare a usable sighting with the anchors."""
    if sighting.backdrop is None:
        return trail
    now = carry.glimpse(sighting.backdrop, sighting.face.landmarks)
    found = [c for anchor in trail.anchors if (c := carry.carried(anchor, now)) is not None]
    trail = replace(trail, carried=(*trail.carried, *found))
    if trail.anchors and carry.moved(trail.anchors[-1], now) < carry.MOVED:
        return trail
    return replace(trail, anchors=(*trail.anchors, now)[-ANCHORS:])


UNJUDGED = Verdict()
"""Where liveness is not judged."""


def judge(seen: Sequence[Sighting], streak: Sequence[Sighting], trail: Trail, rules: Rules) -> Verdict:
    """Ask every cue; both sequences are usable sightings of one visit in their order, and `trail` is the visit's.

    `streak` would open the gate: only it can be live, lest a person shows his face first and then a picture. `seen` is
    the whole visit: what it says against life counts, too.
    """
    answer = passive(seen, rules)
    return Verdict((_sterner(answer, passive(streak, rules)) if streak else answer, carried(trail)))


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


def carried(trail: Trail) -> Cue:
    """Say attack when the face takes its surroundings along; otherwise nothing: a cut-out takes none along either."""
    if len(trail.carried) < ENOUGH:
        return Cue("carried", Says.NOTHING)
    middle = median(trail.carried)
    return Cue("carried", Says.ATTACK if middle >= CARRIED else Says.NOTHING, middle)
