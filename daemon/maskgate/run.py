"""The loop: frames in, decisions out, each recorded before the relay moves. The only file that knows every edge.

`attend` is the loop itself; the gate, the demo, `replay` and `bench` all run it. `serve` is the daemon around it: it
opens the edges, relay first, carries decisions out and survives a camera that fails.
"""

from __future__ import annotations

import logging
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from maskgate import __version__, align, config, decide, look, motion, notify
from maskgate.camera import Camera, Frame, open_camera
from maskgate.challenge import Order
from maskgate.chores import Album, Chores
from maskgate.control import listen
from maskgate.desk import Desk
from maskgate.faces import Faces
from maskgate.faces import load as load_faces
from maskgate.gate import Gate, Sign, open_gate
from maskgate.match import Gallery
from maskgate.pixels import Picture
from maskgate.store import Event, Store, open_store
from maskgate.values import CameraError, GateError, Sighting, StoreError, UnknownSubject

log = logging.getLogger("maskgate")

REFRESH_S = 0.5
"""How often the gallery is checked for changes while nobody is there; before a face it is checked every frame."""
PING_S = 1.0
"""How often the watchdog is told that frames are being processed."""
ORDERS = 2
"""Movements that a challenge asks for: guessed at once in one of six."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Pauses between attempts to open a camera that fails: doubled from the first to the longest."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the loop made of one frame."""

    frame: Frame
    sighting: Sighting | None
    decision: decide.Decision | None
    """As carried out; None for most frames."""
    awake: bool
    """Whether the detector looked at it."""
    asks: Order | None
    """The movement of the head that is being waited for."""
    stages: look.Stages


class Roster:
    """The gallery as it stands in memory, with the policy that follows from its size."""

    def __init__(self, store: Store | None, faces: Faces, settings: config.Settings) -> None:
        """Read the gallery of `store`; without one nobody is enrolled."""
        self._store, self._faces, self._settings = store, faces, settings
        self._version: int | None = None
        self._checked_s = -np.inf
        self.gallery = Gallery([])
        self.policy = look.policy_of(settings, faces, 0)

    def refresh(self, now_s: float, *, every_s: float) -> None:
        """Read the gallery anew if the file has changed; ask the file at most once in `every_s`."""
        if self._store is None or now_s - self._checked_s < every_s:
            return
        self._checked_s = now_s
        try:
            version = self._store.version()
            if version == self._version:
                return
            self.gallery = Gallery(self._store.templates(self._faces.embedder), self._faces.calibration.surplus)
            self._version = version
        except StoreError as error:
            # Who is revoked must not get in because the file cannot be read: nobody is known until it can.
            log.error("gallery cannot be read: %s", error)
            self.gallery, self._version = Gallery([]), None
        self.policy = look.policy_of(self._settings, self._faces, len(self.gallery))


def attend(
    camera: Camera,
    *,
    faces: Faces,
    roster: Roster,
    settings: config.Settings,
    carry_out: Callable[[decide.Decision, Frame], decide.Decision],
    resting: Callable[[], bool] = lambda: False,
    draw: Callable[[], Sequence[Order]] = lambda: draw_orders(),
) -> Iterator[Moment]:
    """Look at each frame of `camera` and decide; yields after each frame, ends with the source.

    `carry_out` records a decision and moves the relay, and returns what really came of it. While `resting()` is true
    faces are seen but nothing is decided (somebody is being enrolled at the gate). `draw` gives the orders of a
    challenge.
    """
    bounds = look.bounds_of(settings.quality)
    attention = decide.Attention()
    scene: motion.Scene | None = None
    awake_until_s = -np.inf
    for frame in camera.frames():
        stages = look.Stages()
        with stages.time("motion"):
            scene, moved = motion.watch(scene, frame.lores.luma())
        if moved >= settings.camera.motion:
            awake_until_s = frame.at_s + settings.camera.awake_s
        awake = frame.at_s <= awake_until_s or attention.visit is not None
        roster.refresh(camera.clock(), every_s=0 if awake else REFRESH_S)
        sighting = None
        if awake:
            sighting = look.sight(
                faces, roster.gallery, frame.main, frame.lores, at_s=frame.at_s, bounds=bounds, stages=stages
            )
        if sighting is not None:
            awake_until_s = max(awake_until_s, frame.at_s + settings.camera.awake_s)
        shown = None if resting() else sighting
        attention, decision = decide.step(attention, camera.clock(), shown, roster.policy, draw())
        if decision is not None:
            decision, wanted = carry_out(decision, frame), decision
            if wanted.granted and not decision.granted:
                # Nothing was opened, so the re-grant interval does not run.
                attention = replace(attention, grants=attention.grants[:-1])
        visit = attention.visit
        asks = visit.challenge.order if visit and visit.challenge and not visit.decision else None
        yield Moment(frame, sighting, decision, awake, asks, stages)


