"""Laws of the rules: who is denied stays out whatever else is said, the narrowest rule counts, time is local time."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.reasons import REASONS
from maskgate.rules import (
    Book,
    Group,
    Holiday,
    Memory,
    Rule,
    Verdict,
    is_holiday,
    judge,
    next_begin,
    parse_holiday,
    parse_span,
)

WEDNESDAY = datetime(2026, 11, 25, 12, 0)


def schedule(*spans: str) -> Any:
    """Read a schedule."""
    return tuple(map(parse_span, spans))


def asked(rule: Rule, at: datetime | None = WEDNESDAY, *, masked: bool | None = False, **memory: Any) -> Verdict:
    """Judge somebody by one rule."""
    return judge(Book(people={"Cleo": rule}), ("Cleo",), at, masked=masked, memory=Memory(**memory))


def covers(span: str, at: datetime, *holidays: str) -> bool:
    """Tell whether a span lets somebody in at a time."""
    book = Book(everyone=Rule(schedule=schedule(span)), holidays=tuple(map(parse_holiday, holidays)))
    return judge(book, ("Cleo",), at, masked=None, memory=Memory()).granted


def test_without_rules_everybody_may_enter_at_any_time_even_without_a_clock() -> None:
    for at in (WEDNESDAY, None):
        assert judge(Book(), ("Anna",), at, masked=None, memory=Memory()).granted


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ("mon-fri 08:00-18:00", "2026-11-25T08:00", "2026-11-25T18:00"),
        ("mon-fri 08:00-18:00", "2026-11-27T17:59", "2026-11-28T12:00"),
        ("wed 22:00-06:00", "2026-11-26T05:59", "2026-11-25T05:59"),
        ("wed 22:00-06:00", "2026-11-25T22:00", "2026-11-26T06:00"),
        ("sat-mon 10:00-11:00", "2026-11-29T10:30", "2026-11-24T10:30"),
        ("daily 00:00-24:00", "2026-11-25T23:59", None),
        ("tue,thu 9:00-10:00", "2026-11-26T09:00", "2026-11-25T09:00"),
    ],
)
def test_a_span_covers_its_start_and_not_its_end(span: str, inside: str, outside: str | None) -> None:
    assert covers(span, datetime.fromisoformat(inside))
    assert outside is None or not covers(span, datetime.fromisoformat(outside))


def test_a_holiday_is_no_weekday_and_a_span_may_name_it() -> None:
    assert not covers("mon-fri 08:00-18:00", WEDNESDAY, "11-25")
    assert covers("holidays 08:00-18:00", WEDNESDAY, "2026-11-25")
    assert not covers("holidays 08:00-18:00", WEDNESDAY)
    assert covers("daily 08:00-18:00", WEDNESDAY, "11-25")
    # The night that begins on the eve belongs to the eve.
    assert covers("tue 22:00-06:00", datetime(2026, 11, 25, 5), "11-25")
    assert not covers("wed 22:00-06:00", datetime(2026, 11, 26, 5), "11-25")


@pytest.mark.parametrize(
    ("text", "days", "others"),
    [
        ("12-25", ["2026-12-25", "2031-12-25"], ["2026-12-24"]),
        ("2026-12-25", ["2026-12-25"], ["2027-12-25"]),
        ("12-24/01-06", ["2026-12-24", "2027-01-06", "2030-12-31"], ["2027-01-07", "2026-12-23"]),
        ("2026-12-24/2027-01-06", ["2026-12-31", "2027-01-01"], ["2027-12-31"]),
        ("02-29", ["2028-02-29"], ["2026-02-28"]),
    ],
)
def test_a_holiday_is_a_day_or_a_run_of_days(text: str, days: list[str], others: list[str]) -> None:
    holidays = (parse_holiday(text),)
    assert all(is_holiday(date.fromisoformat(day), holidays) for day in days)
    assert not any(is_holiday(date.fromisoformat(day), holidays) for day in others)


@pytest.mark.parametrize(
    "text", ["", "mon", "mon 8-18", "mun 08:00-18:00", "mon 08:00-25:00", "mon 08:60-09:00", "mon 08:00-08:00", "a b c"]
)
def test_a_span_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_span(text)


@pytest.mark.parametrize("text", ["", "christmas", "13-01", "2026-02-30", "2026-12-24/01-06", "2026-12-24/2026-12-01"])
def test_a_holiday_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no holiday"):
        parse_holiday(text)


@pytest.mark.parametrize(
    ("rule", "how", "reason"),
    [
        (Rule(valid_from=date(2026, 11, 26)), {}, "not_yet_valid"),
        (Rule(valid_from=date(2026, 11, 25)), {}, "granted"),
        (Rule(valid_until=date(2026, 11, 24)), {}, "expired"),
        (Rule(valid_until=date(2026, 11, 25)), {}, "granted"),
        (Rule(schedule=()), {}, "outside_schedule"),
        (Rule(uses=2), {"used": 1}, "granted"),
        (Rule(uses=2), {"used": 2}, "used_up"),
        (Rule(uses=0), {}, "used_up"),
        (Rule(after_first=True), {}, "nobody_first"),
        (Rule(after_first=True), {"opened_today": True}, "granted"),
        (Rule(after_first=True, first=True), {}, "granted"),
        (Rule(passback_s=300), {"last_ago_s": 299}, "passback"),
        (Rule(passback_s=300), {"last_ago_s": 300}, "granted"),
        (Rule(passback_s=300), {}, "granted"),
        (Rule(mask="require"), {"masked": False}, "mask_required"),
        (Rule(mask="require"), {"masked": True}, "granted"),
        (Rule(mask="remind"), {"masked": False}, "granted"),
        (Rule(two_persons=True), {}, "second_person_needed"),
        (Rule(two_persons=True), {"waiting": ("Ben",)}, "granted"),
    ],
)
def test_each_rule_refuses_for_its_own_reason(rule: Rule, how: dict[str, Any], reason: str) -> None:
    verdict = asked(rule, **how)
    assert (verdict.granted, verdict.reason) == (reason == "granted", reason)
    assert verdict.reason in REASONS


def test_a_mask_is_reminded_of_when_it_is_not_worn() -> None:
    rule = Rule(mask="remind")
    assert asked(rule, masked=False).remind
    assert not asked(rule, masked=True).remind


@pytest.mark.parametrize(
    "rule", [Rule(schedule=schedule("daily 00:00-24:00")), Rule(valid_until=date(2099, 1, 1)), Rule(after_first=True)]
)
def test_without_a_clock_a_rule_about_time_goes_by_the_setting_and_is_not_guessed(rule: Rule) -> None:
    for answer, granted in (("refuse", False), ("allow", True)):
        book = Book(everyone=rule, without_clock=answer)  # type: ignore[arg-type]
        verdict = judge(book, ("Cleo",), None, masked=None, memory=Memory(opened_today=True))
        assert verdict.granted is granted
        assert verdict.reason == ("granted" if granted else "clock_untrusted")


def test_the_narrowest_rule_that_says_something_counts() -> None:
    book = Book(
        everyone=Rule(schedule=schedule("daily 06:00-22:00"), unlock_s=2),
        groups={"cleaners": Group(frozenset({"Cleo"}), Rule(schedule=schedule("thu 14:00-18:00"), passback_s=60))},
        people={"Cleo": Rule(unlock_s=10)},
    )
    rule = book.rule_of(("Cleo",))
    assert (rule.schedule, rule.passback_s, rule.unlock_s) == (schedule("thu 14:00-18:00"), 60, 10)
    assert book.rule_of(("Ben",)) == book.everyone
    assert not judge(book, ("Cleo",), WEDNESDAY, masked=None, memory=Memory()).granted


def test_a_new_name_is_no_way_round_a_rule_or_the_deny_list() -> None:
    book = Book(people={"Cleo": Rule(schedule=())}, deny=frozenset({"Mallory"}))
    assert judge(book, ("Claire", "Cleo"), WEDNESDAY, masked=None, memory=Memory()).reason == "outside_schedule"
    verdict = judge(book, ("Molly", "Mallory"), WEDNESDAY, masked=None, memory=Memory())
    assert (verdict.reason, verdict.why) == ("denied", "on the deny list as Mallory")


RULES = st.builds(
    Rule,
    schedule=st.none() | st.lists(st.sampled_from(["daily 00:00-24:00", "mon 01:00-02:00"]).map(parse_span)).map(tuple),
    uses=st.none() | st.integers(0, 3),
    valid_until=st.none() | st.dates(date(2026, 1, 1), date(2027, 1, 1)),
    two_persons=st.none() | st.booleans(),
    after_first=st.none() | st.booleans(),
    passback_s=st.none() | st.floats(0, 1000),
    mask=st.none() | st.sampled_from(["ignore", "remind", "require"]),
)
MEMORIES = st.builds(
    Memory,
    used=st.integers(0, 5),
    last_ago_s=st.none() | st.floats(0, 2000),
    opened_today=st.booleans(),
    waiting=st.sampled_from([(), ("Ben",)]),
)


@given(
    RULES, RULES, RULES, MEMORIES, st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.booleans()
)
def test_who_is_denied_stays_out_and_a_further_rule_never_lets_anybody_in(
    everyone: Rule, shared: Rule, own: Rule, memory: Memory, at: datetime | None, masked: bool
) -> None:
    book = Book(everyone=everyone, groups={"g": Group(frozenset({"Cleo"}), shared)}, people={"Cleo": own})
    denied = judge(replace(book, deny=frozenset({"Cleo"})), ("Cleo",), at, masked=masked, memory=memory)
    assert (denied.granted, denied.reason) == (False, "denied")
    verdict = judge(book, ("Cleo",), at, masked=masked, memory=memory)
    assert verdict.reason in REASONS
    assert verdict.granted is (verdict.reason == "granted")
    stricter = replace(book.rule_of(("Cleo",)), uses=0)
    assert not judge(Book(everyone=stricter), ("Cleo",), at, masked=masked, memory=memory).granted


@given(st.lists(st.sampled_from(["mon 08:00-09:00", "sun,holidays 10:00-12:00", "wed 22:00-06:00"]), max_size=3),
       st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)))  # fmt: skip
def test_the_next_begin_lets_in_and_nothing_between_does(spans: list[str], at: datetime) -> None:
    at = at.replace(second=0, microsecond=0)
    holidays = (Holiday((0, 12, 24), (0, 1, 6)),)
    plan = schedule(*spans)
    book = Book(everyone=Rule(schedule=plan), holidays=holidays)
    begin = next_begin(plan, at, holidays)
    if begin is None:
        assert not plan
        return
    assert begin > at
    assert judge(book, ("Cleo",), begin, masked=None, memory=Memory()).granted
    if not judge(book, ("Cleo",), at, masked=None, memory=Memory()).granted:
        before = begin - timedelta(minutes=1)
        assert not judge(book, ("Cleo",), before, masked=None, memory=Memory()).granted
