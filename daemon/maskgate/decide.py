"""Turn a run of sightings into at most one decision a visit. Reads no clock, file or pin.

`step` is a fold: it takes what the gate attends to and what one frame showed, and returns the next state with, now and
then, a decision. It is the only place where a grant is made. Its laws are tested as properties:
- a grant needs `agree` usable, fresh sightings in a row of one subject, each above the threshold of its cover, each
  with the margin; so within a visit raising a threshold never adds a grant, and a stranger is never granted;
- with liveness judged, a grant also needs the network for liveness to call those very sightings live, and no cue to say
  attack; an attack is never granted, no answer is no grant, being stricter never adds a grant;
- one visit ends in at most one decision; two grants of one subject are at least `regrant_s` apart;
- who is refused too often waits; nobody else does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from maskgate import challenge
from maskgate.challenge import Challenge, Order
from maskgate.cues import ENOUGH, UNJUDGED, WATCH_S, Rules, Trail, Verdict, follow, judge
from maskgate.refusals import Refused, lately, must_wait, remember
from maskgate.values import Cover, Embedding, Face, Match, Sighting, needed

ATTACKS = {"passive": "not_live", "carried": "held_picture"}
"""The reason of a visit that this cue refuses."""
COUNTED = ("unknown", "thin_margin", "wavering", "challenge_failed")
"""Other refusals that tell of the person rather than of the picture: who has too many of them waits."""
NO_TRAIL = Trail()
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
    challenge: Literal["off", "when_unsure", "always"] = "off"
    """Whether a person must also move as told."""

    @property
    def in_a_row(self) -> int:
        """Agreeing sightings that a grant needs: enough for liveness, too, where it is judged."""
        return self.agree if self.liveness is None else max(self.agree, ENOUGH)

    @property
    def alike(self) -> float:
        """Cosine from which two probes are one person's: a grant's score, so that mistakes are about as rare."""
        return max(self.thresholds.values())


@dataclass(frozen=True, slots=True)
class Look:
    """What is told of one usable sighting once its pictures are gone."""

    at_s: float
    score: float | None
    """None when nobody is enrolled."""
    margin: float | None
    masked: float
    live: float | None
    ms: Mapping[str, float] = field(default_factory=dict, compare=False)


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
    seen: tuple[Look, ...] = ()
    """Each usable sighting in turn."""
    policy: Policy | None = field(default=None, compare=False)
    """What was in force."""
    verdict: Verdict = UNJUDGED
    """What the cues said; empty when liveness was not judged."""
    asked: tuple[Order, ...] = ()
    """The movements of the head that were asked for."""
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
    """Every usable sighting, without its backdrop: what liveness is judged on."""
    trail: Trail = NO_TRAIL
    """What they showed between them, where liveness is judged."""
    challenge: Challenge | None = None
    counted: int = 0
    """Looks before the challenge was passed: the policy's looks and patience begin anew with it."""
    counted_s: float | None = None
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
    """Usable sightings, after the decision, of somebody else's face, and none of the same one since."""
    elsewhere: int = 0
    """Sightings in a row, after the decision, too far off to be the same face."""


@dataclass(frozen=True, slots=True)
class Attention:
    """All the gate keeps in mind: the visit it attends to, whom it let in lately and whom it refused."""

    visit: Visit | None = None
    grants: tuple[tuple[str, float], ...] = ()
    """Subject and time of each grant within the re-grant interval."""
    refused: tuple[Refused, ...] = ()


def step(
    attention: Attention, now_s: float, sighting: Sighting | None, policy: Policy, orders: Sequence[Order] = ()
) -> tuple[Attention, Decision | None]:
    """Take in what one frame showed; `sighting` is None for a frame without a face. `now_s` never goes backwards.

    `orders`, drawn by chance for this very frame, are given to the face if it is to be challenged now; without any the
    challenge has failed.
    """
    visit = attention.visit
    if visit is not None and _is_over(visit, now_s, sighting, policy):
        # Whoever stands there now begins with the next frame: one step makes at most one decision.
        decision = _parting(visit, now_s, policy)
        return _note(replace(attention, visit=None), visit, decision, policy)
    if sighting is None:
        return attention, None
    if visit is None:
        visit = Visit(sighting.at_s, sighting.at_s, sighting.face)
    if visit.decision is not None and _is_elsewhere(visit, sighting):
        # Once may be the detector's mistake, which must not make the same person's stay a second visit.
        gone = None if visit.elsewhere >= policy.agree else replace(visit, elsewhere=visit.elsewhere + 1)
        return replace(attention, visit=gone), None
    visit = replace(visit, last_s=max(sighting.at_s, visit.last_s), face=sighting.face, elsewhere=0)
    if visit.decision is not None:
        return replace(attention, visit=_after(visit, attention.refused, now_s, sighting, policy)), None
    visit = _challenged(_look(visit, now_s, sighting, policy), now_s, sighting, orders, policy)
    decision = _decide(visit, attention, now_s, policy)
    if decision is not None:
        # A decided visit may go on for hours: it keeps no pictures.
        visit = replace(visit, decision=decision, seen=(), streak=(), best=None, trail=NO_TRAIL)
    return _note(replace(attention, visit=visit), visit, decision, policy)


