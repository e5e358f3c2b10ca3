"""The relay's thread under random events and failures, its clock simulated: how long the pin really stays energised.

The thread's own code runs, turn by turn, on a relay and inputs of gpiozero's kind; only waiting is left out. Between a
turn that is due and the turn that is taken, up to LATE_S pass, as on a busy board; now and then an order comes late,
or the relay's driver fails. The loop is not there at all: nothing here waits for it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from maskgate import config, doorway, keeper, latch
from maskgate.keeper import Inputs, Keeper, Order
from maskgate.latch import Event, State

UNLOCK_S, REX_S = 3.0, 5.0
LATE_S = 0.08
"""A sixth of what the law allows."""
DOOR = config.Door(rex_s=REX_S)


class Time:
    """What `time.monotonic` says."""

    now_s = 1000.0

    def monotonic(self) -> float:
        """Return the simulated time."""
        return self.now_s


class Relay:
    """An output whose driver may fail."""

    active_high = True

    def __init__(self, clock: Time) -> None:
        """Be inactive."""
        self._clock, self._on = clock, False
        self.fails = False
        self.since_s = inf
        self.pin = self

    @property
    def value(self) -> bool:
        """Read the level, or drive it."""
        return self._on

    @value.setter
    def value(self, on: bool) -> None:
        if on and self.fails:
            raise OSError("the driver failed")
        if on and not self._on:
            self.since_s = self._clock.now_s
        self._on = on

    @property
    def state(self) -> bool:
        """Be its own pin."""
        return self._on

    @state.setter
    def state(self, high: bool) -> None:
        self._on = high

    def off(self) -> None:
        """Drive it inactive."""
        self._on = False


class Wire:
    """An input."""

    def __init__(self) -> None:
        """Be inactive, untold."""
        self.active = False
        self.changed: Callable[[bool], None] = lambda active: None

    def tell(self, changed: Callable[[bool], None]) -> None:
        """Take whom to tell."""
        self.changed = changed


@contextmanager
def simulated() -> Iterator[Time]:
    """Put a simulated clock under the keeper, and have it quiet."""
    clock, real, level = Time(), keeper.time, keeper.log.level
    keeper.time = clock  # type: ignore[assignment]
    keeper.log.setLevel(logging.CRITICAL + 1)
    try:
        yield clock
    finally:
        keeper.time = real
        keeper.log.setLevel(level)


class Trial:
    """One keeper, what it is allowed, and what it does."""

    def __init__(self, clock: Time, dice: random.Random) -> None:
        """Start it, now and then in lockdown."""
        self.clock, self.dice, self.relay = clock, dice, Relay(clock)
        self.wires = {role: Wire() for role in ("rex", "fire", "contact", "tamper")}
        self.sealed = dice.random() < 0.1
        inputs: Any = Inputs(**self.wires)  # type: ignore[arg-type]
        self.keeper = Keeper(self.relay, None, inputs, door=DOOR, locked_down=self.sealed, deadman=False)
        self.leave_s = self.exit_s = -inf
        self.dead = False
        self.turns(self.keeper._listen)

    def turns(self, turn: Callable[[], None]) -> None:
        """Take a turn as the thread's run() does; a failure ends it with the relay at rest."""
        try:
            turn()
        except OSError as error:
            self.dead = True
            self.keeper._fail(error)
            self.keeper._release()

    def passes(self, seconds: float) -> None:
        """Let time pass, with the turns that fall due in it, each a little late."""
        end_s = self.clock.now_s + seconds
        while not self.dead:
            now_s = self.clock.now_s
            due_s = min(
                latch.next_s(self.keeper.latch, now_s),
                doorway.next_s(self.keeper.doorway, now_s, self.keeper._bounds),
            )
            if due_s > end_s:
                break
            self.clock.now_s = due_s + self.dice.random() * LATE_S
            self.check(late_s=LATE_S)
            self.turns(lambda: self.keeper._turn(None))
            self.check()
        self.clock.now_s = max(self.clock.now_s, end_s)
        self.check(late_s=LATE_S)

    def happens(self) -> None:
        """Let one thing happen."""
        dice, wires = self.dice, self.wires
        what = dice.randrange(12)
        if what < 3:
            self.orders((Event.GRANT, Event.UNLOCK, Event.GRANT)[what], late=dice.random() < 0.1)
        elif what < 6:
            self.orders((Event.LOCKDOWN, Event.RELEASE, Event.FAULT)[what - 3])
        elif what < 11:
            role = ("rex", "rex", "fire", "contact", "tamper")[what - 6]
            wires[role].active = not wires[role].active
            if role == "rex" and wires[role].active:
                self.exit_s = self.clock.now_s + REX_S
            wires[role].changed(wires[role].active)
            self.turns(lambda: self.keeper._turn(self.keeper._messages.get_nowait()))
        else:
            self.relay.fails = dice.random() < 0.2

    def orders(self, event: Event, *, late: bool = False) -> None:
        """Give an order, now and then one that has waited too long."""
        now_s = self.clock.now_s
        order = Order(event, now_s + (-1 if late else 1), UNLOCK_S if event in (Event.GRANT, Event.UNLOCK) else 0.0)
        before = self.keeper.latch.state
        self.turns(lambda: self.keeper._turn(order))
        if self.dead:
            return
        obeyed = order.answer.get_nowait()
        if event in (Event.GRANT, Event.UNLOCK):
            assert obeyed is (not late and before not in (State.LOCKDOWN, State.FAULT))
            self.leave_s = now_s + UNLOCK_S if obeyed else self.leave_s
        elif not late:
            self.leave_s = -inf
            self.sealed = event is Event.LOCKDOWN or (self.sealed and event is not Event.RELEASE)

    def check(self, *, late_s: float = 0.0) -> None:
        """Hold what the pin does against what is allowed."""
        now_s = self.clock.now_s
        if self.dead:
            assert not self.relay.value, "a keeper that failed left the relay energised"
            return
        out = self.wires["fire"].active or self.wires["rex"].active or now_s < self.exit_s + late_s
        if self.relay.value:
            assert out or now_s <= self.leave_s + late_s, ("energised without leave", self.keeper.latch)
        if late_s == 0 and self.wires["fire"].active:
            assert self.relay.value, "fire did not open"
        if late_s == 0 and self.sealed:
            assert out or not self.relay.value, "a lockdown let somebody in"


def trials(count: int, *, seed: int = 1) -> int:
    """Try `count` random sequences of events and failures; returns `count`."""
    dice = random.Random(seed)
    with simulated() as clock:
        for _ in range(count):
            trial = Trial(clock, dice)
            for _ in range(8):
                trial.happens()
                trial.check()
                if trial.dead:
                    break
                trial.passes(dice.choice((0.0, 0.05, 1.0, UNLOCK_S, REX_S, 40.0)))
    return count


def laws(share: float = 1.0) -> Iterable[tuple[str, Callable[[], int]]]:
    """Each law in words, and what tries it, at `share` of its full size."""
    yield (
        "the relay: energised no longer than its time and 0.5 s, at rest after any failure of its thread, shut in "
        "lockdown but for button and fire, whatever the rest does (sequences of events and failures)",
        lambda: trials(round(1_000_000 * share)),
    )
