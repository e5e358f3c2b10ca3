"""Count what the log's decisions say: by hour, day, reason, person, score. SQLite counts; works through `Ask` alone.

A million events are counted where they lie, in a few passes, of which most read an index; only sums come out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from maskgate.events import Ask, short, stamp
from maskgate.values import SURE

RECOGNISED = (
    *(
        "granted",
        "just_granted",
        "denied",
        "not_yet_valid",
        "expired",
        "outside_schedule",
        "clock_untrusted",
        "used_up",
    ),
    *("nobody_first", "passback", "mask_required", "second_person_needed", "not_remembered", "lockdown", "gate_fault"),
    "not_recorded",
)
"""Reasons of decisions about somebody who was recognised: residents' scores."""
STRANGE = ("unknown", "thin_margin", "wavering", "left", "backing_off")
"""Reasons of refused faces that were nobody's, or nobody's for sure: strangers, and residents who were missed."""
UNJUDGED = (
    *("not_live", "held_picture", "challenge_failed", "no_liveness", "two_faces", "poor_picture", "stale"),
    *("empty_gallery", "revoked"),
)
"""Reasons of the rest, whose scores say nothing of how strict the gate is."""
BINS = 50
"""Score bins to 1.0; each is 0.02 wide."""
TENTH_MS = 20
"""Milliseconds of a bin of the time to open."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How faces of one cover scored."""

    recognised: Mapping[int, int]
    """By bin (of width 1 / BINS, from 0 up, negative ones below), how many visits."""
    strange: Mapping[int, int]
    threshold: float | None
    """What the latest of them was held against."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts of a span of the log."""

    first_at: str | None
    """Of the first decision counted; None for none."""
    last_at: str | None
    granted: int
    refused: int
    hours: Mapping[tuple[int, int], tuple[int, int]]
    """By weekday (0 is Monday) and local hour, what was granted and refused."""
    days: Mapping[date, tuple[int, int]]
    """By local day, the same; days without a decision are left out."""
    reasons: Mapping[str, int]
    """The most frequent first."""
    masked: int
    """Decisions about masked faces."""
    seen: int
    """Decisions about faces that were seen well enough to tell."""
    people: Sequence[tuple[str, int, str]]
    """Name, grants and the last of them, of who came most often."""
    open_ms: Mapping[int, int]
    """By bins of TENTH_MS, how long it took from the first usable look to a grant."""
    scores: Mapping[str, Scores]
    """By cover, "bare" and "masked"."""

    @property
    def median_open_ms(self) -> float | None:
        """Half of the grants took no longer, to within a bin; None without grants."""
        return quantile(self.open_ms, 0.5, TENTH_MS)


def quantile(bins: Mapping[int, int], share: float, width: float) -> float | None:
    """Return below what a share of binned values lies, within its bin as if they were spread evenly; None of none."""
    total, passed = sum(bins.values()), 0.0
    for number in sorted(bins):
        if passed + bins[number] >= share * total:
            return (number + (share * total - passed) / bins[number]) * width
        passed += bins[number]
    return None


def tally(ask: Ask, since: datetime | None, until: datetime | None, *, people: int = 10) -> Tally:
    """Count the decisions of a time, `since` included, `until` not; hours and days are this process's local ones."""
    span, values = _span(since, until)
    hourly = ask(
        f"SELECT strftime('%Y-%m-%d %H', at, 'localtime') AS hour, sum(granted) AS granted, count(*) AS n,"
        f" min(at) AS first, max(at) AS last FROM events WHERE reason IS NOT NULL AND granted IS NOT NULL{span}"
        " GROUP BY hour",
        values,
    )
    told = ask(
        f"SELECT reason, count(*) AS n FROM events WHERE reason IS NOT NULL AND granted IS NOT NULL{span}"
        " GROUP BY reason ORDER BY n DESC, reason",
        values,
    )
    scored = _scored(ask, span, values)
    granted = sum(row["granted"] for row in hourly)
    return Tally(
        first_at=min((row["first"] for row in hourly), default=None),
        last_at=max((row["last"] for row in hourly), default=None),
        granted=granted,
        refused=sum(row["n"] for row in hourly) - granted,
        hours=_by((_weekday_hour(row["hour"]), row) for row in hourly),
        days=_by((date.fromisoformat(row["hour"][:10]), row) for row in hourly),
        reasons={row["reason"]: row["n"] for row in told},
        masked=sum(row["n"] for row in scored if row["masked"]),
        seen=sum(row["n"] for row in scored if row["masked"] is not None),
        people=_people(ask, span, values, people),
        open_ms=_open_ms(ask, span, values),
        scores=_scores(scored),
    )


