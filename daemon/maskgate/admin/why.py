"""One plain sentence about an event of the log: who, when, what, why. Values in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from maskgate.reasons import REASONS
from maskgate.values import FAULTS

if TYPE_CHECKING:
    from maskgate.store import Event

NOBODY_ELSE = 1.999
"""A margin from here on says that nobody else is enrolled."""
HAPPENED = {
    "enrolled": "{actor} enrolled {who}",
    "revoked": "{actor} revoked {who}, who is not let in any more",
    "reinstated": "{actor} reinstated {who}, who is let in again",
    "renamed": "{actor} gave {who} this name",
    "erased": "{actor} erased {who}",
    "restored": "{actor} put a backup in the gallery's place",
    "rules_changed": "{actor} changed the rules",
    "key_changed": "{actor} changed the key that the gallery is sealed with",
    "log_cut": "The daemon removed old events, as store.keep_days says",
    "started": "The daemon started",
    "stopped": "The daemon stopped",
    "fault": "Something about the gate itself broke",
    "camera_failed": "The camera failed, and the gate stayed locked",
    "camera_back": "The camera delivered pictures again",
    "clock_changed": "The clock was set",
    "clock_trusted": "The clock was set, and rules about time hold",
    "clock_untrusted": "The clock had not been set, and rules about time could not be judged",
    "unlock": "{actor} opened the gate once",
    "hold_open": "{actor} held the gate open",
    "hold_open_over": "The time ended for which the gate was held open",
    "lockdown": "{actor} locked the gate down",
    "release": "{actor} released the gate",
    "rex": "Somebody inside pressed the exit button, which opened the gate",
    "fire": "The fire alarm opened the gate",
    "fire_over": "The fire alarm ended",
    "door_opened": "The door was opened",
    "door_closed": "The door was closed",
    "held_open": "The door stood open for too long",
    "forced_open": "The door was opened without leave",
    "tamper": "The case was opened",
    "tamper_over": "The case was closed",
    "withheld": "The gate was not opened, for it was locked down or had a fault",
    "attack_suspected": "One face was refused as a picture again and again",
    "events_lost": "More happened at the pins than could be kept, and some of it is not in the log",
}
"""What an event that is no decision says, by its kind."""


def sentence(event: Event) -> str:
    """Say what happened, when and why."""
    when = _spoken(event.at)
    if event.kind != "decision":
        return f"{_happened(event)}, {when}{_given(event.detail)}."
    who = event.subject or "A stranger"
    if event.granted:
        return f"{who} was let in, {when}: {_recognised(event)}."
    return f"{who} was refused, {when}: {_refused(event)}."


def _happened(event: Event) -> str:
    said = HAPPENED.get(event.kind, f"The log says {event.kind}")
    return said.format(actor=event.actor or "The daemon", who=event.subject or "somebody")


def _spoken(at: str) -> str:
    """Write a time of the log for a sentence, local; one that is no time as it is."""
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%a %Y-%m-%d at %H:%M:%S")
    except (ValueError, OverflowError):
        return at


def _given(detail: Mapping[str, Any]) -> str:
    """Say what an order came with, or what an error said."""
    for_s = detail.get("for_s")
    words = [f"for {for_s:.0f} s" if isinstance(for_s, (int, float)) else "", str(detail.get("reason") or "")]
    by_s = detail.get("by_s")
    words += [f"by {by_s:+.1f} s" if isinstance(by_s, (int, float)) else ""]
    words += ["but it was withheld" if detail.get("withheld") else "", str(detail.get("error") or "")]
    told = ", ".join(filter(None, words))
    return f" ({told})" if told else ""


def _recognised(event: Event) -> str:
    """Say how sure the gate was."""
    if event.score is None or event.threshold is None:
        return _lowered(REASONS["granted"])
    needs = event.detail.get("needs") or {}
    looks = f" in {needs['agree']} looks in a row" if "agree" in needs else ""
    ahead = ", and nobody else is enrolled"
    if event.margin is not None and event.margin < NOBODY_ELSE:
        ahead = f", and everybody else was {event.margin:.2f} or more behind"
    return f"recognised{_behind_a_mask(event)}{looks} with a score of {_of(event)}{ahead}{_by_rule(event.detail)}"


def _refused(event: Event) -> str:
    """Say what kept the gate shut, with the number or the rule that did."""
    reason = event.reason or ""
    if reason == "unknown" and event.score is not None:
        return f"the most similar face in the gallery reached{_behind_a_mask(event)} a score of {_of(event)}"
    if reason == "thin_margin" and event.margin is not None:
        needed = (event.detail.get("needs") or {}).get("margin")
        asked = f", where {needed:.2f} is needed" if isinstance(needed, (int, float)) else ""
        return f"two people of the gallery were equally near, {event.margin:.3f} apart{asked}"
    said = _lowered(REASONS.get(reason, reason))
    more = [event.detail.get("terms"), FAULTS.get(str(event.detail.get("fault"))) if reason in POOR else None]
    told = "; ".join(str(word) for word in more if word)
    return f"{said} ({told})" if told else said


POOR = ("poor_picture", "left")
"""Reasons that what was wrong with the pictures explains."""


def _of(event: Event) -> str:
    return f"{event.score:.3f}, where {event.threshold:.3f} was needed"


def _behind_a_mask(event: Event) -> str:
    return " behind a mask" if event.masked is not None and event.masked >= 0.5 else ""


def _by_rule(detail: Mapping[str, Any]) -> str:
    """Say whose rule let somebody in."""
    whose = detail.get("rule")
    if not whose or whose == "everyone":
        return ""
    return "; their own rule allows it" if whose == "own" else f"; the rule of the {whose} allows it"


def _lowered(said: str) -> str:
    """Make a sentence the end of another."""
    return (said[0].lower() + said[1:]).rstrip(".")