def _is_over(visit: Visit, now_s: float, sighting: Sighting | None, policy: Policy) -> bool:
    """Tell whether the face has left: unseen for `gone_s`, or, before a decision, seen too far off to be it."""
    if now_s - visit.last_s > policy.gone_s:
        return True
    return sighting is not None and visit.decision is None and _is_elsewhere(visit, sighting)


def _is_elsewhere(visit: Visit, sighting: Sighting) -> bool:
    """Tell whether what is seen now is too far off, or too large or small, to be the visit's face."""
    (x, y), (u, v) = visit.face.centre, sighting.face.centre
    size, other = visit.face.height, sighting.face.height
    return max(abs(x - u), abs(y - v)) > max(size, other) or not 0.4 < size / max(other, 1e-6) < 2.5


def _after(
    visit: Visit, refused: tuple[Refused, ...], now_s: float, sighting: Sighting, policy: Policy
) -> Visit | None:
    """Keep a decided visit going; drop it when somebody else stands there, or a refused face may try again."""
    assert visit.decision is not None  # the caller asks for decided visits alone
    waits = visit.decision.reason == "backing_off" and _must_wait(visit, refused, now_s, policy)
    was_let_in = visit.decision.reason in ("granted", "just_granted")
    if not was_let_in and not waits and now_s - visit.decision.at_s >= policy.retry_s:
        return None
    if not sighting.usable or sighting.probe is None or visit.probe is None:
        return visit
    is_same = float(visit.probe @ sighting.probe) >= policy.alike or _is_still(visit.decision, sighting, policy)
    strange = 0 if is_same else visit.strange + 1
    return None if strange > policy.agree else replace(visit, strange=strange)


def _is_still(decision: Decision, sighting: Sighting, policy: Policy) -> bool:
    """Tell whether whom the decision was about is recognised still: a face far off looks unlike the same one near."""
    match = sighting.match
    if match is None or match.subject != decision.subject:
        return False
    return match.score >= needed(policy.thresholds, sighting.masked) and match.margin >= policy.margin


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
        seen=(*visit.seen, replace(sighting, backdrop=None)),
        trail=visit.trail if policy.liveness is None else follow(visit.trail, sighting),
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


def _challenged(visit: Visit, now_s: float, sighting: Sighting, orders: Sequence[Order], policy: Policy) -> Visit:
    """Go on with a challenge, or begin one when nothing else is left that keeps the visit from a grant."""
    asked = visit.challenge
    if asked is not None and asked.order is not None:
        asked = challenge.see(asked, sighting, now_s)
        visit = replace(visit, challenge=asked)
        # A fresh streak, and liveness of it: who answered must still be who was recognised.
        return replace(visit, streak=(), counted=visit.looks, counted_s=now_s) if asked.passed else visit
    if asked is not None or policy.challenge == "off" or not _may_pass(visit, policy):
        return visit
    unsure = policy.liveness is None or (_verdict(visit, policy).live or 0.0) < policy.liveness.sure
    if policy.challenge == "when_unsure" and not unsure:
        return visit
    return replace(visit, challenge=challenge.begin(orders, visit.streak[-1], now_s))


def _may_pass(visit: Visit, policy: Policy) -> bool:
    """Tell whether the visit's streak is full, and live where that is judged."""
    if len(visit.streak) < policy.in_a_row or len(visit.named) > 1:
        return False
    return policy.liveness is None or (_was_watched(visit) and _verdict(visit, policy).is_live)


def _was_watched(visit: Visit) -> bool:
    """Tell whether the visit's usable sightings span the time that liveness asks for."""
    return visit.first_usable_s is not None and visit.seen[-1].at_s - visit.first_usable_s >= WATCH_S


def _weigh(visit: Visit, sighting: Sighting, policy: Policy) -> Visit:
    """Lengthen the streak, start it anew or break it."""
    match = sighting.match
    if match is None or match.score < needed(policy.thresholds, sighting.masked):
        return replace(visit, streak=())
    if match.margin < policy.margin:
        return replace(visit, streak=(), thin=visit.thin + 1)
    return replace(visit, streak=(*visit.streak, sighting), named=visit.named | {match.subject})


