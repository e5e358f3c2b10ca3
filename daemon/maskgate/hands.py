"""What the daemon does about decisions and orders: the record first, then the relay. Judges no face, opens no edge.

Whatever opens the gate passes here, but for the exit button and the fire input, which the relay's thread serves alone
and which are recorded here afterwards.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskgate import clock, config, decide, lockdown
from maskgate.camera import Frame
from maskgate.chores import Album
from maskgate.events import now_at, short, stamp
from maskgate.gate import Gate
from maskgate.latch import Event as LatchEvent
from maskgate.latch import State
from maskgate.report import Report
from maskgate.rules import Verdict
from maskgate.ruling import Ruling
from maskgate.store import Event, Store
from maskgate.values import Cover, GateError, StoreError, UnknownSubject, cover_of

log = logging.getLogger("maskgate")

REPORTS, REPORTS_S = 30, 0.5
"""A contact that chatters fills no log and wears no card: so many of its events at once, then one in so long."""
CLOCK_S = 1.0
"""How often the wall clock is held against the monotonic one."""
SHUT = {State.LOCKDOWN: "lockdown", State.FAULT: "gate_fault"}
"""States in which nobody is let in, with the reason for it."""
WAY_OUT = {
    State.LOCKDOWN: "the gate is in lockdown; `maskgate release` ends it",
    State.FAULT: "the gate has a fault; look at its log, `maskgate release` clears it",
}


def event_of(
    decision: decide.Decision, frame: Frame, verdict: Verdict | None = None, model: str = "", judge: str = ""
) -> Event:
    """Word a decision for the log, made with the embedder of digest `model`, whose liveness `judge` told."""
    detail: dict[str, object] = {"frames": decision.frames}
    if decision.first_usable_s is not None:
        detail["usable_to_decision_ms"] = round((decision.at_s - decision.first_usable_s) * 1000)
    if decision.fault is not None:
        detail["fault"] = decision.fault
    if decision.seen:
        detail |= _words_of_looks(decision.seen)
    if decision.policy is not None:
        detail["needs"] = _words_of_policy(decision.policy)
    if frame.origin:
        detail["origin"] = frame.origin
    if decision.verdict.cues:
        detail |= _words_of_liveness(decision)
    if decision.asked:
        detail["asked"] = [order.value for order in decision.asked]
    if verdict is not None:
        detail |= _words_of_rule(verdict)
    if model:
        detail["model"] = short(model)
    if judge and decision.live is not None:
        detail["live_by"] = short(judge)
    return Event(
        kind="decision",
        subject=decision.subject,
        granted=decision.granted,
        reason=decision.reason,
        score=decision.score,
        margin=decision.margin,
        threshold=decision.threshold,
        masked=decision.masked,
        live=decision.live,
        detail=detail,
    )


def _words_of_looks(seen: Sequence[decide.Look]) -> dict[str, object]:
    """Say what each look gave, one list for each number, and what a stage of a look took at the mean."""
    stages = {stage: [look.ms[stage] for look in seen if stage in look.ms] for stage in seen[-1].ms}
    return {
        "at_ms": [round((look.at_s - seen[0].at_s) * 1000) for look in seen],
        "scores": [look.score and round(look.score, 3) for look in seen],
        "margins": [look.margin and round(look.margin, 3) for look in seen],
        "masks": [round(look.masked, 2) for look in seen],
    } | ({"ms": {stage: round(sum(took) / len(took), 1) for stage, took in stages.items()}} if stages else {})


def _words_of_policy(policy: decide.Policy) -> dict[str, object]:
    """Say what a grant asked for."""
    asked: dict[str, object] = {cover.value: round(limit, 4) for cover, limit in policy.thresholds.items()}
    asked |= {"margin": policy.margin, "agree": policy.in_a_row}
    return asked if policy.liveness is None else asked | {"live": round(policy.liveness.threshold, 4)}


def _words_of_rule(verdict: Verdict) -> dict[str, object]:
    """Say whose rule decided, and what it says where that names nobody."""
    told: dict[str, object] = {"rule": verdict.whose} if verdict.whose else {}
    if not verdict.granted and verdict.reason != "denied":
        told["terms"] = verdict.why
    return told | ({"remind": "mask"} if verdict.remind else {})


def _words_of_liveness(decision: decide.Decision) -> dict[str, object]:
    """Say what each sighting and each cue told of life, and which cue decided."""
    deciding = decision.verdict.deciding
    return {
        "live": [None if look.live is None else round(look.live, 3) for look in decision.seen],
        "cue": None if deciding is None else deciding.name,
        "cues": {cue.name: [cue.says.value, cue.value and round(cue.value, 3)] for cue in decision.verdict.cues},
    }


class Hands:
    """Carries out decisions and orders, and records what happens; belongs to the loop."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        policy: config.Policy,
        album: Album | None = None,
        *,
        ruling: Ruling | None = None,
        folder: Path | None = None,
        report: Report | None = None,
        model: str = "",
        judge: str = "",
    ) -> None:
        """Act on `gate`, write to `store`, let in whom `ruling` lets (None: everybody).

        Pictures of decisions go into the `album`, if there is one; `folder` keeps a lockdown; `report` tells others;
        `model` is the embedder's digest, `judge` the liveness network's.
        """
        self._store, self._gate, self._policy, self._album, self._ruling = store, gate, policy, album, ruling
        self._report = report or Report(store, config.Report())
        self._model, self._judge = model, judge
        self._event: Event | None = None
        self._folder = folder or store.path.parent
        self._watch = clock.Watch()
        self._looked_s = self._reported_s = time.monotonic()
        self._reports = float(REPORTS)
        self._trusted: bool | None = None

    # -- decisions ---------------------------------------------------------------------------------------------------

    def carry_out(self, decision: decide.Decision, frame: Frame) -> decide.Decision:
        """Hold a grant against the rules, record the decision, durably, then open; return what came of it."""
        decision, verdict = self._ruled(decision)
        decision = self._recorded(decision, frame, verdict)
        if decision.granted:
            self._open(verdict)
        else:
            self._gate.show("refused")
        if self._album is not None and self._event is not None:
            self._album.keep(self._event.id, frame.main, granted=decision.granted)
        self._report.tell(self._event or event_of(decision, frame, verdict))
        if decision.suspected:
            self.note("attack_suspected", reason=decision.reason, refused=decide.SUSPICIOUS)
        if self._ruling is not None and decision.subject is not None:
            self._ruling.note(decision.subject, decision.reason)
        return decision

    def _ruled(self, decision: decide.Decision) -> tuple[decide.Decision, Verdict | None]:
        """Turn a grant into a refusal where the lock or a rule forbids it."""
        if not decision.granted or decision.subject is None:
            return decision, None
        if (shut := SHUT.get(self._gate.latch.state)) is not None:
            return replace(decision, granted=False, reason=shut), None
        if self._ruling is None:
            return decision, None
        masked = None if decision.masked is None else cover_of(decision.masked) is Cover.MASKED
        verdict = self._ruling.of(decision.subject, masked=masked)
        return replace(decision, granted=verdict.granted, reason=verdict.reason), verdict

    def _recorded(self, decision: decide.Decision, frame: Frame, verdict: Verdict | None) -> decide.Decision:
        self._event = None
        event = replace(event_of(decision, frame, verdict, self._model, self._judge), at=now_at())
        try:
            self._event = replace(event, id=self._store.record(event))
        except UnknownSubject:
            # Revoked or erased between the look and the record: whatever the policy, this is nobody any more.
            return self._recorded(replace(decision, granted=False, reason="revoked", subject=None), frame, None)
        except StoreError as error:
            log.error("decision could not be recorded: %s", error)
            if decision.granted and self._policy.when_log_fails == "refuse":
                return replace(decision, granted=False, reason="not_recorded")
            if decision.granted:
                log.critical("admitting somebody UNRECORDED: policy.when_log_fails is 'admit'")
        return decision

    def _open(self, verdict: Verdict | None) -> None:
        try:
            obeyed = self._gate.unlock(verdict.unlock_s if verdict else None)
        except GateError as error:
            # The relay cannot be trusted any more: end the process, which drives it inactive once more.
            self.note("fault", error=str(error))
            raise
        # Refused, a "withheld" event is on its way: it was locked down between the record and the order.
        self._gate.show("refused" if not obeyed else "remind" if verdict and verdict.remind else "granted")

    # -- orders ------------------------------------------------------------------------------------------------------

    def obey(self, order: str, *, actor: str, for_s: float | None, reason: str | None) -> str | None:
        """Record an administrator's order and carry it out; return why not, None when it was."""
        given = {"for_s": for_s, "reason": reason}
        event = Event(order, actor=actor, detail={key: value for key, value in given.items() if value is not None})
        try:
            if order == "lockdown":
                return self._lock_down(event)
            return self._release(event) if order == "release" else self._let_in(event, for_s)
        except GateError as error:
            self.note("fault", error=str(error))
            raise

    def _lock_down(self, event: Event) -> str | None:
        """Lock first: what makes the lockdown last, and the record, may take a slow card seconds."""
        try:
            self._gate.lock_down()
        finally:
            said = self._lasting(begins=True)
        self._record(event)
        return said

    def _release(self, event: Event) -> str | None:
        """Record first, for who was kept out gets in after it."""
        if not self._record(event):
            return "the release could not be recorded, so it was not made; look at the daemon's log"
        if said := self._lasting(begins=False):
            return said
        self._gate.release()
        return None

    def _let_in(self, event: Event, for_s: float | None) -> str | None:
        """Unlock once, or hold open for `for_s`."""
        if said := WAY_OUT.get(self._gate.latch.state):
            self._record(replace(event, detail={**event.detail, "withheld": True}))
            return said
        if not self._record(event) and self._policy.when_log_fails == "refuse":
            return "the order could not be recorded, so the gate stays shut; look at the daemon's log"
        obeyed = self._gate.unlock(event=LatchEvent.UNLOCK) if for_s is None else self._gate.hold_open(for_s)
        self._gate.show("granted" if obeyed else "refused")
        return None if obeyed else WAY_OUT.get(self._gate.latch.state, "the gate did not obey in time; try again")

    def _lasting(self, *, begins: bool) -> str | None:
        """Make the lockdown outlive the process, or take that back; return what went wrong."""
        try:
            (lockdown.begin if begins else lockdown.end)(self._folder)
        except StoreError as error:
            log.error("%s", error)
            return str(error)
        return None

    def standing(self) -> dict[str, Any]:
        """Return how lock and door stand, as JSON values."""
        lock, door, now_s = self._gate.latch, self._gate.doorway, time.monotonic()
        return {
            "lock": lock.state.value,
            "lock_left_s": round(lock.until_s - now_s, 1) if lock.until_s > now_s else None,
            "relay": "energised" if self._gate.unlocked else "inactive",
            "fire": lock.fire,
            "door": None if door.is_open is None else "open" if door.is_open else "closed",
            "tampered": door.tampered,
        }

    def recent(self) -> list[dict[str, Any]]:
        """Return the latest events as JSON values, newest last."""
        return self._report.recent()

    # -- the log -----------------------------------------------------------------------------------------------------

    def note(self, kind: str, *, at: str = "", **detail: object) -> None:
        """Record an event of the daemon itself; a log that fails is said, and stops nothing."""
        self._record(Event(kind=kind, at=at, detail=detail))

    def report(self) -> None:
        """Record what has happened meanwhile at the pins (exit button, fire, door, tampering) and to the clock."""
        now_s = time.monotonic()
        self._reports = min(REPORTS, self._reports + (now_s - self._reported_s) / REPORTS_S)
        self._reported_s = now_s
        for happening in self._gate.happenings(int(self._reports)):
            self._reports -= 1
            self.note(happening.kind, at=stamp(clock.ago(happening.at_s)))
        if now_s - self._looked_s >= CLOCK_S or self._trusted is None:
            self._looked_s = now_s
            self._see_the_clock()

    def _see_the_clock(self) -> None:
        """Note a clock that was set, and one that cannot be trusted."""
        jump_s = self._watch.jumped_s()
        if jump_s is not None:
            self.note("clock_changed", by_s=round(jump_s, 1))
        trusted = self._ruling is None or self._ruling.clock() is not None
        if trusted is not self._trusted and not (trusted and self._trusted is None):
            self.note("clock_trusted" if trusted else "clock_untrusted")
        self._trusted = trusted

    def _record(self, event: Event) -> bool:
        event = replace(event, at=event.at or now_at())
        try:
            event = replace(event, id=self._store.record(event))
        except StoreError as error:
            log.error("event %s could not be recorded: %s", event.kind, error)
        self._report.tell(event)
        return event.id > 0
