"""Turn a run of sightings into at most one decision a visit. Reads no clock, file or pin.

`step` is a fold: it takes what the gate attends to and what one frame showed, and returns the next state with, now and
then, a decision. It is the only place where a grant is made. Its laws are tested as properties:
- a grant needs `agree` usable, fresh sightings in a row of one subject, each above the threshold of its cover, each
  with the margin; so raising a threshold never adds a grant, and a stranger is never granted;
- with liveness judged, a grant also needs the network for liveness to call those very sightings live, and no cue to say
  attack; an attack is never granted, no answer is no grant, being stricter never adds a grant;
- one visit ends in at most one decision; two grants of one subject are at least `regrant_s` apart;
- who is refused too often waits; nobody else does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from maskgate.cues import ENOUGH, UNJUDGED, Rules, Verdict, judge
from maskgate.values import Cover, Embedding, Face, Match, Sighting

LONGEST_WAIT_S = 600.0
"""Each further refusal doubles a person's wait up to this: a poster of a face must not fill the log."""
FORGET_S = 3 * LONGEST_WAIT_S
"""A refused person is remembered this long after the last refusal."""
REMEMBER = 32
"""At most so many refused persons are remembered; the longest ago is dropped."""
ATTACKS = {"passive": "not_live"}
"""The reason of a visit that this cue refuses."""
SUSPICIOUS = 5
"""So many refused attacks with one face in a row are worth an alarm."""
AHEAD_S = 0.1
"""A frame may seem this much newer than the clock (two clocks read apart), no more."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to grant; the settings of the same names say it for the owner."""

    thresholds: Mapping[Cover, float]
    agree: int
    looks: int
    patience_s: float
    margin: float
    regrant_s: float
    gone_s: float
    retry_s: float
    backoff_after: int
    backoff_s: float
    stale_s: float
    one_face: bool
    """Refuse while two faces are in the zone; otherwise the larger one counts."""
    liveness: Rules | None = None
    """None takes a picture for the person."""

    @property
    def in_a_row(self) -> int:
        """Agreeing sightings that a grant needs: enough for liveness, too, where it is judged."""
        return self.agree if self.liveness is None else max(self.agree, ENOUGH)


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one visit."""

    at_s: float
    """When it was made, monotonic seconds."""
    granted: bool
    reason: str
    """A key of `reasons.REASONS`."""
    subject: str | None = None
    """Who was recognised, or whose picture was refused; None for nobody."""
    score: float | None = None
    """Of the best usable sighting; None when there was none."""
    margin: float | None = None
    threshold: float | None = None
    """What that sighting's score was held against."""
    masked: float | None = None
    live: float | None = None
    """Median over the looks, as judged; None when it was not."""
    lives: tuple[float | None, ...] = ()
    """Of each usable sighting in turn."""
    verdict: Verdict = UNJUDGED
    """What the cues said; empty when liveness was not judged."""
    suspected: bool = False
    """True when this makes SUSPICIOUS refused attacks with one face in a row."""
    frames: int = 0
    """Usable sightings that went into it."""
    first_s: float = 0.0
    """Exposure of the visit's first sighting."""
    first_usable_s: float | None = None
    """Exposure of the first usable one; None when there was none."""
    fault: str | None = None
    """What was most often wrong with the unusable sightings; a key of `values.FAULTS`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody who was refused, remembered by the face alone."""

    probe: Embedding
    count: int
    last_s: float
    attacks: int = 0
    """How many of the latest refusals in a row were of attacks."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One face's stay before the gate, up to its decision and on until it leaves."""

    first_s: float
    last_s: float
    """Exposure of the last sighting of this face, usable or not."""
    face: Face
    """Where it was last."""
    first_usable_s: float | None = None
    looks: int = 0
    streak: tuple[Sighting, ...] = ()
    """The latest usable sightings in a row above the threshold and with the margin."""
    seen: tuple[Sighting, ...] = ()
    """Every usable sighting: what liveness is judged on."""
    named: frozenset[str] = frozenset()
    """Every subject the face was taken for in such a sighting."""
    best: Sighting | None = None
    """The usable sighting with the highest score."""
    probe: Embedding | None = None
    """The latest usable probe: what is remembered of a refused person."""
    thin: int = 0
    """Looks above the threshold with too small a margin."""
    crowded: int = 0
    stale: int = 0
    faults: tuple[str, ...] = ()
    """The worst fault of each unusable sighting."""
    decision: Decision | None = None
    strange: int = 0
    """Usable sightings in a row, after the decision, of somebody else's face."""