def _decide(visit: Visit, attention: Attention, now_s: float, policy: Policy) -> Decision | None:
    """Decide an undecided visit, or None to look on."""
    if visit.first_usable_s is None:
        waited = now_s - visit.first_s >= 2 * policy.patience_s
        return _refusal(visit, now_s, "stale" if visit.stale else "poor_picture", policy) if waited else None
    if _must_wait(visit, attention.refused, now_s, policy):
        return _refusal(visit, now_s, "backing_off", policy)
    if len(visit.named) > 1:
        return _refusal(visit, now_s, "wavering", policy)
    if visit.challenge is not None and visit.challenge.failed:
        return _refusal(visit, now_s, "challenge_failed", policy)
    if visit.challenge is not None and visit.challenge.order is not None:
        return None
    since_s = visit.first_usable_s if visit.counted_s is None else visit.counted_s
    recognised = len(visit.streak) >= policy.in_a_row
    looked = visit.looks - visit.counted >= policy.looks and (policy.liveness is None or _was_watched(visit))
    ended = looked or now_s - since_s >= policy.patience_s
    if not recognised and not ended:
        return None
    if (attack := _verdict(visit, policy).attack) is not None:
        return _refusal(visit, now_s, ATTACKS[attack.name], policy)
    if _may_pass(visit, policy):
        return _grant(visit, attention, now_s, policy)
    if ended:
        return _refusal(visit, now_s, "no_liveness" if recognised else _why_not(visit), policy)
    return None


def _verdict(visit: Visit, policy: Policy) -> Verdict:
    """Ask the cues about an undecided visit; an empty verdict where liveness is not judged."""
    return UNJUDGED if policy.liveness is None else judge(visit.seen, visit.streak, visit.trail, policy.liveness)


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
    """Refuse, for `reason`; what was taken for a subject, and not for alive, is recorded under that subject's name."""
    refusal = _outcome(visit, now_s, visit.best, reason, policy)
    lifeless = reason in (*ATTACKS.values(), "challenge_failed", "no_liveness")
    return replace(refusal, subject=next(iter(visit.named)) if lifeless and len(visit.named) == 1 else None)


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
        threshold=needed(policy.thresholds, shown.masked) if shown else None,
        masked=shown.masked if shown else None,
        live=verdict.live,
        seen=tuple(map(_told, visit.seen)),
        policy=policy,
        verdict=verdict,
        asked=visit.challenge.given if visit.challenge else (),
        frames=visit.looks,
        first_s=visit.first_s,
        first_usable_s=visit.first_usable_s,
        fault=Counter(visit.faults).most_common(1)[0][0] if visit.faults else None,
    )


def _told(sighting: Sighting) -> Look:
    """Leave out of a sighting what tells who it was."""
    match = sighting.match
    score, margin = (match.score, match.margin) if match else (None, None)
    return Look(sighting.at_s, score, margin, sighting.masked, sighting.live, sighting.ms)


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
        otherwise = "left" if visit.challenge is None or visit.challenge.passed else "challenge_failed"
        return _refusal(visit, now_s, ATTACKS[attack.name] if attack else otherwise, policy)
    return _refusal(visit, now_s, "stale" if visit.stale else "poor_picture", policy)


def _note(
    attention: Attention, visit: Visit, decision: Decision | None, policy: Policy
) -> tuple[Attention, Decision | None]:
    """Keep in mind what must outlive the visit that `decision` ended, if it did; return it, an alarm if it is one."""
    if decision is None:
        return attention, None
    grants = tuple(grant for grant in attention.grants if decision.at_s - grant[1] < policy.regrant_s)
    if decision.granted and decision.subject is not None:
        grants = (*grants, (decision.subject, decision.at_s))
    refused = _remember(attention.refused, visit, decision, policy)
    is_fifth = decision.reason in ATTACKS.values() and bool(refused) and refused[-1].attacks % SUSPICIOUS == 0
    return replace(attention, grants=grants, refused=refused), replace(decision, suspected=is_fifth)


def _remember(refused: tuple[Refused, ...], visit: Visit, decision: Decision, policy: Policy) -> tuple[Refused, ...]:
    """Count a decision that tells of the person, rather than of the picture, against or for the face."""
    attack = decision.reason in ATTACKS.values()
    counts = decision.granted or attack or decision.reason in COUNTED
    if visit.probe is None or not counts:
        return lately(refused, decision.at_s)
    return remember(refused, visit.probe, decision.at_s, granted=decision.granted, attack=attack, alike=policy.alike)


def _must_wait(visit: Visit, refused: tuple[Refused, ...], now_s: float, policy: Policy) -> bool:
    """Tell whether this visit's face was refused too often in a row, a short time ago."""
    return visit.probe is not None and must_wait(
        refused, visit.probe, now_s, after=policy.backoff_after, backoff_s=policy.backoff_s, alike=policy.alike
    )
