"""Laws of a challenge: only the asked movement, by the same face, in time, in the drawn order, is an answer."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.challenge import ANSWER_S, REACT_S, TURN, Challenge, Order, begin, see
from maskgate.cues import Rules
from maskgate.decide import Attention, Decision, step
from maskgate.values import Match, Sighting
from worlds import BLURRED, GOOD, face, near, person, policy, sighting

ANNA = Match("Anna", 0.62, 0.4, "Ben")
PAIRS = list(permutations(Order, 2))
POSES = {None: (0.0, 1.0), Order.LEFT: (0.35, 1.0), Order.RIGHT: (-0.35, 1.0), Order.CLOSER: (0.0, 1.4)}
"""Yaw and growth of the face that show a movement; the person's own left is the picture's right."""


def shown(at_s: float, move: Order | None, *, height: float = 120, seed: int = 1, live: float = 0.9) -> Sighting:
    """Return a sighting of a head that was moved so."""
    yaw, grown = POSES[move]
    seen = sighting(at_s, ANNA, probe=near(person(seed), 0.9, int(at_s * 100)), live=live)
    return replace(seen, quality=replace(GOOD, yaw=yaw), face=face(height=height * grown))


def answered(challenge: Challenge, moves: list[Order | None], *, every_s: float = 0.2, **more: int) -> Challenge:
    """Let a face make `moves`, each seen three times and followed by a rest."""
    at_s = challenge.asked_s + REACT_S
    for move in moves:
        for pose in (move, move, move, None, None):
            at_s += every_s
            challenge = see(challenge, shown(at_s, pose, **more), at_s)
    return challenge


def asked(*orders: Order) -> Challenge:
    """Ask a resident."""
    return begin(orders, shown(0.0, None), 0.0)


@pytest.mark.parametrize("orders", PAIRS)
def test_who_moves_as_asked_passes(orders: tuple[Order, Order]) -> None:
    assert answered(asked(*orders), list(orders)).passed


@given(st.sampled_from(PAIRS), st.lists(st.sampled_from([None, *Order]), max_size=4))
def test_nothing_but_the_orders_in_their_order_passes(orders: tuple[Order, Order], moves: list[Order | None]) -> None:
    """Whoever has come close stays close, so that coming close once more is no movement."""
    if answered(asked(*orders), moves).passed:
        first, *rest = [move for move in moves if move is not None]
        assert first is orders[0]
        assert orders[1] in rest


@pytest.mark.parametrize("clip", PAIRS)
def test_a_recorded_clip_passes_for_one_drawing_of_six(clip: tuple[Order, Order]) -> None:
    assert sum(answered(asked(*orders), list(clip)).passed for orders in PAIRS) == 1


def test_a_picture_that_keeps_still_fails_when_time_is_up() -> None:
    challenge = asked(Order.LEFT, Order.RIGHT)
    for at_s in (1.0, 3.0, ANSWER_S + 0.1):
        assert not challenge.failed
        challenge = see(challenge, shown(at_s, None), at_s)
    assert challenge.failed


def test_a_movement_that_was_under_way_already_fails() -> None:
    early = see(asked(Order.LEFT, Order.CLOSER), shown(REACT_S / 2, Order.LEFT), REACT_S / 2)
    assert early.failed


def test_somebody_elses_answer_fails() -> None:
    assert answered(asked(Order.LEFT, Order.RIGHT), [Order.LEFT], seed=9).failed


def test_a_blurred_frame_and_a_frame_without_a_face_tell_nothing() -> None:
    challenge = asked(Order.LEFT, Order.RIGHT)
    blurred = replace(shown(1.0, Order.RIGHT), quality=replace(BLURRED, yaw=-0.5), probe=None)
    assert see(challenge, blurred, 1.0) is challenge
    assert see(challenge, None, 1.1) is challenge


def test_one_frame_is_no_answer_right_or_wrong() -> None:
    challenge = asked(Order.LEFT, Order.RIGHT)
    for move in (Order.RIGHT, None, Order.LEFT, None):
        challenge = see(challenge, shown(1.0, move), 1.0)
        assert challenge.order is Order.LEFT
        assert not challenge.failed


def test_the_head_must_come_back_before_the_next_order() -> None:
    challenge = asked(Order.LEFT, Order.RIGHT)
    for at_s in (0.5, 0.7, 0.9, 1.1):
        challenge = see(challenge, shown(at_s, Order.LEFT), at_s)
        assert challenge.order is Order.LEFT
    assert see(challenge, shown(1.3, None), 1.3).order is Order.RIGHT


@given(st.floats(0, TURN * 0.99), st.floats(0.8, 1.2))
def test_less_than_the_movement_is_none(yaw: float, grown: float) -> None:
    challenge = asked(Order.LEFT, Order.RIGHT)
    for at_s in (0.5, 1.0, 1.5):
        seen = replace(shown(at_s, None, height=120 * grown), quality=replace(GOOD, yaw=yaw))
        challenge = see(challenge, seen, at_s)
    assert challenge.order is Order.LEFT


def test_without_an_order_nobody_passes() -> None:
    assert begin((), shown(0.0, None), 0.0).failed


# In a decision


def visit(
    moves: list[Order | None],
    orders: tuple[Order, ...],
    *,
    live: float = 0.9,
    rules: Rules | None = Rules(0.5, sure=0.8),  # noqa: B008
    when: str = "always",
) -> Decision | None:
    """Let a resident come, be asked `orders` and make `moves`; return the first decision."""
    attention, at_s = Attention(), 0.0
    poses = [None] * 4 + [pose for move in moves for pose in (None, None, move, move, move, None, None)] + [None] * 40
    for pose in poses:
        at_s += 0.2
        attention, decision = step(
            attention, at_s + 0.02, shown(at_s, pose, live=live), policy(liveness=rules, challenge=when), orders
        )
        if decision is not None:
            return decision
    return None


@pytest.mark.parametrize("orders", PAIRS)
def test_a_resident_who_moves_as_asked_is_granted(orders: tuple[Order, Order]) -> None:
    decision = visit(list(orders), orders)
    assert decision is not None
    assert (decision.granted, decision.asked) == (True, orders)


@given(st.sampled_from(PAIRS), st.lists(st.sampled_from([None, *Order]), max_size=3), st.floats(0.5, 1))
def test_nobody_is_granted_without_the_answer(
    orders: tuple[Order, Order], moves: list[Order | None], live: float
) -> None:
    decision = visit(moves, orders, live=live)
    if decision is not None and decision.granted:
        first, *rest = [move for move in moves if move is not None]
        assert first is orders[0]
        assert orders[1] in rest


def test_who_does_not_move_is_refused_for_that() -> None:
    decision = visit([], (Order.LEFT, Order.CLOSER))
    assert decision is not None
    assert (decision.granted, decision.reason, decision.subject) == (False, "challenge_failed", "Anna")


def test_without_drawn_orders_nobody_is_granted() -> None:
    decision = visit([Order.LEFT], ())
    assert decision is not None
    assert (decision.granted, decision.reason) == (False, "challenge_failed")


def test_an_attack_is_refused_however_well_it_moves() -> None:
    decision = visit([Order.LEFT, Order.RIGHT], (Order.LEFT, Order.RIGHT), live=0.1)
    assert decision is not None
    assert (decision.granted, decision.reason) == (False, "not_live")


@pytest.mark.parametrize(("live", "is_asked"), [(0.9, False), (0.6, True)])
def test_only_who_leaves_the_gate_unsure_is_asked(live: float, is_asked: bool) -> None:
    decision = visit([], (Order.LEFT, Order.CLOSER), live=live, when="when_unsure")
    assert decision is not None
    assert decision.granted is not is_asked


def test_a_challenge_can_be_had_without_the_network_for_liveness() -> None:
    for when in ("always", "when_unsure"):
        decision = visit([Order.LEFT, Order.RIGHT], (Order.LEFT, Order.RIGHT), rules=None, when=when)
        assert decision is not None
        assert (decision.granted, decision.asked) == (True, (Order.LEFT, Order.RIGHT))
