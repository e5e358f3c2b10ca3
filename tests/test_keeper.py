"""The relay's thread with gpiozero's mock pins: inputs are driven as a finger or a contact would, edges are timed."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from house import environment
from laws_keeper import trials
from maskgate import config, keeper
from maskgate.gate import Gate, lock_pins, open_gate
from maskgate.latch import Event, State
from maskgate.values import GateError

SLACK_S = 0.5
"""How late a thread may wake on a busy test machine."""
DOOR = config.Door(
    rex_pin=5, fire_pin=6, contact_pin=16, tamper_pin=26, alarm_pin=24, rex_s=0.3, grace_s=0.2, forced_s=0.1
)


def wait_for(condition: Callable[[], bool], *, within_s: float = 3.0) -> None:
    """Return as soon as `condition` holds; fail after `within_s`."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.002)


class House:
    """A wired gate, with fingers at its inputs."""

    def __init__(self, gate: Gate) -> None:
        """Take the open gate."""
        self.gate = gate
        self._factory = gate._pin.factory
        self.said: list[str] = []

    def drive(self, pin: int, high: bool) -> None:
        """Put an input at a level."""
        device = self._factory.pin(pin)
        (device.drive_high if high else device.drive_low)()

    def level(self, pin: int) -> bool:
        """Read a pin."""
        return bool(self._factory.pin(pin).state)

    def hears(self, *kinds: str) -> None:
        """Wait until all of these have happened since the last time, in this order and nothing else."""

        def heard() -> bool:
            self.said += [happening.kind for happening in self.gate.happenings()]
            return len(self.said) >= len(kinds)

        wait_for(heard)
        assert self.said == list(kinds)
        self.said.clear()

    @property
    def pulses(self) -> list[float]:
        """Return how long the relay was energised each time, seconds."""
        edges = self.gate.edges()
        return [off_s - on_s for (on_s, _), (off_s, _) in zip(edges[::2], edges[1::2], strict=False)]


@contextmanager
def a_house(door: config.Door = DOOR, *, unlock_s: float = 0.3, quiet: bool = True, **how: Any) -> Iterator[House]:
    """Open a gate whose contacts are closed towards ground: door shut, lid on, no fire; the button is not pressed."""
    with open_gate(config.Gate(pins="simulated", unlock_s=unlock_s), door, **how) as gate:
        house = House(gate)
        if quiet:
            for pin in (6, 16, 26):
                house.drive(pin, False)
            wait_for(lambda: gate.doorway.is_open is False and not gate.latch.fire and not gate.doorway.tampered)
            wait_for(lambda: not gate.unlocked)
            time.sleep(DOOR.grace_s)
            gate._pin.clear_states()
            gate._driven_s = time.monotonic()
            gate.happenings()
        yield house


@pytest.fixture
def house() -> Iterator[House]:
    """Hold a quiet house."""
    with a_house() as made:
        yield made


def test_a_press_opens_at_once_for_rex_s_while_the_loop_hangs(house: House) -> None:
    pressed_s = time.monotonic()
    house.drive(5, False)
    house.drive(5, True)
    time.sleep(0.3 + SLACK_S)  # this is the loop, hanging
    [(on_s, on), (off_s, off)] = house.gate.edges()
    assert (on, off) == (True, False)
    assert on_s - pressed_s < SLACK_S
    assert 0.29 < off_s - on_s < 0.3 + SLACK_S
    house.hears("rex")


def test_a_button_held_down_keeps_the_gate_open_until_it_is_let_go(house: House) -> None:
    house.drive(5, False)
    time.sleep(0.3 + SLACK_S)
    assert house.gate.unlocked
    house.drive(5, True)
    wait_for(lambda: not house.gate.unlocked)


def test_a_button_that_is_down_at_the_start_opens_nothing_until_it_is_pressed_again() -> None:
    with a_house(config.Door(rex_pin=5, rex_pressed="high", rex_s=0.2), quiet=False) as house:
        house.gate.beats()
        time.sleep(SLACK_S)
        assert house.gate.edges() == []
        house.drive(5, False)
        house.drive(5, True)
        wait_for(lambda: house.gate.unlocked)


def test_fire_opens_for_as_long_as_it_lasts_and_at_the_start_too(house: House) -> None:
    house.drive(6, True)
    wait_for(lambda: house.gate.unlocked)
    time.sleep(0.5)
    assert house.gate.unlocked
    house.drive(6, False)
    wait_for(lambda: not house.gate.unlocked)
    house.hears("fire", "fire_over")
    with a_house(config.Door(fire_pin=6), quiet=False) as burning:  # a mock input floats to its pull: the wire is cut
        wait_for(lambda: burning.gate.unlocked)
        burning.hears("fire")