def _span(since: datetime | None, until: datetime | None) -> tuple[str, list[Any]]:
    """SQL for a time, and its values."""
    ends = [(" AND at >= ?", since), (" AND at < ?", until)]
    return "".join(sql for sql, at in ends if at), [stamp(at) for _, at in ends if at]


def _weekday_hour(hour: str) -> tuple[int, int]:
    return date.fromisoformat(hour[:10]).weekday(), int(hour[11:])


def _by(rows: Iterator[tuple[Any, dict[str, Any]]]) -> dict[Any, tuple[int, int]]:
    """Add up what was granted and refused, by key."""
    found: dict[Any, tuple[int, int]] = {}
    for key, row in rows:
        granted, refused = found.get(key, (0, 0))
        found[key] = granted + row["granted"], refused + row["n"] - row["granted"]
    return dict(sorted(found.items()))


def _scored(ask: Ask, span: str, values: list[Any]) -> list[dict[str, Any]]:
    """Count by cover, kind of reason and bin of the score, with the threshold of the latest (SQLite's bare column)."""
    marks = ", ".join("?" * len(RECOGNISED)), ", ".join("?" * len(STRANGE))
    return ask(
        f"SELECT masked >= 0.5 AS masked, CASE WHEN reason IN ({marks[0]}) THEN 'recognised'"
        f" WHEN reason IN ({marks[1]}) THEN 'strange' END AS sort,"
        f" CAST(score * {BINS} + {BINS} AS INTEGER) - {BINS} AS bin, count(*) AS n, max(at) AS last, threshold"
        f" FROM events WHERE granted IS NOT NULL{span} GROUP BY 1, 2, 3",
        [*RECOGNISED, *STRANGE, *values],
    )


def _scores(scored: list[dict[str, Any]]) -> dict[str, Scores]:
    found = {}
    for masked, cover in enumerate(("bare", "masked")):
        rows = [row for row in scored if row["masked"] == masked and row["bin"] is not None]
        held = [(row["last"], row["threshold"]) for row in rows if row["threshold"] is not None]
        bins = [{row["bin"]: row["n"] for row in rows if row["sort"] == sort} for sort in ("recognised", "strange")]
        found[cover] = Scores(bins[0], bins[1], max(held)[1] if held else None)
    return found


def _people(ask: Ask, span: str, values: list[Any], most: int) -> list[tuple[str, int, str]]:
    rows = ask(
        "SELECT name, n, last FROM (SELECT subject_id, count(*) AS n, max(at) AS last FROM events"
        f" WHERE subject_id IS NOT NULL AND granted = 1{span} GROUP BY subject_id ORDER BY n DESC LIMIT ?)"
        " JOIN subjects ON id = subject_id ORDER BY n DESC, name",
        [*values, most],
    )
    return [(row["name"], row["n"], row["last"]) for row in rows]


def _open_ms(ask: Ask, span: str, values: list[Any]) -> dict[int, int]:
    rows = ask(
        f"SELECT CAST(detail ->> 'usable_to_decision_ms' AS INTEGER) / {TENTH_MS} AS bin, count(*) AS n FROM events"
        f" WHERE granted = 1 AND json_valid(detail){span} GROUP BY bin",
        values,
    )
    return {row["bin"]: row["n"] for row in rows if row["bin"] is not None}


def stretches(days: Mapping[date, tuple[int, int]], most: int) -> tuple[str, dict[date, tuple[int, int]]]:
    """Put days together into weeks, months or years until there are at most so many; returns which, and by first day.

    What lies between is there with nothing in it, for a gap must be seen.
    """
    if not days:
        return "day", {}
    for word, begin in (("day", _same), ("week", _monday), ("month", _first), ("year", _new_year)):
        first, last = begin(min(days)), begin(max(days))
        starts = sorted({begin(first + timedelta(days=ahead)) for ahead in range((last - first).days + 1)})
        if len(starts) <= most or word == "year":
            break
    found = dict.fromkeys(starts, (0, 0))
    for day, (granted, refused) in days.items():
        sums = found[begin(day)]
        found[begin(day)] = sums[0] + granted, sums[1] + refused
    return word, found


def _same(day: date) -> date:
    return day


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _first(day: date) -> date:
    return day.replace(day=1)


def _new_year(day: date) -> date:
    return day.replace(month=1, day=1)


# -- what other settings would have meant ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What a grant would ask for."""

    bare: float
    masked: float
    margin: float
    agree: int


