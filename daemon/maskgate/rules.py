"""Who may come in when: schedules, validity, use counts and the rest as frozen values. Reads no clock, file or log.

`judge` answers for one recognised person at one local time, from the rule that counts for that person and from what is
remembered. The first thing that speaks against it is the reason; being on the deny list comes before all else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = 7
"""The number of a holiday among the days of a span, after Monday to Sunday, 0 to 6."""
Mask: TypeAlias = Literal["ignore", "remind", "require"]


@dataclass(frozen=True, slots=True)
class Span:
    """A time that comes every week."""

    days: frozenset[int]
    """0 to 6, and HOLIDAY; the day it begins on."""
    start: int
    """Minutes from midnight, included."""
    end: int
    """Not included; at or before `start` it is on the next day."""
    text: str
    """As the owner wrote it."""


@dataclass(frozen=True, slots=True)
class Holiday:
    """A run of days, in one year or in every year."""

    first: tuple[int, int, int]
    """Year (0: every), month, day."""
    last: tuple[int, int, int]

    def has(self, day: date) -> bool:
        """Tell whether `day` is in it; a run of every year may pass the end of the year."""
        this = (day.year if self.first[0] else 0, day.month, day.day)
        if self.first <= self.last:
            return self.first <= this <= self.last
        return this >= self.first or this <= self.last


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for somebody; None is not said, and leaves it to the group, to everyone, and in the end to nobody."""

    schedule: tuple[Span, ...] | None = None
    """When they may come in; None is always."""
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day."""
    uses: int | None = None
    """How often they may come in from `valid_from` on."""
    unlock_s: float | None = None
    """How long the relay stays energised for them; None is the gate's own time."""
    two_persons: bool | None = None
    """Whether a second such person must be recognised within `second_s`."""
    first: bool | None = None
    """Whether they may be the first of the day for those who come `after_first`."""
    after_first: bool | None = None
    passback_s: float | None = None
    """How long after coming in they may not come in again."""
    mask: Mask | None = None

    def over(self, other: Rule) -> Rule:
        """This rule, with what it does not say taken from `other`."""
        said = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(other, **said)

    @property
    def needs_clock(self) -> bool:
        """Whether the time of day or the date counts."""
        return bool(self.schedule is not None or self.valid_from or self.valid_until or self.after_first)


@dataclass(frozen=True, slots=True)
class Group:
    """People with a rule in common."""

    members: frozenset[str]
    rule: Rule


@dataclass(frozen=True, slots=True)
class Book:
    """All rules of a gate."""

    everyone: Rule = Rule()
    groups: Mapping[str, Group] = field(default_factory=dict)
    people: Mapping[str, Rule] = field(default_factory=dict)
    deny: frozenset[str] = frozenset()
    """Who is never let in."""
    holidays: tuple[Holiday, ...] = ()
    second_s: float = 30.0
    without_clock: Literal["refuse", "allow"] = "refuse"
    """What a rule about time says while the clock cannot be trusted."""

    def known_as(self, names: tuple[str, ...]) -> str:
        """Return the name, of the present one and earlier ones, newest first, under which the rules know somebody."""
        spoken_of = set(self.people) | {name for group in self.groups.values() for name in group.members}
        return next((name for name in names if name in spoken_of), names[0])

    def group_of(self, name: str) -> str | None:
        """Return the group of `name`, None for one in no group; nobody is in two."""
        return next((title for title, group in self.groups.items() if name in group.members), None)

    def rule_of(self, names: tuple[str, ...]) -> Rule:
        """Return what holds for somebody of these names: their own rule over their group's over everyone's."""
        name = self.known_as(names)
        title = self.group_of(name)
        shared = Rule() if title is None else self.groups[title].rule
        return self.people.get(name, Rule()).over(shared).over(self.everyone)

    def firsts(self) -> tuple[str, ...]:
        """Return everybody named in the rules who may be the first of the day."""
        named = {*self.people, *(name for group in self.groups.values() for name in group.members)}
        return tuple(sorted(name for name in named if self.rule_of((name,)).first))


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of somebody; only what their rule asks for needs to be filled in."""

    used: int = 0
    """Times let in since `valid_from`."""
    last_ago_s: float | None = None
    """Since they were last let in; None for never."""
    opened_today: bool = False
    """Whether a first of the day was let in today."""
    waiting: tuple[str, ...] = ()
    """Others who were recognised within `second_s` and wait for a second person."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer."""

    granted: bool
    reason: str
    """A key of `reasons.REASONS`."""
    why: str
    """What decided it, in words that follow a colon."""
    unlock_s: float | None = None
    remind: bool = False
    """Whether a mask should have been worn."""
    whose: str = ""
    """Whose rule decided: "own", "group TITLE", "everyone" or "deny list"; empty where no rule says anything."""


