"""What the rules say about somebody now: asks the log what a rule wants to know, then `rules.judge`. Opens nothing."""

from __future__ import annotations

import datetime as dt
import time
from datetime import datetime
from typing import TYPE_CHECKING

from maskgate import clock, rules
from maskgate.rulebook import Rulebook
from maskgate.rules import Book, Memory, Rule, Verdict
from maskgate.values import BadSetting, StoreError, UnknownSubject

if TYPE_CHECKING:
    from maskgate.store import Event, Store


class Ruling:
    """Rules and their memory; belongs to the thread of its store."""

    def __init__(self, rulebook: Rulebook, store: Store, *, trust_clock: bool = False) -> None:
        """Judge by `rulebook`, remember by `store`; `trust_clock` takes the clock for set, whoever set it."""
        self._rulebook, self._store, self._trust_clock = rulebook, store, trust_clock
        self.book = Book()
        self._waiting: dict[str, float] = {}
        self._passed: dict[str, float] = {}

    def of(self, name: str, *, masked: bool | None, at: datetime | None = None) -> Verdict:
        """Judge somebody now, or at `at` (aware), as far as the log goes. Changes nothing."""
        when = at if at is not None else self.clock()
        try:
            self.book = self._rulebook.book()
            names = self._names(name)
            memory = self._memory(name, self.book.rule_of(names), at)
        except (BadSetting, StoreError) as error:
            return Verdict(False, "not_remembered", str(error))
        return rules.judge(self.book, names, when, masked=masked, memory=memory)

    def clock(self) -> datetime | None:
        """Return local time, None while it cannot be trusted."""
        return clock.now() if self._trust_clock or clock.is_trusted() else None

    def note(self, name: str, reason: str) -> None:
        """Remember what came of somebody who was recognised: who waits for a second person, who was let in when."""
        now_s = time.monotonic()
        if reason == "second_person_needed":
            self._waiting[name] = now_s
        elif reason == "granted":
            self._waiting.clear()
            self._passed[name] = now_s

    def _names(self, name: str) -> tuple[str, ...]:
        """Return all names somebody has had, the present one first: a new name is no way round a rule."""
        try:
            return (name, *reversed(self._store.subject(name).formerly))
        except UnknownSubject:
            return (name,)

    def _memory(self, name: str, rule: Rule, at: datetime | None) -> Memory:
        """Ask the log for what the rule wants to know, and for nothing else."""
        return Memory(
            used=0 if rule.uses is None else self._uses(name, rule, at),
            last_ago_s=self._last_ago_s(name, at) if rule.passback_s else None,
            opened_today=bool(rule.after_first) and self._is_opened(at),
            waiting=self._others_waiting(name) if at is None else (),
        )

    def _others_waiting(self, name: str) -> tuple[str, ...]:
        """Return who else was recognised a short time ago."""
        now_s = time.monotonic()
        return tuple(
            other for other, since_s in self._waiting.items() if other != name and now_s - since_s <= self.book.second_s
        )

    def _uses(self, name: str, rule: Rule, at: datetime | None) -> int:
        """Count grants from `valid_from` on; no more than count."""
        begin = None if rule.valid_from is None else datetime.combine(rule.valid_from, dt.time()).astimezone()
        return len(self._grants(name, since=begin, until=at, limit=rule.uses))

    def _last_ago_s(self, name: str, at: datetime | None) -> float | None:
        """Return how long ago the last grant was; of log and memory the shorter, should the clock have been set."""
        found = [
            max(0.0, ((at or clock.now()) - datetime.fromisoformat(event.at)).total_seconds())
            for event in self._grants(name, since=None, until=at, limit=1)
        ]
        if at is None and name in self._passed:
            found.append(time.monotonic() - self._passed[name])
        return min(found, default=None)

    def _is_opened(self, at: datetime | None) -> bool:
        """Tell whether a first of the day was let in on the day of `at`."""
        midnight = (at or clock.now()).replace(hour=0, minute=0, second=0, microsecond=0)
        return any(self._grants(name, since=midnight, until=at, limit=1) for name in self.book.firsts())

    def _grants(self, name: str, *, since: datetime | None, until: datetime | None, limit: int | None) -> list[Event]:
        """Return the newest grants of somebody; none of somebody the gallery does not know."""
        try:
            return list(self._store.events(person=name, reason="granted", since=since, until=until, limit=limit))
        except UnknownSubject:
            return []