@dataclass(frozen=True, slots=True)
class Held:
    """What became of the log's visits when held against something asked."""

    recognised: int
    """Visits of people who were recognised then ..."""
    missed: int
    """... and how many of them would not be."""
    strange: int
    """Visits of faces that were nobody's then ..."""
    passing: int
    """... and how many of them at most would be taken for somebody."""


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much somebody's recognised visits exceed what was needed."""

    visits: int
    mean: float
    """Score less threshold."""
    lowest: float
    masked: int
    """Visits with a mask."""


@dataclass(frozen=True, slots=True)
class Lives:
    """How alive the network took those who were let in for."""

    visits: int
    others: int
    """Visits that another network judged, which are left out."""
    below: Mapping[float, float]
    """By share of the visits: the answer below which so many of them lie."""


def lives(
    ask: Ask, judge: str, shares: Sequence[float], since: datetime | None = None, until: datetime | None = None
) -> Lives:
    """Of the visits of a time that were granted and judged by the network of digest `judge`, the answers below which
    `shares` of them lie."""
    span, values = _span(since, until)
    let_in = f"FROM events WHERE reason = 'granted' AND live IS NOT NULL AND json_valid(detail){span}"
    mine = "detail ->> 'live_by' = ?"
    [row] = ask(f"SELECT coalesce(sum({mine}), 0) AS mine, count(*) AS n {let_in}", [short(judge), *values])
    visits, others = row["mine"], row["n"] - row["mine"]
    if not visits:
        return Lives(0, others, {})
    places = [int(visits * share) for share in shares]
    found = ask(
        f"SELECT place, live FROM (SELECT row_number() OVER (ORDER BY live) - 1 AS place, live {let_in} AND {mine})"
        f" WHERE place IN ({', '.join('?' * len(places))})",
        [*values, short(judge), *places],
    )
    at = {one["place"]: one["live"] for one in found}
    return Lives(visits, others, {share: at[place] for share, place in zip(shares, places, strict=True)})


def held_against(
    ask: Ask, asked: Sequence[Asked], since: datetime | None = None, until: datetime | None = None
) -> list[Held]:
    """Hold each visit of a time against each of `asked`.

    A recognised visit counts by the lowest of its last `agree` looks, where the log has them; a strange one by its best
    look alone, so that no more would pass than is said. What is asked of a face is what `values.needed` asks.
    """
    span, values = _span(since, until)
    known, strange = ", ".join("?" * len(RECOGNISED)), ", ".join("?" * len(STRANGE))
    sums, limits = [], []
    for one in asked:
        limit = "CASE WHEN sure THEN ? WHEN masked THEN ? ELSE ? END"
        sums.append(f"coalesce(sum(known AND (low{one.agree} < {limit} OR margin < ?)), 0)")
        sums.append(f"coalesce(sum(NOT known AND score >= {limit} AND margin >= ?), 0)")
        limits += [one.masked, max(one.masked, one.bare), one.bare, one.margin] * 2
    looks = [f"coalesce(detail ->> '$.scores[#-{n}]', score)" for n in (2, 3)]
    told = ", ".join(f"{one} AS s{i}" for i, one in enumerate(sums))
    [row] = ask(
        f"SELECT coalesce(sum(known), 0) AS known, count(*) AS n, {told} FROM (SELECT score, margin,"
        f" masked >= {SURE} AS sure, masked >= 0.5 AS masked, reason IN ({known}) AS known, score AS low1,"
        f" min(score, {looks[0]}) AS low2, min(score, {', '.join(looks)}) AS low3"
        " FROM events WHERE score IS NOT NULL AND margin IS NOT NULL"
        f" AND reason IN ({known}, {strange}) AND json_valid(detail){span})",
        [*limits, *RECOGNISED, *RECOGNISED, *STRANGE, *values],
    )
    rest = row["n"] - row["known"]
    return [Held(row["known"], row[f"s{2 * i}"], rest, row[f"s{2 * i + 1}"]) for i in range(len(asked))]


def leads(ask: Ask, since: datetime | None = None, until: datetime | None = None) -> dict[str, Lead]:
    """By present name, how far everybody was above what was needed when they were recognised."""
    span, values = _span(since, until)
    rows = ask(
        "SELECT name, n, mean, lowest, masked FROM (SELECT subject_id, count(*) AS n, avg(score - threshold) AS mean,"
        " min(score - threshold) AS lowest, sum(masked >= 0.5) AS masked FROM events"
        f" WHERE subject_id IS NOT NULL AND score >= threshold AND reason IN ({', '.join('?' * len(RECOGNISED))}){span}"
        " GROUP BY subject_id) JOIN subjects ON id = subject_id",
        [*RECOGNISED, *values],
    )
    return {row["name"]: Lead(row["n"], row["mean"], row["lowest"], row["masked"] or 0) for row in rows}
