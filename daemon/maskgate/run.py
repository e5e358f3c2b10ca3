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

from maskgate import __version__, align, config, decide, lockdown, look, motion, notify
from maskgate.camera import Camera, Frame, open_camera
from maskgate.challenge import Order
from maskgate.chores import Album, Chores
from maskgate.control import listen
from maskgate.desk import Desk
from maskgate.faces import Faces
from maskgate.faces import load as load_faces
from maskgate.gate import Gate, Sign, open_gate
from maskgate.hands import Hands
from maskgate.pixels import Picture
from maskgate.report import Report
from maskgate.rulebook import Rulebook
from maskgate.ruling import Ruling
from maskgate.store import Store, open_store
from maskgate.values import CameraError, Face, ModelError, Sighting, StoreError

log = logging.getLogger("maskgate")

REFRESH_S = 0.5
"""How often the gallery is checked for changes while nobody is there; before a face it is checked every frame."""
PING_S = 1.0
"""How often the watchdog is told that frames are being processed."""
ORDERS = 2
"""Movements that a challenge asks for: guessed at once in one of six."""
MENDABLE = ("mask_required", "second_person_needed")
"""Refusals after which the same face gets another visit without leaving."""
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

    @property
    def form(self) -> str:
        """How the camera lays its pictures out; empty for files."""
        return self.frame.form


class Roster:
    """The gallery as it stands in memory, with the policy that follows from its size."""

    def __init__(self, store: Store | None, faces: Faces, settings: config.Settings) -> None:
        """Read the gallery of `store`; without one nobody is enrolled."""
        self._store, self._faces, self._settings = store, faces, settings
        self._version: int | None = None
        self._checked_s = -np.inf
        self.gallery = faces.gallery([])
        self.policy = look.policy_of(settings, faces, 0)

    def refresh(self, now_s: float, *, every_s: float) -> None:
        """Read the gallery anew if the file has changed; ask the file at most once in `every_s`."""
        # Not negative: the loop's clock may be a film's, which begins long before the one that was read at the start.
        if self._store is None or 0 <= now_s - self._checked_s < every_s:
            return
        self._checked_s = now_s
        try:
            version = self._store.version()
            if version == self._version:
                return
            self.gallery = self._faces.gallery(self._store.templates(self._faces.embedder))
            self._version = version
        except StoreError as error:
            # Who is revoked must not get in because the file cannot be read: nobody is known until it can.
            log.error("gallery cannot be read: %s", error)
            self.gallery, self._version = self._faces.gallery([]), None
        self.policy = look.policy_of(self._settings, self._faces, len(self.gallery))


def draw_orders() -> tuple[Order, ...]:
    """Draw the orders of a challenge, no two alike, so that nobody can know them beforehand."""
    return tuple(secrets.SystemRandom().sample(list(Order), ORDERS))