@dataclass(frozen=True, slots=True)
class Attention:
    """All the gate keeps in mind: the visit it attends to, whom it let in lately and whom it refused."""

    visit: Visit | None = None
    grants: tuple[tuple[str, float], ...] = ()
    """Subject and time of each grant within the re-grant interval."""
    refused: tuple[Refused, ...] = ()


def step(
    attention: Attention, now_s: float, sighting: Sighting | None, policy: Policy
) -> tuple[Attention, Decision | None]:
    """Take in what one frame showed; `sighting` is None for a frame without a face. `now_s` never goes backwards."""
    visit = attention.visit
    if visit is not None and _is_over(visit, now_s, sighting, policy):
        # Whoever stands there now begins with the next frame: one step makes at most one decision.
        decision = _parting(visit, now_s, policy)
        return _note(replace(attention, visit=None), visit, decision, policy), decision
    if sighting is None:
        return attention, None
    if visit is None:
        visit = Visit(sighting.at_s, sighting.at_s, sighting.face)
    visit = replace(visit, last_s=max(sighting.at_s, visit.last_s), face=sighting.face)
    if visit.decision is not None:
        return replace(attention, visit=_after(visit, attention.refused, now_s, sighting, policy)), None
    visit = _look(visit, now_s, sighting, policy)
    decision = _decide(visit, attention, now_s, policy)
    visit = replace(visit, decision=decision, seen=() if decision else visit.seen)
    attention = _note(replace(attention, visit=visit), visit, decision, policy)
    return attention, decision and replace(decision, suspected=_is_suspicious(visit, decision, attention))


def _is_over(visit: Visit, now_s: float, sighting: Sighting | None, policy: Policy) -> bool:
    """Tell whether the face has left: unseen for `gone_s`, or what is seen now is too far off to be it."""
    if sighting is None or now_s - visit.last_s > policy.gone_s:
        return now_s - visit.last_s > policy.gone_s
    (x, y), (u, v) = visit.face.centre, sighting.face.centre
    size, other = visit.face.height, sighting.face.height
    return max(abs(x - u), abs(y - v)) > max(size, other) or not 0.4 < size / max(other, 1e-6) < 2.5


def _after(
    visit: Visit, refused: tuple[Refused, ...], now_s: float, sighting: Sighting, policy: Policy
) -> Visit | None:
    """Keep a decided visit going; drop it when somebody else stands there, or a refused face may try again."""
    assert visit.decision is not None  # the caller asks for decided visits alone
    waits = visit.probe is not None and _must_wait(visit.probe, refused, now_s, policy)
    waits = waits and visit.decision.reason == "backing_off"
    was_let_in = visit.decision.reason in ("granted", "just_granted")
    if not was_let_in and not waits and now_s - visit.decision.at_s >= policy.retry_s:
        return None
    if not sighting.usable or sighting.probe is None or visit.probe is None:
        return visit
    strange = 0 if _is_same(visit.probe, sighting.probe, policy) else visit.strange + 1
    return None if strange > policy.agree else replace(visit, strange=strange)


def _look(visit: Visit, now_s: float, sighting: Sighting, policy: Policy) -> Visit:
    """Add one sighting's evidence to an undecided visit."""
    if not -AHEAD_S <= now_s - sighting.at_s <= policy.stale_s:
        return replace(visit, stale=visit.stale + 1)
    if not sighting.usable:
        return replace(visit, faults=(*visit.faults[-99:], *sighting.quality.faults[:1]))
    visit = replace(
        visit,
        first_usable_s=sighting.at_s if visit.first_usable_s is None else visit.first_usable_s,
        looks=visit.looks + 1,
        seen=(*visit.seen, sighting),
        probe=sighting.probe,
        best=sighting if _beats(sighting, visit.best) else visit.best,
    )
    if policy.one_face and sighting.others:
        return replace(visit, streak=(), crowded=visit.crowded + 1)
    return _weigh(visit, sighting, policy)


