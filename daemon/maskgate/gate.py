"""The gate's hardware as the loop sees it: orders to the relay, signs by light and buzzer. Decides nothing.

The relay itself belongs to `keeper`, a thread of its own, so a loop that hangs cannot hold it energised.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from maskgate import config
from maskgate.doorway import Doorway
from maskgate.keeper import Happening, Inputs, Keeper
from maskgate.latch import Event, Latch
from maskgate.pins import Input, open_factory, open_input, open_output
from maskgate.values import GateError

Sign: TypeAlias = Literal["off", "look", "granted", "remind", "refused", "fault", "left", "right", "closer"]


@dataclass(frozen=True, slots=True)
class Beat:
    """How a light blinks or a buzzer beeps."""

    on_s: float
    off_s: float
    times: int | None = None
    """None goes on until another sign is shown."""

    @property
    def lasts_s(self) -> float:
        """Seconds until it has ended; 0 for one that goes on."""
        return (self.on_s + self.off_s) * (self.times or 0)


SIGNS: dict[Sign, tuple[Beat | None, Beat | None]] = {
    #           light                 buzzer
    "off":     (None,                 None),
    "look":    (Beat(0.5, 0.5),       None),
    "granted": (Beat(2.0, 0, 1),      Beat(0.5, 0, 1)),
    "remind":  (Beat(0.5, 0.2, 3),    Beat(0.1, 0.1, 5)),
    "refused": (Beat(0.15, 0.15, 3),  Beat(0.15, 0.15, 3)),
    "fault":   (Beat(0.1, 1.9),       None),
    "left":    (Beat(0.3, 0.2, 1),    Beat(0.3, 0.2, 1)),
    "right":   (Beat(0.3, 0.2, 2),    Beat(0.3, 0.2, 2)),
    "closer":  (Beat(0.1, 0.1, 6),    Beat(0.1, 0.1, 6)),
}  # fmt: skip
"""What the light and the buzzer do for each sign; None is off. The documentation's table is this one."""


class Gate:
    """The open gate hardware; made by `open_gate`, used by one thread."""

    def __init__(
        self, keeper: Keeper, relay: Any, light: Any, buzzer: Any, *, unlock_s: float, driven_s: float
    ) -> None:
        """Take gpiozero devices (None where nothing is wired); `driven_s` is when the relay was first driven."""
        self._keeper, self._relay, self._light, self._buzzer = keeper, relay, light, buzzer
        self._pin = relay.pin
        self._unlock_s, self._driven_s = unlock_s, driven_s
        self._sign: Sign = "off"
        self._busy_until_s = 0.0

    def unlock(self, for_s: float | None = None, *, event: Event = Event.GRANT) -> bool:
        """Energise the relay for `for_s` (`gate.unlock_s` if None) from now, and return once it is.

        While it is energised already, times do not add up: the later end counts. False when a lockdown or a fault
        forbids it. GateError says that the relay does not obey: the gate must be closed, best by ending the process.
        """
        return self._keeper.order(event, for_s=self._unlock_s if for_s is None else for_s)

    def hold_open(self, for_s: float) -> bool:
        """Keep the relay energised for so long, or until `release`; False and GateError as for `unlock`."""
        return self._keeper.order(Event.HOLD_OPEN, for_s=for_s)

    def lock_down(self) -> None:
        """Let nobody in until `release`; the exit button and the fire input work on."""
        self._keeper.order(Event.LOCKDOWN)

    def release(self) -> None:
        """End a lockdown, a hold or a fault: the gate is locked."""
        self._keeper.order(Event.RELEASE)

    def beats(self) -> bool:
        """Tell whether the relay's thread gave the last sign of life asked for, and ask anew; GateError: it is gone."""
        return self._keeper.beats()

    def happenings(self, most: int | None = None) -> list[Happening]:
        """Return what happened at the pins since the last call and is to be recorded, oldest first, at most `most`."""
        return self._keeper.happenings(most)

    @property
    def latch(self) -> Latch:
        """The lock as it stands."""
        return self._keeper.latch

    @property
    def doorway(self) -> Doorway:
        """The door as it stands; its `is_open` is None without a contact."""
        return self._keeper.doorway

    @property
    def unlocked(self) -> bool:
        """True while the relay is energised."""
        return bool(self._relay.value)

    def show(self, sign: Sign) -> None:
        """Show `sign` by light and buzzer, as in SIGNS, and return at once. Meant to be called with every frame.

        A sign already shown goes on undisturbed, and "granted", "remind" and "refused" are played to their end before
        "off" or "look" is taken up; each call of one of those plays it anew.
        """
        now_s = time.monotonic()
        if sign in ("off", "look") and now_s < self._busy_until_s:
            return
        lasts_s = max(beat.lasts_s if beat else 0.0 for beat in SIGNS[sign])
        if sign == self._sign and not lasts_s:
            return
        for device, beat in zip((self._light, self._buzzer), SIGNS[sign], strict=True):
            _play(device, beat)
        self._sign, self._busy_until_s = sign, now_s + lasts_s

    def edges(self) -> list[tuple[float, bool]]:
        """Return the relay's edges (monotonic seconds, whether energised), oldest first; none for real pins."""
        at_s, edges = self._driven_s, []
        # The first state is the one it was found in, and has no edge.
        for since_s, high in getattr(self._pin, "states", [None])[1:]:
            at_s += since_s
            edges.append((at_s, bool(high) == self._relay.active_high))
        return edges