def attend(
    camera: Camera,
    *,
    faces: Faces,
    roster: Roster,
    settings: config.Settings,
    carry_out: Callable[[decide.Decision, Frame], decide.Decision],
    resting: Callable[[], bool] = lambda: False,
    draw: Callable[[], Sequence[Order]] = draw_orders,
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
        orders = () if roster.policy.challenge == "off" else draw()
        attention, decision = decide.step(attention, camera.clock(), shown, roster.policy, orders)
        if decision is not None:
            decision, wanted = carry_out(decision, frame), decision
            if wanted.granted and not decision.granted:
                attention = _undone(attention, decision)
        visit = attention.visit
        asks = visit.challenge.order if visit and visit.challenge and not visit.decision else None
        yield Moment(frame, sighting, decision, awake, asks, stages)


def _undone(attention: decide.Attention, decision: decide.Decision) -> decide.Attention:
    """Take back a grant: the re-grant interval does not run, and what can be mended may be tried again."""
    attention = replace(attention, grants=attention.grants[:-1])
    if attention.visit is None or decision.reason not in MENDABLE:
        return attention
    return replace(attention, visit=replace(attention.visit, decision=replace(decision, subject=None)))


def serve(
    settings: config.Settings,
    *,
    observe: Callable[[Moment, Gate], None] = lambda moment, gate: None,
    deadman: bool = False,
) -> None:
    """Run the gate until SIGTERM, SIGINT or the end of a replayed source. The relay is driven inactive first and last.

    A camera that fails is retried for ever, with the gate locked and without a ping for the watchdog; where an exit
    button or a fire input is wired, so are networks and a gallery that cannot be opened, for those must work without.
    Everything else that cannot be opened raises its MaskgateError. `observe` sees every moment after it was acted on;
    `deadman` lets the kernel end the process when the relay is not released in time.
    """
    stop = _stop_on_signals()
    locked_down = lockdown.is_on(Path(settings.store.path).parent)
    with open_gate(settings.gate, settings.door, locked_down=locked_down, deadman=deadman) as gate:
        while not stop.is_set():
            try:
                _serve_armed(settings, gate, stop, observe)
                return
            except (ModelError, StoreError) as error:
                if settings.door.rex_pin is None and settings.door.fire_pin is None:
                    raise
                log.error("locked: %s; the ways out work, trying again", error)
                notify.status(f"locked: {error}")
                gate.show("fault")
                stop.wait(LONGEST_WAIT_S)


def _serve_armed(
    settings: config.Settings, gate: Gate, stop: threading.Event, observe: Callable[[Moment, Gate], None]
) -> None:
    """Open all that letting people in takes, and do so."""
    faces = load_faces(Path(settings.models.path), threads=settings.models.threads)
    warm_up(faces, settings.camera)
    with (
        open_store(Path(settings.store.path), key=settings.store.key, create=True) as store,
        listen(Path(settings.control.socket)) as requests,
    ):
        folder = Path(settings.store.path).parent
        ruling = Ruling(Rulebook(settings.rules, folder), store, trust_clock=settings.rules.clock == "trust")
        report = Report(store, settings.report)
        hands = Hands(
            store,
            gate,
            settings.policy,
            Album(store, settings.store),
            ruling=ruling,
            folder=folder,
            report=report,
            model=faces.embedder,
            judge=faces.digests["liveness"],
        )
        roster = Roster(store, faces, settings)
        roster.refresh(time.monotonic(), every_s=0)
        desk = Desk(requests, faces=faces, roster=roster, settings=settings, hands=hands)
        chores = Chores(store, keep_days=settings.store.keep_days)
        hands.note("started", version=__version__, runtime=faces.runtime, models=faces.digests)
        _say_what_the_odds_are(faces, roster, settings)
        try:
            _serve_camera(settings, faces, roster, hands, gate, desk, chores, stop, observe)
        finally:
            notify.stopping()
            hands.report()
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
                for moment in _pinged(moments, gate):
                    if failing:
                        hands.note("camera_back")
                    wait_s, failing = FIRST_WAIT_S, False
                    if moment.asks is not asked and moment.asks is not None:
                        gate.show(ASKING[moment.asks])
                    elif moment.asks is None:
                        gate.show(sign_of(moment))
                    asked = moment.asks
                    hands.report()
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
            _idle(hands, gate, desk, stop, wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)


ASKING: dict[Order, Sign] = {Order.LEFT: "left", Order.RIGHT: "right", Order.CLOSER: "closer"}
"""The sign of each order, shown once when it is given."""


def sign_of(moment: Moment) -> Sign:
    """Return what the light should say of an ordinary moment; decisions show themselves and are played to their end."""
    return "off" if moment.sighting is None else "look"


def _pinged(moments: Iterator[Moment], gate: Gate) -> Iterator[Moment]:
    """Pass moments on; tell the service manager after the first that the gate is armed, then that it is alive.

    The ping comes from here and nowhere else: a loop that hangs, a camera that stops, or a relay's thread that gives no
    sign of life is restarted by the watchdog.
    """
    pinged_s = -np.inf
    for moment in moments:
        yield moment
        now_s = time.monotonic()
        if pinged_s < 0:
            notify.ready()
            notify.status("armed")
        if now_s - pinged_s >= PING_S and gate.beats():
            notify.watchdog()
            pinged_s = now_s


def _idle(hands: Hands, gate: Gate, desk: Desk, stop: threading.Event, wait_s: float) -> None:
    """Wait, answering the administrator and recording what happens at the pins meanwhile."""
    until_s = time.monotonic() + wait_s
    while not stop.is_set() and time.monotonic() < until_s:
        gate.beats()
        hands.report()
        desk.serve(None)
        stop.wait(min(0.2, wait_s))


def warm_up(faces: Faces, camera: config.Camera) -> None:
    """Run every network once on nothing: the first inference is many times slower than the next."""
    nothing = Picture.from_rgb(np.zeros((camera.lores[1], camera.lores[0], 3), np.uint8))
    faces.find(nothing)
    faces.liveness(nothing, Face((0, 0, 100, 100), align.TEMPLATE, 1.0))
    blank = np.zeros((align.SIDE, align.SIDE, 3), np.uint8)
    faces.recognise(blank, blank.copy)


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