def _beats(sighting: Sighting, best: Sighting | None) -> bool:
    """Tell whether `sighting` shows more than the best so far."""
    if best is None or best.match is None:
        return True
    return sighting.match is not None and sighting.match.score > best.match.score


def _weigh(visit: Visit, sighting: Sighting, policy: Policy) -> Visit:
    """Lengthen the streak, start it anew or break it."""
    match = sighting.match
    if match is None or match.score < policy.thresholds[sighting.cover]:
        return replace(visit, streak=())
    if match.margin < policy.margin:
        return replace(visit, streak=(), thin=visit.thin + 1)
    return replace(visit, streak=(*visit.streak, sighting), named=visit.named | {match.subject})


def _decide(visit: Visit, attention: Attention, now_s: float, policy: Policy) -> Decision | None:
    """Decide an undecided visit, or None to look on."""
    if visit.first_usable_s is None:
        waited = now_s - visit.first_s >= 2 * policy.patience_s
        return _refusal(visit, now_s, "stale" if visit.stale else "poor_picture", policy) if waited else None
    if visit.probe is not None and _must_wait(visit.probe, attention.refused, now_s, policy):
        return _refusal(visit, now_s, "backing_off", policy)
    if len(visit.named) > 1:
        return _refusal(visit, now_s, "wavering", policy)
    recognised = len(visit.streak) >= policy.in_a_row
    ended = visit.looks >= policy.looks or now_s - visit.first_usable_s >= policy.patience_s
    if not recognised and not ended:
        return None
    if (attack := _verdict(visit, policy).attack) is not None:
        return _refusal(visit, now_s, ATTACKS[attack.name], policy)
    if recognised and (policy.liveness is None or _verdict(visit, policy).is_live):
        return _grant(visit, attention, now_s, policy)
    if ended:
        return _refusal(visit, now_s, "no_liveness" if recognised else _why_not(visit), policy)
    return None


def _verdict(visit: Visit, policy: Policy) -> Verdict:
    """Ask the cues about an undecided visit; an empty verdict where liveness is not judged."""
    return UNJUDGED if policy.liveness is None else judge(visit.seen, visit.streak, policy.liveness)


def _grant(visit: Visit, attention: Attention, now_s: float, policy: Policy) -> Decision:
    """Grant the subject of a full streak, unless that subject was let in a moment ago."""
    last = visit.streak[-1]
    assert last.match is not None  # _weigh lets nothing else into a streak
    lately = any(
        subject == last.match.subject and now_s - at_s < policy.regrant_s for subject, at_s in attention.grants
    )
    decision = _outcome(visit, now_s, last, "just_granted" if lately else "granted", policy)
    return replace(decision, granted=not lately, subject=last.match.subject)


def _refusal(visit: Visit, now_s: float, reason: str, policy: Policy) -> Decision:
    """Refuse, for `reason`; an attack with the face of a subject is laid to that subject's name."""
    refusal = _outcome(visit, now_s, visit.best, reason, policy)
    taken_for = next(iter(visit.named)) if reason in ATTACKS.values() and len(visit.named) == 1 else None
    return replace(refusal, subject=taken_for)


def _outcome(visit: Visit, now_s: float, shown: Sighting | None, reason: str, policy: Policy) -> Decision:
    """Word a decision around the sighting that is to stand in the log; not granted."""
    match: Match | None = shown.match if shown else None
    verdict = _verdict(visit, policy)
    return Decision(
        at_s=now_s,
        granted=False,
        reason=reason,
        score=match.score if match else None,
        margin=match.margin if match else None,
        threshold=policy.thresholds[shown.cover] if shown else None,
        masked=shown.masked if shown else None,
        live=verdict.live,
        lives=tuple(sighting.live for sighting in visit.seen),
        verdict=verdict,
        frames=visit.looks,
        first_s=visit.first_s,
        first_usable_s=visit.first_usable_s,
        fault=Counter(visit.faults).most_common(1)[0][0] if visit.faults else None,
    )


