"""Read points in time and hours of the day as people write them, and word how long ago something was."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

import click

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
UNITS = (("year", 365.25 * 86_400), ("month", 30.44 * 86_400), ("day", 86_400), ("h", 3600), ("min", 60))
"""What an age is told in, with its seconds; a unit is used from two of it on."""


def moment(text: str, *, end: bool = False) -> datetime:
    """Read a point in time, local unless zoned: a day (with `end`, its end), a time, or how long ago.

    Days are 2026-01-31, today, yesterday or a weekday, which means the last one; times 2026-01-31T18:00, or 18:00 for
    today's; ages 90s to 7d. A usage error when `text` is none of them.
    """
    now = datetime.now().astimezone()
    if ago := re.fullmatch(r"(\d{1,6})([smhdw])", text):
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[ago[2]]
        return now - timedelta(**{unit: int(ago[1])})
    try:
        day = _day(text.lower(), now.date())
        if day is not None:
            return datetime.combine(day + timedelta(days=1 if end else 0), time()).astimezone()
        if re.fullmatch(r"\d\d?:\d\d", text):
            return datetime.combine(now.date(), time.fromisoformat(text.zfill(5))).astimezone()
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time; write yesterday, 2026-01-31, 2026-01-31T18:00, 18:00 or 12h"
        ) from None


def _day(text: str, today: date) -> date | None:
    """Read a day; None for what is none. ValueError for one that no calendar has."""
    if text in ("today", "yesterday"):
        return today - timedelta(days=text == "yesterday")
    if len(text) >= 3:
        for number, name in enumerate(WEEKDAYS):
            if name.startswith(text):
                return today - timedelta(days=(today.weekday() - number) % 7)
    return date.fromisoformat(text) if re.fullmatch(r"[\d-]{8,10}", text) else None


def hours(text: str) -> tuple[str, str]:
    """Read hours of the day, "22:00-06:00" over midnight; a usage error when they are none."""
    found = re.fullmatch(r"(\d\d?):(\d\d)-(\d\d?):(\d\d)", text.replace(" ", ""))
    ends = [int(part) for part in found.groups()] if found else []
    if not found or ends[0] > 23 or ends[2] > 24 or max(ends[1], ends[3]) > 59 or ends[:2] == ends[2:]:
        raise click.BadParameter(f"{text!r} are no hours; write 22:00-06:00")
    return f"{ends[0]:02}:{ends[1]:02}", f"{ends[2]:02}:{ends[3]:02}"


def ago(at: str, now: datetime) -> str:
    """Word how long before `now` a time of the log was, in one unit; a time that is none as it is."""
    try:
        seconds = (now - datetime.fromisoformat(at).astimezone(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return at  # a log that somebody wrote to is shown as it is
    if seconds < 0:
        return "to come"
    for unit, length in UNITS:
        if seconds >= 2 * length:
            number = int(seconds / length)
            return f"{number} {unit}{'s' if len(unit) > 2 and unit != 'min' else ''} ago"
    return f"{int(seconds)} s ago"