@pytest.mark.parametrize("way_out", [5, 6])
def test_in_lockdown_the_ways_out_work_and_no_grant_does(house: House, way_out: int) -> None:
    house.gate.lock_down()
    assert not house.gate.unlock()
    assert house.gate.edges() == []
    house.drive(way_out, way_out == 6)
    wait_for(lambda: house.gate.unlocked)
    house.drive(way_out, way_out != 6)
    wait_for(lambda: not house.gate.unlocked)
    assert house.gate.latch.state is State.LOCKDOWN
    house.gate.release()
    assert house.gate.unlock()


def test_a_lockdown_at_the_start_lets_nobody_in() -> None:
    with a_house(locked_down=True) as house:
        assert not house.gate.unlock()
        assert house.pulses == []


def test_the_gate_is_held_open_for_its_time_and_a_lockdown_ends_it_at_once(house: House) -> None:
    assert house.gate.hold_open(0.5)
    wait_for(lambda: not house.gate.unlocked)
    [pulse] = house.pulses
    assert 0.49 < pulse < 0.5 + SLACK_S
    house.hears("hold_open_over")
    house.gate.hold_open(1000)
    house.gate.lock_down()
    assert not house.gate.unlocked


def test_the_relay_is_released_when_the_door_shuts_behind_somebody() -> None:
    with a_house(unlock_s=30) as house:
        house.gate.unlock()
        house.drive(16, True)
        wait_for(lambda: house.gate.doorway.is_open is True)
        assert house.gate.unlocked
        house.drive(16, False)
        wait_for(lambda: not house.gate.unlocked)
        house.hears("door_opened", "door_closed")


def test_a_forced_door_drives_the_alarm_until_it_is_shut(house: House) -> None:
    house.drive(16, True)
    wait_for(lambda: house.level(24))
    house.drive(16, False)
    wait_for(lambda: not house.level(24))
    house.hears("door_opened", "forced_open", "door_closed")
    assert house.pulses == []


def test_a_lid_that_is_opened_drives_the_alarm(house: House) -> None:
    house.drive(26, True)
    wait_for(lambda: house.level(24))
    house.hears("tamper")


@pytest.mark.parametrize(("pull", "pressed"), [("up", "low"), ("up", "high"), ("down", "low"), ("down", "high")])
def test_a_button_works_at_either_level_with_either_pull(pull: Any, pressed: Any) -> None:
    with a_house(config.Door(rex_pin=5, pull=pull, rex_pressed=pressed, rex_s=0.2), quiet=False) as house:
        house.drive(5, pressed != "high")
        time.sleep(0.1)
        house.gate.happenings()
        house.drive(5, pressed == "high")
        wait_for(lambda: house.gate.latch.pressed)
        house.drive(5, pressed != "high")
        wait_for(lambda: not house.gate.unlocked)


def test_a_change_that_was_never_told_is_caught_up_with(house: House) -> None:
    pin = house.gate._pin.factory.pin(6)
    pin._state = True  # as if the kernel had lost the edge
    for _ in range(3):
        wait_for(house.gate.beats)
    wait_for(lambda: house.gate.unlocked)


def test_a_relay_that_cannot_be_driven_ends_the_gate_with_the_relay_released(house: House) -> None:
    house.gate.unlock()

    def fails(state: bool) -> None:
        if state:
            raise OSError("GPIO is on fire")
        type(house.gate._pin)._set_state(house.gate._pin, state)

    wait_for(lambda: not house.gate.unlocked)
    house.gate._relay._write = lambda value: fails(bool(value))
    with pytest.raises(GateError, match="GPIO is on fire"):
        house.gate.unlock()
    assert not house.gate.unlocked
    with pytest.raises(GateError, match="is not kept any more"):
        house.gate.beats()
    assert house.gate.latch.state is State.FAULT
    assert [happening.kind for happening in house.gate.happenings()] == ["fault"]


def test_a_relay_that_does_not_follow_is_a_fault(house: House) -> None:
    house.gate._relay._write = lambda value: None
    with pytest.raises(GateError, match="does not follow"):
        house.gate.unlock()


def test_a_thread_that_hangs_gives_no_sign_of_life_and_obeys_no_late_order(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ANSWER_S", 0.2)
    assert house.gate.beats()
    wait_for(house.gate.beats)
    go_on = threading.Event()
    monkeypatch.setattr(house.gate._keeper, "_see_to_the_door", lambda now_s: go_on.wait(10))
    time.sleep(0.1)
    house.gate._keeper._messages.put(("contact", False))
    time.sleep(0.1)
    house.gate.beats()
    assert not house.gate.beats()
    with pytest.raises(GateError, match="does not obey"):
        house.gate.unlock()
    go_on.set()
    wait_for(house.gate.beats)
    assert house.gate.edges() == []


def test_what_nobody_collects_is_bounded_and_its_loss_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "REMEMBER", 3)
    for _ in range(3):
        house.drive(26, True)
        house.drive(26, False)
    house.hears("events_lost", "tamper_over", "tamper", "tamper_over")


