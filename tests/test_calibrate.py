"""From odds to thresholds: stricter with every template, never beyond what was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.calibrate import Calibration, Curve, chances, odds
from maskgate.values import Cover

CURVE = Curve(
    (1e-2, 1e-3, 1e-4, 1e-5, 1e-6), (0.20, 0.27, 0.33, 0.38, 0.42), (0.01, 0.02, 0.04, 0.08, 0.12), 10**7, 4500
)
MASKED = Curve((1e-2, 1e-3, 1e-4, 1e-5), (0.25, 0.32, 0.38, 0.43), (0.02, 0.05, 0.10, 0.2), 10**6, 4500)
BOTH = Curve((1e-2, 1e-3, 1e-4), (0.22, 0.35, 0.44), (0.02, 0.06, 0.12), 10**6, 4500)
CALIBRATION = Calibration({Cover.BARE: CURVE, Cover.MASKED: MASKED}, BOTH)


@given(st.floats(2e-6, 1e-2), st.floats(2e-6, 1e-2))
def test_fewer_false_matches_never_cost_a_lower_score(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert CALIBRATION.threshold(low, Cover.BARE).score >= CALIBRATION.threshold(high, Cover.BARE).score - 1e-12


@pytest.mark.parametrize(("fmr", "score"), list(zip(CURVE.fmr, CURVE.score, strict=True)))
def test_measured_points_come_back_as_measured(fmr: float, score: float) -> None:
    found = CALIBRATION.threshold(fmr, Cover.BARE)
    assert found.score == pytest.approx(score)
    assert found.supported


def test_what_the_measurement_does_not_support_is_said_and_not_extrapolated() -> None:
    found = CALIBRATION.threshold(1e-9, Cover.BARE)
    assert (found.score, found.fmr, found.supported) == (0.42, 1e-6, False)


@given(st.floats(1e-4, 1e-2))
def test_with_the_surplus_off_a_masked_template_lets_in_no_more_strangers(fmr: float) -> None:
    surplus = CALIBRATION.surplus
    asked = CALIBRATION.threshold(fmr, Cover.MASKED).score + surplus[Cover.MASKED]
    assert asked >= Calibration({Cover.BARE: BOTH}, BOTH).threshold(fmr, Cover.BARE).score - 1e-12
    asked = CALIBRATION.threshold(fmr, Cover.BARE).score + surplus[Cover.BARE]
    assert asked >= CALIBRATION.threshold(fmr, Cover.MASKED).score - 1e-12
    lower = Calibration(CALIBRATION.curves, Curve(BOTH.fmr, (0.1, 0.2, 0.3), BOTH.fnmr, 1, 1))
    assert lower.surplus[Cover.MASKED] == 0


def test_a_looser_rate_than_measured_takes_the_loosest_measured_threshold() -> None:
    assert CALIBRATION.threshold(0.5, Cover.BARE).score == 0.20


def test_every_template_and_every_chance_makes_the_threshold_stricter() -> None:
    def score(templates: int, looks: int = 12) -> float:
        found = CALIBRATION.thresholds(1000, templates=templates, looks=looks, agree=2)
        return found[Cover.BARE].score

    assert score(1) < score(5) < score(50)
    assert score(5, looks=2) < score(5, looks=12)


def test_the_odds_of_a_threshold_are_the_odds_that_were_asked_for() -> None:
    found = CALIBRATION.thresholds(10_000, templates=8, looks=12, agree=2)[Cover.BARE]
    assert found.supported
    assert odds(found, templates=8, looks=12, agree=2) == 10_000


def test_unsupported_odds_are_those_of_the_strictest_measured_threshold() -> None:
    found = CALIBRATION.thresholds(1_000_000, templates=100, looks=12, agree=2)[Cover.MASKED]
    assert not found.supported
    assert odds(found, templates=100, looks=12, agree=2) == int(1 / (1e-5 * 600))


def test_any_run_of_agreeing_looks_meets_one_of_the_counted_chances() -> None:
    """The bound the docstring claims: each run of `agree` neighbours holds a multiple of `agree`."""
    for looks in range(1, 25):
        for agree in range(1, min(looks, 4) + 1):
            counted = {i for i in range(1, looks + 1) if i % agree == 0}
            assert len(counted) == max(looks // agree, 1) == chances(1, looks, agree)
            for first in range(1, looks - agree + 2):
                assert counted & set(range(first, first + agree))
