"""A share of what `make prove` does for minutes and hours: many at once, and a long run."""

from __future__ import annotations

import laws_soak
import laws_together


def test_daemon_enrolment_follower_backup_erasing_and_a_change_of_keys_at_once_lose_nothing() -> None:
    assert laws_together.together(6) > 50


def test_an_hour_without_visitors_writes_nothing() -> None:
    assert laws_soak.idle(1) == 7200


def test_a_run_grows_by_no_memory_descriptor_or_thread() -> None:
    assert laws_soak.soak(10_000) == 10_000
