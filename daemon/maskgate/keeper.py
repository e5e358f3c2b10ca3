"""The thread that keeps the relay: its timing, the exit button, the fire input and the door, whatever the rest does.

It owns the pins of the lock and the door; nothing it does waits for a camera, a network, a database or a disk. The loop
hands it orders and collects what is to be recorded. `latch` and `doorway` decide; this carries out.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections import deque
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, TypeAlias

from maskgate import config, doorway, latch
from maskgate.latch import Event, Latch, State
from maskgate.pins import Input, rest
from maskgate.values import GateError, one_line

log = logging.getLogger(__name__)

ANSWER_S = 1.0
"""An order to open is carried out within this, or not at all: a gate must not open when nobody expects it any more."""
SLACK_S = 0.4
"""An energised relay outlives its time by no more than this: then the kernel ends the process."""
LONGEST_WAIT_S = 3600.0
"""The thread's longest sleep."""
REMEMBER = 1000
"""Happenings that wait to be recorded; of more, the oldest are lost, and that is recorded."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to be recorded after it happened."""

    at_s: float
    """Monotonic."""
    kind: str


@dataclass(frozen=True, slots=True)
class Order:
    """What another thread wants of the latch."""

    event: Event
    by_s: float
    """After this it is no longer obeyed."""
    for_s: float = 0.0
    answer: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs that are wired; None where nothing is."""

    rex: Input | None = None
    fire: Input | None = None
    contact: Input | None = None
    tamper: Input | None = None


Message: TypeAlias = Order | tuple[str, bool] | None
"""An order; the name of an input and whether it is active now; None asks for a sign of life."""


class Keeper(threading.Thread):
    """The thread; `start` it once, `stop` it before the pins are closed."""

    def __init__(
        self, relay: Any, alarm: Any, inputs: Inputs, *, door: config.Door, locked_down: bool, deadman: bool
    ) -> None:
        """Take gpiozero devices; `deadman` has the kernel end this process when the relay is not released in time."""
        super().__init__(name="gate", daemon=True)
        self._relay, self._alarm, self._inputs, self._door, self._deadman = relay, alarm, inputs, door, deadman
        self._bounds = doorway.Bounds(door.held_open_s, door.forced_s, door.grace_s, door.alarm_s)
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._happenings: deque[Happening] = deque()
        self._lost = 0
        self._answered = threading.Event()
        self._answered.set()
        self._ending = False
        self._active = {role.name: False for role in fields(Inputs) if getattr(inputs, role.name) is not None}
        self._odd: set[str] = set()
        self.latch = Latch(State.LOCKDOWN if locked_down else State.LOCKED)
        """As it stands; replaced whole, so any thread may read it."""
        self.doorway = doorway.Doorway()
        self.failure: str | None = None
        """Why the thread has ended before it was told to."""

    # -- for the other threads ---------------------------------------------------------------------------------------

    def order(self, event: Event, *, for_s: float = 0.0) -> bool:
        """Have the latch take `event`; False when its state forbids it. GateError when the thread does not obey."""
        opens = event in (Event.GRANT, Event.UNLOCK, Event.HOLD_OPEN)
        order = Order(event, time.monotonic() + (ANSWER_S if opens else inf), for_s)
        self._messages.put(order)
        try:
            # Longer than the order is good for: what is not answered by then was not carried out, nor will be.
            return order.answer.get(timeout=1.5 * ANSWER_S)
        except queue.Empty:
            why = self.failure or "its thread hangs"
            raise GateError(f"the relay does not obey ({why}); the gate must be restarted") from None

    def beats(self) -> bool:
        """Ask for a sign of life, and tell whether the last one asked for was given; GateError when it has ended."""
        if self.failure is not None or not self.is_alive():
            raise GateError(f"the relay is not kept any more ({self.failure or 'its thread has ended'})")
        if not self._answered.is_set():
            return False
        self._answered.clear()
        self._messages.put(None)
        return True

    def happenings(self, most: int | None = None) -> list[Happening]:
        """Return what has happened since the last call, oldest first; with `most` no more, the rest stays."""
        found: list[Happening] = []
        while self._happenings and (most is None or len(found) < most):
            found.append(self._happenings.popleft())
        if self._lost and found:
            self._lost = 0
            found.insert(0, Happening(found[0].at_s, "events_lost"))
        return found

    def stop(self) -> None:
        """End the thread, the relay at rest."""
        self._ending = True
        self._messages.put(None)
        self.join(timeout=2)

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take messages until told to stop; whatever ends it, the relay is released first."""
        try:
            self._listen()
            while not self._ending:
                self._turn(self._next())
        except BaseException as error:
            self._fail(error)
        finally:
            self._release()

    def _fail(self, error: BaseException) -> None:
        """Say why the thread ends before it was told to."""
        self.failure = one_line(error)
        log.critical("the relay is released: %s", self.failure)
        self._take(Event.FAULT, 0.0, time.monotonic())

    def _release(self) -> None:
        """Drive the relay inactive, last of all."""
        rest(self._relay)
        self._arm(inf)

    def _listen(self) -> None:
        """Have the inputs told, and take them as they are: a fire that burns already counts, a button held down not."""
        for role in self._active:
            source: Input = getattr(self._inputs, role)
            source.tell(lambda active, role=role: self._messages.put((role, active)))  # type: ignore[misc]
            self._active[role] = source.active
        if self._active.get("fire"):
            self._take(Event.FIRE_ON, 0.0, time.monotonic())
        self._turn(None)

    def _next(self) -> Message:
        """Wait for a message, or until time alone changes something."""
        now_s = time.monotonic()
        due_s = min(latch.next_s(self.latch, now_s), doorway.next_s(self.doorway, now_s, self._bounds))
        try:
            return self._messages.get(timeout=min(max(due_s - now_s, 0.0), LONGEST_WAIT_S))
        except queue.Empty:
            return None

    def _turn(self, message: Message) -> None:
        """Take one message, drive the relay accordingly, then look at the door."""
        now_s = time.monotonic()
        match message:
            case Order():
                obeyed = now_s <= message.by_s and self._take(message.event, message.for_s, now_s)
                self._drive(now_s)
                message.answer.put(obeyed)
            case (str() as role, bool() as active):
                self._hear(role, active, now_s)
            case None:
                self._take(Event.TICK, 0.0, now_s)
                self._drive(now_s)
                self._catch_up(now_s)
                self._answered.set()
        self._see_to_the_door(now_s)
        self._drive(now_s)

    def _take(self, event: Event, for_s: float, now_s: float) -> bool:
        """Step the latch; tell whether it obeyed."""
        self.latch, notes = latch.step(self.latch, event, now_s, for_s=for_s)
        self._note(now_s, *notes)
        return "withheld" not in notes

    def _hear(self, role: str, active: bool, now_s: float) -> None:
        """Take the change of an input; the relay moves before anything else happens."""
        self._active[role] = active
        if role == "rex":
            self._take(Event.REX_PRESSED if active else Event.REX_RELEASED, self._door.rex_s, now_s)
        elif role == "fire":
            self._take(Event.FIRE_ON if active else Event.FIRE_OFF, 0.0, now_s)
        self._drive(now_s)

    def _catch_up(self, now_s: float) -> None:
        """Take an input's level for its change when twice in a row it is not what was told: once may be a bounce."""
        odd = {role for role, active in self._active.items() if getattr(self._inputs, role).active is not active}
        for role in odd & self._odd:
            self._hear(role, not self._active[role], now_s)
        self._odd = odd - self._odd

    def _see_to_the_door(self, now_s: float) -> None:
        """Fold what the contacts say; a door that shuts locks."""
        self.doorway, notes = doorway.step(
            self.doorway,
            now_s,
            is_open=self._active.get("contact"),
            tampered=self._active.get("tamper", False),
            free=latch.is_open(self.latch, now_s),
            held=self.latch.fire or self.latch.state is State.HELD_OPEN,
            bounds=self._bounds,
        )
        self._note(now_s, *notes)
        for kind, event in (("door_opened", Event.DOOR_OPENED), ("door_closed", Event.DOOR_CLOSED)):
            if kind in notes:
                self._take(event, 0.0, now_s)
        alarming = doorway.is_alarming(self.doorway, now_s)
        if self._alarm is not None and bool(self._alarm.value) is not alarming:
            self._alarm.value = alarming

    def _drive(self, now_s: float) -> None:
        """Put the relay where the latch wants it; GateError when it does not follow."""
        energise = latch.is_open(self.latch, now_s)
        if energise:
            self._arm(latch.end_s(self.latch) - now_s)
        if bool(self._relay.value) is not energise:
            self._relay.value = energise
            if bool(self._relay.value) is not energise:
                raise GateError("the pin does not follow; look for a short circuit")
        if not energise:
            self._arm(inf)

    def _arm(self, left_s: float) -> None:
        """Have the kernel end the process SLACK_S after the time that is left, unless armed anew before; inf disarms.

        This holds when Python itself stands still, in a library that hangs with the interpreter's lock in its hand.
        """
        if self._deadman:
            signal.setitimer(signal.ITIMER_REAL, 0 if left_s == inf else max(left_s, 0) + SLACK_S)

    def _note(self, now_s: float, *kinds: str) -> None:
        """Keep for the log; the newest count when nobody collects them."""
        for kind in kinds:
            if len(self._happenings) >= REMEMBER:
                self._happenings.popleft()
                self._lost += 1
            self._happenings.append(Happening(now_s, kind))