def test_no_wait_of_the_relays_thread_follows_the_wall_clock(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter waits by the monotonic clock, and the thread asks for no other: a year's jump reaches neither."""
    assert sysconfig.get_config_var("HAVE_SEM_CLOCKWAIT") == 1
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 31_536_000)
    house.gate.unlock()
    monkeypatch.setattr(time, "time", lambda: real() - 31_536_000)
    wait_for(lambda: not house.gate.unlocked)
    [pulse] = house.pulses
    assert 0.29 < pulse < 0.3 + SLACK_S


# In processes of their own: a simulated pin is a file, which holds its level after the process as a real one may.

OPENS = """
import re, sys, time
from pathlib import Path
from maskgate import config, gate
settings = config.Gate(pins="simulated", pins_folder=sys.argv[1], unlock_s=float(sys.argv[2]))
with gate.open_gate(settings, deadman=True) as opened:
    opened.unlock()
    print("open", flush=True)
    exec(sys.argv[3])
"""


def run_open(folder: Path, unlock_s: float, then: str) -> subprocess.Popen[str]:
    """Start a process that opens the gate and then does something; returns once the relay is energised."""
    process = subprocess.Popen(
        [sys.executable, "-c", OPENS, str(folder), str(unlock_s), then],
        env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    assert (folder / "gpio17").read_text() == "1\n"
    return process


def test_a_process_that_stands_still_with_the_interpreters_lock_is_ended_within_half_a_second(tmp_path: Path) -> None:
    """A regular expression that never ends holds the lock: no thread of Python's runs any more."""
    process = run_open(tmp_path, 0.3, "re.match('(a+)+$', 'a' * 64 + 'b')")
    opened_s = time.monotonic()
    assert process.wait(timeout=10) == -14  # SIGALRM
    assert time.monotonic() - opened_s < 0.3 + 0.5 + SLACK_S
    lock_pins(config.Gate(pins="simulated", pins_folder=str(tmp_path)))  # what ExecStopPost= does
    assert (tmp_path / "gpio17").read_text() == "0\n"


def test_a_loop_that_hangs_in_its_own_thread_ends_nothing_and_the_relay_is_released(tmp_path: Path) -> None:
    process = run_open(tmp_path, 0.3, "time.sleep(1.5)")
    time.sleep(0.3 + 0.5)
    assert (tmp_path / "gpio17").read_text() == "0\n"
    assert process.wait(timeout=10) == 0


def test_a_killed_process_leaves_the_pin_as_it_was_and_the_next_start_or_lock_releases_it(tmp_path: Path) -> None:
    process = run_open(tmp_path, 30, "time.sleep(30)")
    process.kill()
    process.wait(timeout=10)
    assert (tmp_path / "gpio17").read_text() == "1\n"
    with open_gate(config.Gate(pins="simulated", pins_folder=str(tmp_path))):
        assert (tmp_path / "gpio17").read_text() == "0\n"


def test_a_simulated_input_follows_its_file(tmp_path: Path) -> None:
    (tmp_path / "gpio5").write_text("1\n")
    settings = config.Gate(pins="simulated", pins_folder=str(tmp_path))
    with open_gate(settings, config.Door(rex_pin=5, rex_s=0.2)) as gate:
        time.sleep(0.1)
        (tmp_path / "gpio5").write_text("0\n")
        wait_for(lambda: (tmp_path / "gpio17").read_text() == "1\n")
        (tmp_path / "gpio5").write_text("1\n")
        wait_for(lambda: (tmp_path / "gpio17").read_text() == "0\n")
        assert [happening.kind for happening in gate.happenings()] == ["rex"]


def test_a_simulated_input_has_its_files_level_from_the_start(tmp_path: Path) -> None:
    for pin in (6, 16, 26):
        (tmp_path / f"gpio{pin}").write_text("0\n")
    with open_gate(config.Gate(pins="simulated", pins_folder=str(tmp_path)), DOOR) as gate:
        time.sleep(0.2)
        assert gate.happenings() == []


def test_events_the_keeper_orders_are_the_latchs(house: House) -> None:
    assert house.gate.unlock(0.2, event=Event.UNLOCK)
    wait_for(lambda: not house.gate.unlocked)
    [pulse] = house.pulses
    assert 0.19 < pulse < 0.2 + SLACK_S


def test_the_relays_law_holds_on_random_events_and_failures() -> None:
    assert trials(2000) == 2000