def _why_not(visit: Visit) -> str:
    """Name the reason of a visit that had its looks and earned no grant."""
    if visit.crowded * 2 > visit.looks:
        return "two_faces"
    if visit.best is None or visit.best.match is None:
        return "empty_gallery"
    return "thin_margin" if visit.thin else "unknown"


def _parting(visit: Visit, now_s: float, policy: Policy) -> Decision | None:
    """Word what is left to say of a visit whose face has gone; None when it was decided or hardly seen."""
    if visit.decision is not None:
        return None
    if visit.looks < policy.agree and visit.last_s - visit.first_s < policy.gone_s:
        return None
    if visit.looks:
        attack = _verdict(visit, policy).attack
        return _refusal(visit, now_s, ATTACKS[attack.name] if attack else "left", policy)
    return _refusal(visit, now_s, "stale" if visit.stale else "poor_picture", policy)


def _note(attention: Attention, visit: Visit, decision: Decision | None, policy: Policy) -> Attention:
    """Keep in mind what must outlive the visit that `decision` ended, if it did."""
    if decision is None:
        return attention
    grants = tuple(grant for grant in attention.grants if decision.at_s - grant[1] < policy.regrant_s)
    if decision.granted and decision.subject is not None:
        grants = (*grants, (decision.subject, decision.at_s))
    return replace(attention, grants=grants, refused=_remember(attention.refused, visit, decision, policy))


def _remember(refused: tuple[Refused, ...], visit: Visit, decision: Decision, policy: Policy) -> tuple[Refused, ...]:
    """Count a refusal against the face it was made of; a grant wipes that face's slate."""
    kept = tuple(person for person in refused if decision.at_s - person.last_s < FORGET_S)
    is_attack = decision.reason in ATTACKS.values()
    counts = decision.reason in ("unknown", "thin_margin", "wavering") or is_attack or decision.granted
    if visit.probe is None or not counts:
        return kept
    mine = [person for person in kept if _is_same(person.probe, visit.probe, policy)]
    others = tuple(person for person in kept if all(person is not same for same in mine))
    if decision.granted:
        return others
    count = 1 + max((person.count for person in mine), default=0)
    attacks = 1 + max((person.attacks for person in mine), default=0) if is_attack else 0
    return (*others, Refused(visit.probe, count, decision.at_s, attacks))[-REMEMBER:]


def _is_suspicious(visit: Visit, decision: Decision, attention: Attention) -> bool:
    """Tell whether `decision`, just noted, is the fifth refused attack with one face in a row, or the tenth, ..."""
    latest = attention.refused[-1] if attention.refused else None
    return (
        decision.reason in ATTACKS.values()
        and latest is not None
        and latest.probe is visit.probe
        and latest.attacks % SUSPICIOUS == 0
    )


def _must_wait(probe: Embedding, refused: tuple[Refused, ...], now_s: float, policy: Policy) -> bool:
    """Tell whether this face was refused too often in a row, a short time ago."""
    return any(
        person.count >= policy.backoff_after
        and now_s - person.last_s < _wait_s(person, policy)
        and _is_same(person.probe, probe, policy)
        for person in refused
    )


def _wait_s(person: Refused, policy: Policy) -> float:
    """Return how long this person waits after the last refusal."""
    doublings = min(person.count - policy.backoff_after, 20)
    return max(policy.backoff_s, min(policy.backoff_s * 2.0**doublings, LONGEST_WAIT_S))


def _is_same(probe: Embedding, other: Embedding, policy: Policy) -> bool:
    """Tell whether two probes are as near as a grant would ask for: then a mistake is as rare as a wrong grant."""
    return float(probe @ other) >= max(policy.thresholds.values())
