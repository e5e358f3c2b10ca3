"""A share of what `make prove` does with a million events."""

from __future__ import annotations

import laws_ledger


def test_any_question_about_a_long_log_is_answered_at_once() -> None:
    assert laws_ledger.any_question_is_quick(20_000) > 300
