"""Laws of the wall clock: a jump is noticed once, slow drift never; a clock that nobody set is not trusted."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from maskgate import clock


@pytest.mark.parametrize("jump_s", [31_536_000.0, -31_536_000.0, 3.0, -3.0])
def test_a_clock_that_is_set_is_noticed_once(jump_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, real = clock.Watch(), time.time
    assert watch.jumped_s() is None
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    assert watch.jumped_s() == pytest.approx(jump_s, abs=0.5)
    assert watch.jumped_s() is None


def test_a_clock_that_is_slewed_is_not_said_to_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, real = clock.Watch(), time.time
    for second in range(1, 200):
        monkeypatch.setattr(time, "time", lambda second=second: real() + second * 0.1)
        assert watch.jumped_s() is None


@pytest.fixture
def unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this machine one whose clock nobody has set."""
    monkeypatch.setattr(clock, "TIMESYNC", tmp_path / "synchronized")
    monkeypatch.setattr(clock, "FROM_RTC", tmp_path / "hctosys")
    monkeypatch.setattr(clock, "_is_synchronised", lambda: False)
    return tmp_path


def test_a_clock_that_nobody_set_is_not_trusted(unset: Path) -> None:
    assert not clock.is_trusted()


@pytest.mark.parametrize(("name", "text"), [("synchronized", ""), ("hctosys", "1\n")])
def test_a_clock_set_by_network_or_battery_is_trusted(unset: Path, name: str, text: str) -> None:
    (unset / name).write_text(text)
    assert clock.is_trusted()


def test_a_battery_that_was_not_read_does_not_count(unset: Path) -> None:
    (unset / "hctosys").write_text("0\n")
    assert not clock.is_trusted()


def test_a_clock_from_before_this_program_is_not_trusted(unset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (unset / "synchronized").write_text("")
    monkeypatch.setattr(clock, "BUILT", datetime(2999, 1, 1, tzinfo=UTC))
    assert not clock.is_trusted()


def test_the_kernel_can_be_asked_and_the_clock_is_left_as_it_was() -> None:
    before = time.time() - time.monotonic()
    assert clock._is_synchronised() in (True, False)
    assert time.time() - time.monotonic() == pytest.approx(before, abs=0.5)


def test_ago_is_the_wall_clock_less_what_has_passed() -> None:
    assert (datetime.now(UTC) - clock.ago(time.monotonic() - 60)).total_seconds() == pytest.approx(60, abs=1)