def draw_orders() -> tuple[Order, ...]:
    """Draw the orders of a challenge, no two alike, so that nobody can know them beforehand."""
    return tuple(secrets.SystemRandom().sample(list(Order), ORDERS))


def event_of(decision: decide.Decision, frame: Frame) -> Event:
    """Word a decision for the log."""
    detail: dict[str, object] = {"frames": decision.frames}
    if decision.first_usable_s is not None:
        detail["usable_to_decision_ms"] = round((decision.at_s - decision.first_usable_s) * 1000)
    if decision.fault is not None:
        detail["fault"] = decision.fault
    if frame.origin:
        detail["origin"] = frame.origin
    if decision.verdict.cues:
        detail |= _words_of_liveness(decision)
    if decision.asked:
        detail["asked"] = [order.value for order in decision.asked]
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


def _words_of_liveness(decision: decide.Decision) -> dict[str, object]:
    """Say what each sighting and each cue told of life, and which cue decided."""
    deciding = decision.verdict.deciding
    return {
        "live": [None if live is None else round(live, 3) for live in decision.lives],
        "cue": None if deciding is None else deciding.name,
        "cues": {cue.name: [cue.says.value, cue.value and round(cue.value, 3)] for cue in decision.verdict.cues},
    }


class Hands:
    """What the daemon does about decisions: the record first, then the relay."""

    def __init__(self, store: Store, gate: Gate, policy: config.Policy, album: Album | None = None) -> None:
        """Act on `gate`, write to `store`; pictures of decisions go into the `album`, if there is one."""
        self._store, self._gate, self._policy, self._album = store, gate, policy, album
        self._event_id: int | None = None

    def carry_out(self, decision: decide.Decision, frame: Frame) -> decide.Decision:
        """Record the decision, durably, then open the gate if it is a grant; return what came of it."""
        decision = self._recorded(decision, frame)
        if decision.granted:
            self._open()
        else:
            self._gate.show("refused")
        if self._album is not None and self._event_id is not None:
            self._album.keep(self._event_id, frame.main, granted=decision.granted)
        if decision.suspected:
            self.note("attack_suspected", reason=decision.reason, refused=decide.SUSPICIOUS)
        log.info(
            "decision granted=%s reason=%s subject=%r score=%s threshold=%s margin=%s masked=%s live=%s frames=%d",
            *(str(decision.granted).lower(), decision.reason, decision.subject, _short(decision.score)),
            *(_short(decision.threshold), _short(decision.margin), _short(decision.masked), _short(decision.live)),
            decision.frames,
        )
        return decision

    def note(self, kind: str, **detail: object) -> None:
        """Record an event of the daemon itself; a log that fails is said, and stops nothing."""
        try:
            self._store.record(Event(kind=kind, detail=detail))
        except StoreError as error:
            log.error("event %s could not be recorded: %s", kind, error)

    def _recorded(self, decision: decide.Decision, frame: Frame) -> decide.Decision:
        self._event_id = None
        try:
            self._event_id = self._store.record(event_of(decision, frame))
        except UnknownSubject:
            # Revoked or erased between the look and the record: whatever the policy, this is nobody any more.
            return self._recorded(replace(decision, granted=False, reason="revoked", subject=None), frame)
        except StoreError as error:
            log.error("decision could not be recorded: %s", error)
            if decision.granted and self._policy.when_log_fails == "refuse":
                return replace(decision, granted=False, reason="not_recorded")
            if decision.granted:
                log.critical("admitting %r UNRECORDED: policy.when_log_fails is 'admit'", decision.subject)
        return decision

    def _open(self) -> None:
        try:
            self._gate.unlock()
        except GateError as error:
            # The relay cannot be trusted any more: end the process, which drives it inactive once more.
            self.note("fault", error=str(error))
            raise
        self._gate.show("granted")


