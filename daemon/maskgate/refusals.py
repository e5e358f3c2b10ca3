"""Remember by the face alone who was refused, and for how long that person waits. Reads no clock, file or pin."""

from __future__ import annotations

from dataclasses import dataclass

from maskgate.values import Embedding

LONGEST_WAIT_S = 600.0
"""Each further refusal doubles a person's wait up to this: a poster of a face must not fill the log."""
FORGET_S = 3 * LONGEST_WAIT_S
"""A refused person is remembered this long after the last refusal."""
REMEMBER = 32
"""At most so many refused persons are remembered; the longest ago is dropped."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody who was refused."""

    probe: Embedding
    count: int
    last_s: float
    attacks: int = 0
    """How many of the latest refusals in a row were of attacks with this face."""


def remember(
    refused: tuple[Refused, ...], probe: Embedding, at_s: float, *, granted: bool, attack: bool, alike: float
) -> tuple[Refused, ...]:
    """Count a refusal against the face it was made of, the last of those returned; a grant wipes that face's slate.

    Two probes that are `alike`, a cosine, are one person's.
    """
    kept = lately(refused, at_s)
    mine = [person for person in kept if float(person.probe @ probe) >= alike]
    others = tuple(person for person in kept if all(person is not same for same in mine))
    if granted:
        return others
    count = 1 + max((person.count for person in mine), default=0)
    attacks = 1 + max((person.attacks for person in mine), default=0) if attack else 0
    return (*others, Refused(probe, count, at_s, attacks))[-REMEMBER:]


def lately(refused: tuple[Refused, ...], now_s: float) -> tuple[Refused, ...]:
    """Return those who are not forgotten yet."""
    return tuple(person for person in refused if now_s - person.last_s < FORGET_S)


def must_wait(
    refused: tuple[Refused, ...], probe: Embedding, now_s: float, *, after: int, backoff_s: float, alike: float
) -> bool:
    """Tell whether this face was refused `after` times in a row or more often, a short time ago."""
    return any(
        person.count >= after
        and now_s - person.last_s < _wait_s(person.count - after, backoff_s)
        and float(person.probe @ probe) >= alike
        for person in refused
    )


def _wait_s(further: int, backoff_s: float) -> float:
    """Return how long a person waits after so many further refusals."""
    return max(backoff_s, min(backoff_s * 2.0 ** min(further, 20), LONGEST_WAIT_S))
