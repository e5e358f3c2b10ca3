"""Pins through gpiozero: outputs driven inactive at both ends, inputs that tell their changes. Knows no lock or door.

gpiozero is imported here alone, when pins are opened. `pins = "simulated"` uses gpiozero's own mock pins, which keep a
record of every edge; with a folder, each pin is also a file in it, which holds its level as a real pin would after the
process has died, and by which tests and tinkerers see outputs and drive inputs.
"""

from __future__ import annotations

import glob
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from maskgate import config
from maskgate.values import GateError, one_line

WATCH_S = 0.01
"""How often the files of simulated inputs are read."""


class Input:
    """One input; made by `open_input`."""

    def __init__(self, device: Any, *, active_high: bool, pulled_up: bool | None) -> None:
        self._device, self._active_high = device, active_high
        # gpiozero calls active what the pull is not.
        self._inverted = pulled_up is not None and pulled_up is active_high

    @property
    def active(self) -> bool:
        """Whether the pin is at its active level now."""
        return bool(self._device.pin.state) is self._active_high

    def tell(self, changed: Callable[[bool], None]) -> None:
        """Call `changed` with True when it becomes active, with False when it ends; from a thread of gpiozero's."""
        self._device.when_activated = lambda: changed(not self._inverted)
        self._device.when_deactivated = lambda: changed(self._inverted)


@contextmanager
def open_factory(settings: config.Gate) -> Iterator[Any]:
    """Hold the maker of pins, simulated or lgpio's; gpiozero's global default is left alone."""
    try:
        factory = _simulated(settings.pins_folder) if settings.pins == "simulated" else _lgpio()
    except Exception as error:
        raise GateError(f"gate.pins is {settings.pins!r}: {_why_not(error)}") from error
    try:
        yield factory
    finally:
        factory.close()


@contextmanager
def open_output(factory: Any, pin: int, role: str, *, active_high: bool = True) -> Iterator[Any]:
    """Hold one pin as an output, driven inactive at both ends; `role` is the setting that names it."""
    from gpiozero import DigitalOutputDevice

    try:
        device = DigitalOutputDevice(pin, active_high=active_high, initial_value=False, pin_factory=factory)
    except Exception as error:
        raise GateError(f"{role} is {pin}: {_why_not(error)}") from error
    try:
        yield device
    finally:
        rest(device)
        with suppress(RuntimeError):
            device.close()


@contextmanager
def open_input(
    factory: Any, pin: int, role: str, *, active: Literal["high", "low"], pull: str, bounce_s: float
) -> Iterator[Input]:
    """Hold one pin as an input; changes shorter than `bounce_s` are not told (simulated pins do not bounce)."""
    from gpiozero import DigitalInputDevice

    how: dict[str, Any] = {"pull_up": {"up": True, "down": False, "off": None}[pull]}
    if how["pull_up"] is None:
        how["active_state"] = active == "high"
    try:
        device = DigitalInputDevice(pin, bounce_time=bounce_s or None, pin_factory=factory, **how)
    except Exception as error:
        raise GateError(f"{role} is {pin}: {_why_not(error)}") from error
    try:
        yield Input(device, active_high=active == "high", pulled_up=how["pull_up"])
    finally:
        device.close()


def rest(device: Any) -> None:
    """Drive an output inactive and end its timer."""
    device.pin.state = not device.active_high
    # off() ends the timer first, and trips over one whose thread never started: hence the line above.
    with suppress(RuntimeError):
        device.off()


def _simulated(folder: str) -> Any:
    """Return a private factory of gpiozero's mock pins, which are files in `folder` unless that is empty."""
    from gpiozero.pins.mock import MockFactory, MockPin

    if not folder:
        return MockFactory(pin_class=MockPin)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)

    class FilePin(MockPin):  # type: ignore[misc]
        """A mock pin that is a file with 0 or 1: an output writes it, an input follows it."""

        @property
        def file(self) -> Path:
            """Where the level stands."""
            return place / f"gpio{self.info.name.removeprefix('GPIO')}"

        def _change_state(self, value: bool) -> bool:
            if self.function == "output" and _level(self.file) is not value:
                self.file.write_text(f"{value:d}\n")
            return bool(super()._change_state(value))

        def _set_pull(self, value: str) -> None:
            super()._set_pull(value)
            self.follow()  # at once: a pull must not be taken for a level

        def follow(self) -> None:
            """Take an input's level from its file."""
            level = _level(self.file)
            if self.function == "input" and level is not None:
                (self.drive_high if level else self.drive_low)()

    class FileFactory(MockFactory):  # type: ignore[misc]
        """Reads the files of its inputs until it is closed."""

        def __init__(self) -> None:
            super().__init__(pin_class=FilePin)
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._follow, name="simulated pins", daemon=True)
            self._thread.start()

        def _follow(self) -> None:
            while not self._stop.wait(WATCH_S):
                for pin in list(self.pins.values()):
                    with suppress(AssertionError):  # closed or turned round meanwhile
                        pin.follow()

        def close(self) -> None:
            self._stop.set()
            self._thread.join()
            super().close()

    return FileFactory()


def _level(file: Path) -> bool | None:
    """Read a simulated pin's file; None when it is not there, or is just being written."""
    try:
        return {"0": False, "1": True}.get(file.read_text().strip())
    except OSError:
        return None


def _lgpio() -> Any:
    """Return a factory of lgpio pins that are driven to their first level at once and keep their last one."""
    # lgpio makes a named pipe in the working directory when it is imported, which a service cannot write to.
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        import lgpio
        from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin

    class HeldPin(LGPIOPin):  # type: ignore[misc]
        """An lgpio pin whose output is never let go."""

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
    text = one_line(error)
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