DECIDING = {
    "denied": "deny",
    "not_yet_valid": "valid_from",
    "expired": "valid_until",
    "used_up": "uses",
    "nobody_first": "after_first",
    "passback": "passback_s",
    "mask_required": "mask",
    "second_person_needed": "two_persons",
}
"""By reason, the setting that refuses; a schedule for what is not here."""


def judge(book: Book, names: tuple[str, ...], at: datetime | None, *, masked: bool | None, memory: Memory) -> Verdict:
    """Say whether somebody of these names (the present one first) may come in.

    `at` is local time, None while the clock cannot be trusted; `masked` is None when nobody has looked.
    """
    rule = book.rule_of(names)
    refusal = (
        _denied(book, names)
        or _untimely(book, rule, at)
        or _spent(rule, memory)
        or _unmasked(rule, masked)
        or _alone(rule, memory)
    )
    if refusal is not None:
        return Verdict(False, *refusal, whose=whose(book, names, DECIDING.get(refusal[0], "schedule")))
    reminds = rule.mask == "remind" and not masked
    return Verdict(
        True, "granted", _told(book, names, rule), rule.unlock_s, reminds, whose=whose(book, names, "schedule")
    )


def whose(book: Book, names: tuple[str, ...], setting: str) -> str:
    """Tell where a setting of somebody's rule stands; empty when nowhere."""
    if setting == "deny":
        return "deny list"
    name = book.known_as(names)
    title = book.group_of(name)
    places = [("own", book.people.get(name, Rule()))]
    places += [] if title is None else [(f"group {title}", book.groups[title].rule)]
    places += [("everyone", book.everyone)]
    return next((place for place, rule in places if getattr(rule, setting) is not None), "")


def _denied(book: Book, names: tuple[str, ...]) -> tuple[str, str] | None:
    for name in names:
        if name in book.deny:
            return "denied", "on the deny list" + (f" as {name}" if name != names[0] else "")
    return None


def _untimely(book: Book, rule: Rule, at: datetime | None) -> tuple[str, str] | None:
    """Refuse what comes too early, too late, or when nobody can say."""
    if at is None:
        if rule.needs_clock and book.without_clock == "refuse":
            return "clock_untrusted", "the rule is about time, and the clock has not been set"
        return None
    if rule.valid_from is not None and at.date() < rule.valid_from:
        return "not_yet_valid", f"valid from {rule.valid_from}"
    if rule.valid_until is not None and at.date() > rule.valid_until:
        return "expired", f"valid until {rule.valid_until}"
    if rule.schedule is not None and not any(_covers(span, at, book.holidays) for span in rule.schedule):
        return "outside_schedule", f"may enter {_spoken(rule.schedule)}{_next(rule.schedule, at, book.holidays)}"
    return None


def _spent(rule: Rule, memory: Memory) -> tuple[str, str] | None:
    """Refuse what has been used up, is too soon, or must wait for the first of the day."""
    if rule.uses is not None and memory.used >= rule.uses:
        return "used_up", f"came in {memory.used} times of {rule.uses}"
    if rule.after_first and not rule.first and not memory.opened_today:
        return "nobody_first", "nobody who may be the first has come in today"
    if rule.passback_s and memory.last_ago_s is not None and memory.last_ago_s < rule.passback_s:
        return "passback", f"came in {memory.last_ago_s:.0f} s ago, and again only after {rule.passback_s:.0f} s"
    return None


def _unmasked(rule: Rule, masked: bool | None) -> tuple[str, str] | None:
    if rule.mask == "require" and masked is False:
        return "mask_required", "a mask must be worn"
    return None


def _alone(rule: Rule, memory: Memory) -> tuple[str, str] | None:
    if rule.two_persons and not memory.waiting:
        return "second_person_needed", "a second person must be recognised, too"
    return None


def _told(book: Book, names: tuple[str, ...], rule: Rule) -> str:
    """Say what allows it."""
    name = book.known_as(names)
    title = book.group_of(name)
    whose = f"by the rule of {name}" if name in book.people else f"by the rule of the group {title}" if title else ""
    when = f"may enter {_spoken(rule.schedule)}" if rule.schedule is not None else "may enter at any time"
    return f"{when} {whose}".strip()