def _play(device: Any, beat: Beat | None) -> None:
    """Start `beat` on a light or buzzer, None turns it off; a device of None is not wired."""
    if device is None:
        return
    if beat is None:
        device.off()
    else:
        device.blink(on_time=beat.on_s, off_time=beat.off_s, n=beat.times)


@contextmanager
def open_gate(
    settings: config.Gate, door: config.Door | None = None, *, locked_down: bool = False, deadman: bool = False
) -> Iterator[Gate]:
    """Open the pins, the relay driven inactive before all else and again at the end; GateError when they cannot be.

    `door` says what else is wired, nothing by default. `locked_down` starts in lockdown. `deadman` is for a process of
    its own: the kernel ends it when a relay is not released in time.
    """
    door = door or config.Door()
    with ExitStack() as pins:
        # The relay first, so that it is closed last and nothing about a light can keep it from being driven inactive.
        factory = pins.enter_context(open_factory(settings))
        relay = pins.enter_context(
            open_output(factory, settings.relay_pin, "gate.relay_pin", active_high=settings.active_high)
        )
        driven_s = time.monotonic()
        getattr(relay.pin, "clear_states", lambda: None)()
        light, buzzer, alarm = (
            None if pin is None else pins.enter_context(open_output(factory, pin, role, active_high=high))
            for pin, role, high in (
                (settings.light_pin, "gate.light_pin", True),
                (settings.buzzer_pin, "gate.buzzer_pin", True),
                (door.alarm_pin, "door.alarm_pin", door.alarm_active_high),
            )
        )
        inputs = _inputs(pins, factory, door)
        keeper = Keeper(relay, alarm, inputs, door=door, locked_down=locked_down, deadman=deadman)
        try:
            keeper.start()
        except RuntimeError as error:
            raise GateError(f"the relay cannot be kept ({error}); it was left inactive") from error
        pins.callback(keeper.stop)
        yield Gate(keeper, relay, light, buzzer, unlock_s=settings.unlock_s, driven_s=driven_s)


def _inputs(pins: ExitStack, factory: Any, door: config.Door) -> Inputs:
    """Open the inputs that are wired."""
    wired: dict[str, Input] = {}
    for role, setting, pin, active in (
        ("rex", "rex_pin", door.rex_pin, door.rex_pressed),
        ("fire", "fire_pin", door.fire_pin, door.fire_on),
        ("contact", "contact_pin", door.contact_pin, door.contact_open),
        ("tamper", "tamper_pin", door.tamper_pin, door.tampered),
    ):
        if pin is not None:
            opened = open_input(factory, pin, f"door.{setting}", active=active, pull=door.pull, bounce_s=door.bounce_s)
            wired[role] = pins.enter_context(opened)
    return Inputs(**wired)


def lock_pins(settings: config.Gate) -> None:
    """Drive the relay inactive and leave it so: what systemd runs after the daemon, however that ended."""
    with (
        open_factory(settings) as factory,
        open_output(factory, settings.relay_pin, "gate.relay_pin", active_high=settings.active_high),
    ):
        pass