def serve(settings: config.Settings, *, observe: Callable[[Moment, Gate], None] = lambda moment, gate: None) -> None:
    """Run the gate until SIGTERM, SIGINT or the end of a replayed source. The relay is driven inactive first and last.

    A camera that fails is retried for ever, with the gate locked and without a ping for the watchdog; everything else
    that cannot be opened raises its MaskgateError. `observe` sees every moment after it was acted on.
    """
    stop = _stop_on_signals()
    with open_gate(settings.gate) as gate:
        faces = load_faces(Path(settings.models.path), threads=settings.models.threads)
        warm_up(faces, settings.camera)
        with (
            open_store(Path(settings.store.path), key=settings.store.key, create=True) as store,
            listen(Path(settings.control.socket)) as requests,
        ):
            hands = Hands(store, gate, settings.policy, Album(store, settings.store))
            roster = Roster(store, faces, settings)
            roster.refresh(time.monotonic(), every_s=0)
            desk = Desk(requests, faces=faces, roster=roster, settings=settings)
            chores = Chores(store, keep_days=settings.store.keep_days)
            hands.note("started", version=__version__, runtime=faces.runtime, models=faces.digests)
            _say_what_the_odds_are(faces, roster, settings)
            try:
                _serve_camera(settings, faces, roster, hands, gate, desk, chores, stop, observe)
            finally:
                notify.stopping()
                hands.note("stopped")
                chores.end(time.monotonic())


def _serve_camera(
    settings: config.Settings,
    faces: Faces,
    roster: Roster,
    hands: Hands,
    gate: Gate,
    desk: Desk,
    chores: Chores,
    stop: threading.Event,
    observe: Callable[[Moment, Gate], None],
) -> None:
    """Attend to the camera; when it fails, say so once, show a fault and open it again after a pause."""
    wait_s, failing = FIRST_WAIT_S, False
    asked: Order | None = None
    while not stop.is_set():
        try:
            with open_camera(settings.camera) as camera:
                moments = attend(
                    camera,
                    faces=faces,
                    roster=roster,
                    settings=settings,
                    carry_out=hands.carry_out,
                    resting=lambda: desk.enrolling,
                )
                for moment in _pinged(moments, camera):
                    if failing:
                        hands.note("camera_back")
                    wait_s, failing = FIRST_WAIT_S, False
                    if moment.asks is not asked and moment.asks is not None:
                        gate.show(ASKING[moment.asks])
                    elif moment.asks is None:
                        gate.show(sign_of(moment))
                    asked = moment.asks
                    desk.serve(moment)
                    chores.look(time.monotonic())
                    observe(moment, gate)
                    if stop.is_set():
                        return
                return
        except CameraError as error:
            if settings.camera.source != "picamera2":
                raise
            notify.status(f"locked: {error}")
            if not failing:
                log.error("locked: %s; trying again", error)
                hands.note("camera_failed", error=str(error))
                gate.show("fault")
            failing = True
            _idle(desk, stop, wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)


ASKING: dict[Order, Sign] = {Order.LEFT: "left", Order.RIGHT: "right", Order.CLOSER: "closer"}
"""The sign of each order, shown once when it is given."""


def sign_of(moment: Moment) -> Sign:
    """Return what the light should say of an ordinary moment; decisions show themselves and are played to their end."""
    return "off" if moment.sighting is None else "look"


def _pinged(moments: Iterator[Moment], camera: Camera) -> Iterator[Moment]:
    """Pass moments on; tell the service manager after the first that the gate is armed, then that it is alive.

    The ping comes from here and nowhere else: a loop that hangs, or a camera that stops, is restarted by the watchdog.
    """
    pinged_s = -np.inf
    for moment in moments:
        yield moment
        now_s = time.monotonic()
        if pinged_s < 0:
            notify.ready()
            notify.status("armed")
        if now_s - pinged_s >= PING_S:
            notify.watchdog()
            pinged_s = now_s


def _idle(desk: Desk, stop: threading.Event, wait_s: float) -> None:
    """Wait, answering the administrator meanwhile."""
    until_s = time.monotonic() + wait_s
    while not stop.is_set() and time.monotonic() < until_s:
        desk.serve(None)
        stop.wait(min(0.2, wait_s))


def warm_up(faces: Faces, camera: config.Camera) -> None:
    """Run every network once on nothing: the first inference is many times slower than the next."""
    faces.find(Picture.from_rgb(np.zeros((camera.lores[1], camera.lores[0], 3), np.uint8)))
    faces.recognise(np.zeros((align.SIDE, align.SIDE, 3), np.uint8))


def _say_what_the_odds_are(faces: Faces, roster: Roster, settings: config.Settings) -> None:
    """Warn when the calibration cannot promise the odds that the owner asked for."""
    policy = settings.policy
    for cover, limit in look.thresholds_of(faces, policy, len(roster.gallery)).items():
        if not limit.supported:
            log.warning(
                "policy.stranger_odds is %d; for %s faces and %d templates the calibration supports no more than %d",
                *(policy.stranger_odds, cover.value, len(roster.gallery)),
                look.odds_of(limit, policy, len(roster.gallery)),
            )


def _stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; in a thread other than the main one nothing sets it."""
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    return stop


def _short(value: float | None) -> str:
    """Write a number for the log line."""
    return "-" if value is None else f"{value:.3f}"
