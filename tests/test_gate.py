"""Laws of maskgate.gate, on gpiozero's own mock pins and, where there are none, on the absence of real ones."""

from __future__ import annotations

import glob
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gpiozero import Device

from maskgate import config
from maskgate.gate import SIGNS, Beat, Gate, lock_pins, open_gate
from maskgate.values import GateError

SLACK_S = 0.35
"""How late a thread may wake on a busy test machine."""


def wired(**changes: Any) -> config.Gate:
    """Return settings with simulated pins and a short opening."""
    settings: dict[str, Any] = {"pins": "simulated", "unlock_s": 0.3, "light_pin": 27, "buzzer_pin": 22} | changes
    return config.Gate(**settings)


def wait_for(condition: Callable[[], bool], *, within_s: float = 2.0) -> None:
    """Return as soon as `condition` holds; fail after `within_s`."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.002)


def closed(gate: Gate) -> None:
    """Wait until the relay has been energised and released again."""
    wait_for(lambda: bool(gate.edges()) and not gate.edges()[-1][1])


@pytest.mark.parametrize("active_high", [True, False])
def test_one_grant_is_one_pulse_of_unlock_s(active_high: bool) -> None:
    with open_gate(wired(active_high=active_high)) as gate:
        asked_s = time.monotonic()
        gate.unlock()
        assert time.monotonic() - asked_s < 0.25
        closed(gate)
        (on_s, on), (off_s, off) = gate.edges()
    assert (on, off) == (True, False)
    assert 0 <= on_s - asked_s < SLACK_S
    assert 0.3 - 0.005 <= off_s - on_s < 0.3 + SLACK_S


@pytest.mark.parametrize("active_high", [True, False])
def test_the_relay_pin_is_at_its_inactive_level_before_and_after(active_high: bool) -> None:
    with open_gate(wired(active_high=active_high)) as gate:
        pin = gate._pin
        assert (pin.function, pin.state, gate.unlocked) == ("output", not active_high, False)
        gate.unlock()
        wait_for(lambda: gate.unlocked)
        assert pin.state is active_high
    assert pin.state is not active_high


def test_a_second_grant_starts_the_time_anew_and_never_adds_up() -> None:
    with open_gate(wired()) as gate:
        gate.unlock()
        wait_for(lambda: gate.unlocked)
        time.sleep(0.15)
        again_s = time.monotonic()
        gate.unlock()
        closed(gate)
        edges = gate.edges()
    assert [on for _, on in edges] == [True, False]
    assert 0.3 - 0.005 <= edges[-1][0] - again_s < 0.3 + SLACK_S


def test_a_flood_of_grants_still_ends() -> None:
    with open_gate(wired(unlock_s=0.2)) as gate:
        for _ in range(50):
            gate.unlock()
        last_s = time.monotonic()
        closed(gate)
        assert gate.edges()[-1][0] - last_s < 0.2 + SLACK_S


def test_the_relay_is_released_while_the_thread_that_asked_hangs() -> None:
    with open_gate(wired()) as gate:
        gate.unlock()
        time.sleep(0.3 + 2 * SLACK_S)  # the looking thread, hanging
        assert [on for _, on in gate.edges()] == [True, False]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_loop_the_relay_is_released(error: type[BaseException]) -> None:
    gates: list[Gate] = []

    def loop() -> None:
        with open_gate(wired(unlock_s=30)) as gate:
            gates.append(gate)
            gate.unlock()
            wait_for(lambda: gate.unlocked)
            raise error

    with pytest.raises(error):
        loop()
    assert [on for _, on in gates[0].edges()] == [True, False]


def test_without_a_thread_for_the_relay_there_is_no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(GateError, match="can't start new thread"), open_gate(wired()):
        pass


def test_a_light_that_fails_to_open_leaves_the_relay_inactive() -> None:
    with pytest.raises(GateError, match=r"gate\.light_pin is 17: another program"), open_gate(wired(light_pin=17)):
        pass
    with open_gate(wired()) as gate:
        assert not gate.unlocked


def test_the_global_pins_of_gpiozero_are_left_alone() -> None:
    with open_gate(wired()):
        assert Device.pin_factory is None


def states(device: Any) -> list[bool]:
    """Return the levels a light or buzzer went through, the first one left out."""
    return [state for _, state in device.pin.states[1:]]


def test_a_sign_that_goes_on_is_not_restarted_by_every_frame() -> None:
    with open_gate(wired()) as gate:
        end_s = time.monotonic() + 0.7
        while time.monotonic() < end_s:
            gate.show("look")
            time.sleep(0.01)
        assert states(gate._light) == [True, False]
        assert states(gate._buzzer) == []


def test_a_granted_sign_is_played_to_its_end_before_the_next_look() -> None:
    with open_gate(wired()) as gate:
        gate.show("granted")
        wait_for(lambda: gate._light.value == 1)
        gate.show("off")
        gate.show("look")
        assert gate._light.value == 1
        wait_for(lambda: states(gate._buzzer) == [True, False])
        wait_for(lambda: states(gate._light) == [True, False], within_s=3)
        gate.show("off")
        assert gate._light.value == 0


def test_refused_is_three_flashes_and_three_beeps() -> None:
    with open_gate(wired()) as gate:
        gate.show("refused")
        wait_for(lambda: len(states(gate._buzzer)) == 6 and len(states(gate._light)) == 6)
        time.sleep(0.3)
        assert states(gate._light) == states(gate._buzzer) == [True, False] * 3


def test_a_fault_interrupts_anything() -> None:
    with open_gate(wired()) as gate:
        gate.show("granted")
        gate.show("fault")
        wait_for(lambda: states(gate._light)[-2:] == [True, False], within_s=1)


def test_every_sign_looks_different() -> None:
    lights = [light for light, _ in SIGNS.values()]
    assert len(set(lights)) == len(lights)
    assert Beat(0.15, 0.15, 3).lasts_s == pytest.approx(0.9)


def test_signs_and_grants_work_with_nothing_but_a_relay_wired() -> None:
    with open_gate(wired(light_pin=None, buzzer_pin=None)) as gate:
        for sign in SIGNS:
            gate.show(sign)
        gate.unlock()
        closed(gate)


@pytest.mark.parametrize("active_high", [True, False])
def test_lock_pins_works_without_a_daemon(active_high: bool) -> None:
    lock_pins(wired(active_high=active_high))


@pytest.mark.skipif(bool(glob.glob("/dev/gpiochip*")), reason="this machine has real pins: not driven by a test")
def test_without_pins_the_error_is_one_line_and_nothing_is_left_lying_about(tmp_path: Path) -> None:
    code = (
        "from maskgate import config, gate\n"
        "from maskgate.values import GateError\n"
        "try: gate.lock_pins(config.Gate())\n"
        "except GateError as error: print(error)"
    )
    source = str(Path(config.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    why = (
        'this machine has no GPIO pins; with gate.pins = "simulated" nothing is driven'
        if importlib.util.find_spec("lgpio")
        else "No module named 'lgpio'; install gpiozero and lgpio (apt install python3-lgpio)"
    )
    assert run.stdout == f"gate.pins is 'gpio': {why}\n"
    assert run.stderr == ""
    assert list(tmp_path.iterdir()) == []
