"""Ask a person to move the head, and tell from the pose whether that was done. Reads no clock, file or pin.

It draws no lot either: the orders come from outside, by chance and when they are given, so that no recorded clip can
know them. An answer is the asked movement and no other, by the same face, not before a person could have reacted and
not too late; then back to where it was before the next order. Yaw is how far the nose lies off the eyes' middle: a flat
picture that is turned does not change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from maskgate.values import Embedding, Sighting

TURN = 0.25
"""A turn of the head changes yaw (-1 to 1) by at least this: some 15 degrees."""
BACK = 0.15
"""Nearer than this to where it was, the head is back."""
NEAR = 1.25
"""A step closer makes the face higher by at least this factor."""
HELD = 2
"""Sightings in a row that must show an answer, right or wrong."""
REACT_S = 0.25
"""Nobody moves on a signal sooner: what is under way by then is no answer (Woodworth & Schlosberg 1954: 0.19 s)."""
ANSWER_S = 6.0
"""Each order is answered within this."""
SAME = 0.5
"""Cosine to the face that was asked: strangers come as near once in 60,000 at most (models.toml), turned heads 0.79."""


class Order(Enum):
    """What can be asked; left and right are the person's own."""

    LEFT = "left"
    RIGHT = "right"
    CLOSER = "closer"


@dataclass(frozen=True, slots=True, eq=False)
class Challenge:
    """Orders given to one face, and how far it has followed them."""

    orders: tuple[Order, ...]
    """Those still to be followed, the one asked now first."""
    asked_s: float
    """When that one was asked."""
    yaw: float
    """Of the head when it was asked."""
    height: float
    """Of the face then, pixels."""
    probe: Embedding
    """The face that was asked."""
    move: Order | None = None
    """The movement that the latest sightings show; None for none."""
    held: int = 0
    """How many of them in a row show it."""
    followed: bool = False
    """The movement was made; what is left is to come back."""
    failed: bool = False
    given: tuple[Order, ...] = ()
    """All that were to be followed, for the log."""

    @property
    def order(self) -> Order | None:
        """What is asked now; None when it is over."""
        return self.orders[0] if self.orders and not self.failed else None

    @property
    def passed(self) -> bool:
        """True when every order was followed."""
        return not self.orders and not self.failed


def begin(orders: Sequence[Order], sighting: Sighting, now_s: float) -> Challenge:
    """Give `orders` to the face of a usable sighting; without an order it has failed."""
    assert sighting.probe is not None  # the caller asks nobody who was not recognised
    yaw, height = sighting.quality.yaw, sighting.face.height
    return Challenge(tuple(orders), now_s, yaw, height, sighting.probe, failed=not orders, given=tuple(orders))


def see(challenge: Challenge, sighting: Sighting | None, now_s: float) -> Challenge:
    """Take in what a frame showed; an unusable sighting tells nothing, and neither does None."""
    if challenge.order is None:
        return challenge
    if now_s - challenge.asked_s > ANSWER_S:
        return replace(challenge, failed=True)
    if sighting is None or not sighting.usable or sighting.probe is None:
        return challenge
    if float(sighting.probe @ challenge.probe) < SAME:
        return replace(challenge, failed=True)
    if challenge.followed:
        return _return(challenge, sighting, now_s)
    move = _movement(challenge, sighting)
    if move is None:
        return replace(challenge, move=None, held=0)
    held = challenge.held + 1 if move is challenge.move else 1
    if sighting.at_s - challenge.asked_s < REACT_S or (held >= HELD and move is not challenge.order):
        return replace(challenge, failed=True)
    return replace(challenge, move=move, held=held, followed=held >= HELD)


def _movement(challenge: Challenge, sighting: Sighting) -> Order | None:
    """Name the movement since the order was given; None for less than one."""
    turned = sighting.quality.yaw - challenge.yaw
    if abs(turned) >= TURN:
        # The person's own left is the picture's right.
        return Order.LEFT if turned > 0 else Order.RIGHT
    return Order.CLOSER if sighting.face.height >= NEAR * challenge.height else None


def _return(challenge: Challenge, sighting: Sighting, now_s: float) -> Challenge:
    """Give the next order once the head is back, or be done."""
    if abs(sighting.quality.yaw - challenge.yaw) > BACK:
        return challenge
    return replace(
        challenge,
        orders=challenge.orders[1:],
        asked_s=now_s,
        yaw=sighting.quality.yaw,
        height=sighting.face.height,
        move=None,
        held=0,
        followed=False,
    )