# -- time ------------------------------------------------------------------------------------------------------------


def is_holiday(day: date, holidays: tuple[Holiday, ...]) -> bool:
    """Tell whether `day` is a holiday."""
    return any(holiday.has(day) for holiday in holidays)


def _covers(span: Span, at: datetime, holidays: tuple[Holiday, ...]) -> bool:
    """Tell whether `at` lies in the span; what begins in the evening may end on the next day."""
    minute = at.hour * 60 + at.minute
    if _begins_on(span, at.date(), holidays) and minute >= span.start and (minute < span.end or span.end <= span.start):
        return True
    eve = at.date() - timedelta(days=1)
    return span.end <= span.start and minute < span.end and _begins_on(span, eve, holidays)


def _begins_on(span: Span, day: date, holidays: tuple[Holiday, ...]) -> bool:
    """A holiday is no weekday."""
    return (HOLIDAY if is_holiday(day, holidays) else day.weekday()) in span.days


def next_begin(schedule: tuple[Span, ...], at: datetime, holidays: tuple[Holiday, ...]) -> datetime | None:
    """Return when the schedule next begins after `at`, within a year; None when it does not."""
    for ahead in range(367):
        day = at.date() + timedelta(days=ahead)
        starts = sorted(span.start for span in schedule if _begins_on(span, day, holidays))
        for start in starts:
            begin = datetime(day.year, day.month, day.day, start // 60, start % 60, tzinfo=at.tzinfo)
            if begin > at:
                return begin
    return None


def _next(schedule: tuple[Span, ...], at: datetime, holidays: tuple[Holiday, ...]) -> str:
    begin = next_begin(schedule, at, holidays)
    return f", next from {spoken(begin)}" if begin is not None else ""


def spoken(at: datetime) -> str:
    """Write a local time for a person."""
    return at.strftime("%a %Y-%m-%d %H:%M")


def _spoken(schedule: tuple[Span, ...]) -> str:
    return "; ".join(span.text for span in schedule) or "never"


# -- reading ---------------------------------------------------------------------------------------------------------


def parse_span(text: str) -> Span:
    """Read "mon-fri 08:00-18:00", "sat,holidays 22:00-06:00" or "daily 00:00-24:00"; ValueError says what is wrong."""
    words = text.lower().split()
    hours = re.fullmatch(r"(\d\d?):(\d\d)-(\d\d?):(\d\d)", words[-1]) if len(words) == 2 else None
    if hours is None:
        raise ValueError(f"{text!r}: is no span, write days and hours as in 'mon-fri 08:00-18:00'")
    start, end = (int(hours[i]) * 60 + int(hours[i + 1]) for i in (1, 3))
    if start >= 1440 or end > 1440 or int(hours[2]) > 59 or int(hours[4]) > 59 or start == end:
        raise ValueError(f"{text!r}: no such hours, write 00:00 to 24:00, the end apart from the start")
    return Span(frozenset(_days(words[0], text)), start, end, " ".join(words))


def _days(word: str, text: str) -> set[int]:
    """Read "mon-fri,sun,holidays"."""
    found: set[int] = set()
    for part in word.split(","):
        first, dash, last = part.partition("-")
        if part == "daily":
            found |= set(range(8))
        elif part == "holidays":
            found.add(HOLIDAY)
        elif first in DAYS and (not dash or last in DAYS):
            ahead = (DAYS.index(last) - DAYS.index(first)) % 7 if dash else 0
            found |= {(DAYS.index(first) + days) % 7 for days in range(ahead + 1)}
        else:
            raise ValueError(f"{text!r}: {part!r} is no day, write {', '.join(DAYS)}, daily or holidays")
    return found


def parse_holiday(text: str) -> Holiday:
    """Read "2026-12-25", "12-25" (every year) or "12-24/01-06", a run of days; ValueError says what is wrong."""
    first, slash, last = text.partition("/")
    try:
        days = _day(first), _day(last if slash else first)
        if bool(days[0][0]) is not bool(days[1][0]) or (days[0][0] and days[0] > days[1]):
            raise ValueError(text)
    except ValueError:
        raise ValueError(f"{text!r}: is no holiday, write 2026-12-25, 12-25 for every year, or 12-24/01-06") from None
    return Holiday(*days)


def _day(text: str) -> tuple[int, int, int]:
    if re.fullmatch(r"\d\d-\d\d", text):
        day = date.fromisoformat(f"2024-{text}")  # a leap year
        return 0, day.month, day.day
    day = date.fromisoformat(text)
    return day.year, day.month, day.day
