"""Drive the relay, the light and the buzzer through gpiozero. Decides nothing; the relay is inactive first and last.

gpiozero is imported here alone, when a gate is opened. `pins = "simulated"` uses gpiozero's own mock pins, which keep a
record of every edge. The relay is timed by gpiozero's background thread, so a loop that hangs cannot hold it energised.
"""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from maskgate import config
from maskgate.values import GateError

Sign: TypeAlias = Literal["off", "look", "granted", "refused", "fault", "left", "right", "closer"]


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
    "refused": (Beat(0.15, 0.15, 3),  Beat(0.15, 0.15, 3)),
    "fault":   (Beat(0.1, 1.9),       None),
    "left":    (Beat(0.3, 0.2, 1),    Beat(0.3, 0.2, 1)),
    "right":   (Beat(0.3, 0.2, 2),    Beat(0.3, 0.2, 2)),
    "closer":  (Beat(0.1, 0.1, 6),    Beat(0.1, 0.1, 6)),
}  # fmt: skip
"""What the light and the buzzer do for each sign; None is off. The documentation's table is this one."""


class Gate:
    """The open gate hardware; made by `open_gate`, used by one thread."""

    def __init__(self, relay: Any, light: Any, buzzer: Any, *, unlock_s: float, driven_s: float) -> None:
        """Take gpiozero devices (None where nothing is wired); `driven_s` is when the relay was first driven."""
        self._relay, self._light, self._buzzer = relay, light, buzzer
        self._pin = relay.pin
        self._unlock_s, self._driven_s = unlock_s, driven_s
        self._sign: Sign = "off"
        self._busy_until_s = 0.0

    def unlock(self) -> None:
        """Energise the relay for `unlock_s` from now and return at once.

        While it is energised already, the time starts anew: it never adds up. GateError says that no timer could be
        started: the relay is inactive, and the gate must be closed, best by ending the process.
        """
        try:
            self._relay.blink(on_time=self._unlock_s, off_time=0, n=1)
        except BaseException as error:
            # The last timer has been stopped and no new one runs: without this the gate would stay open.
            _rest(self._relay)
            if isinstance(error, Exception):
                raise GateError(f"the relay cannot be timed ({_words(error)}); it was left inactive") from error
            raise

    @property
    def unlocked(self) -> bool:
        """True while the relay is energised."""
        return bool(self._relay.value)

    def show(self, sign: Sign) -> None:
        """Show `sign` by light and buzzer, as in SIGNS, and return at once. Meant to be called with every frame.

        A sign already shown goes on undisturbed, and "granted" and "refused" are played to their end before "off" or
        "look" is taken up; each call of "granted" or "refused" plays it anew.
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
def open_gate(settings: config.Gate) -> Iterator[Gate]:
    """Open the pins, the relay driven inactive before all else and again at the end; GateError when they cannot be."""
    with ExitStack() as pins:
        # The relay first, so that it is closed last and nothing about a light can keep it from being driven inactive.
        factory = pins.enter_context(_factory(settings))
        relay = pins.enter_context(_output(factory, settings.relay_pin, "relay_pin", active_high=settings.active_high))
        driven_s = time.monotonic()
        getattr(relay.pin, "clear_states", lambda: None)()
        light, buzzer = (
            None if pin is None else pins.enter_context(_output(factory, pin, role))
            for pin, role in ((settings.light_pin, "light_pin"), (settings.buzzer_pin, "buzzer_pin"))
        )
        yield Gate(relay, light, buzzer, unlock_s=settings.unlock_s, driven_s=driven_s)


def lock_pins(settings: config.Gate) -> None:
    """Drive the relay inactive and leave it so: what systemd runs after the daemon, however that ended."""
    with _factory(settings) as factory, _output(factory, settings.relay_pin, "relay_pin", settings.active_high):
        pass


@contextmanager
def _output(factory: Any, pin: int, role: str, active_high: bool = True) -> Iterator[Any]:
    """Hold one pin as an output, driven inactive at both ends."""
    from gpiozero import DigitalOutputDevice

    try:
        device = DigitalOutputDevice(pin, active_high=active_high, initial_value=False, pin_factory=factory)
    except Exception as error:
        raise GateError(f"gate.{role} is {pin}: {_why_not(error)}") from error
    try:
        yield device
    finally:
        _rest(device)
        with suppress(RuntimeError):
            device.close()


def _rest(device: Any) -> None:
    """Drive an output inactive and end its timer."""
    device.pin.state = not device.active_high
    # off() ends the timer first, and trips over one whose thread never started: hence the line above.
    with suppress(RuntimeError):
        device.off()


@contextmanager
def _factory(settings: config.Gate) -> Iterator[Any]:
    """Hold the maker of pins, simulated or lgpio's; gpiozero's global default is left alone."""
    try:
        factory = _simulated() if settings.pins == "simulated" else _lgpio()
    except Exception as error:
        raise GateError(f"gate.pins is {settings.pins!r}: {_why_not(error)}") from error
    try:
        yield factory
    finally:
        factory.close()


def _simulated() -> Any:
    """Return a private factory of gpiozero's mock pins."""
    from gpiozero.pins.mock import MockFactory, MockPin

    return MockFactory(pin_class=MockPin)


def _lgpio() -> Any:
    """Return a factory of lgpio pins that are driven to their first level at once and keep their last one."""
    # lgpio makes a named pipe in the working directory when it is imported, which a service cannot write to.
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        import lgpio
        from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin

    class HeldPin(LGPIOPin):  # type: ignore[misc]
        """An lgpio pin for outputs alone."""

        def output_with_state(self, state: bool) -> None:
            """Claim the output at its first level: gpiozero claims it low, which energises an active-low relay."""
            lgpio.gpio_claim_output(self.factory._handle, self._number, int(state))

        def close(self) -> None:
            """Leave the line driven: gpiozero makes it an input, and a floating relay input may be an active one."""

    factory = LGPIOFactory()
    factory.pin_class = HeldPin
    return factory


def _why_not(error: Exception) -> str:
    """Explain in one line why a pin cannot be had."""
    text = _words(error)
    chips = sorted(glob.glob("/dev/gpiochip*"))
    if isinstance(error, ImportError):
        return f"{text}; install gpiozero and lgpio (apt install python3-lgpio)"
    if "GPIO busy" in text or "in use" in text:
        return "another program holds the pin (gpioinfo names it); stop it or choose another pin"
    if not chips or "Pi revision" in text:
        return 'this machine has no GPIO pins; with gate.pins = "simulated" nothing is driven'
    if not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        return f"{chips[0]} may not be opened; run as root or join the group gpio"
    return text


def _words(error: BaseException) -> str:
    """Return what an error says on one line, or at least its name."""
    return " ".join(str(error).split()) or type(error).__name__
