"""What comes of decisions and orders: real SQLite, mock pins; the record stands before the relay moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from house import MODEL, embedding_of
from maskgate import clock, config, lockdown
from maskgate.camera import Frame
from maskgate.decide import Decision
from maskgate.gate import Gate, open_gate
from maskgate.hands import Hands
from maskgate.latch import Event as LatchEvent
from maskgate.latch import State
from maskgate.pixels import Picture
from maskgate.rulebook import Rulebook
from maskgate.ruling import Ruling
from maskgate.store import Event, Store, open_store
from maskgate.values import StoreError

PICTURE = Picture.from_rgb(np.zeros((48, 64, 3), np.uint8))
FRAME = Frame(main=PICTURE, lores=PICTURE, at_s=0.0)
DOOR = config.Door(rex_pin=5, contact_pin=16, grace_s=0.0, forced_s=0.0)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Hold a gate with an exit button and a door contact."""
    with open_gate(config.Gate(pins="simulated", unlock_s=0.2), DOOR) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Hold a gallery with three people."""
    with open_store(tmp_path / "gallery.db", create=True) as opened:
        for name in ("Anna", "Ben", "Cleo"):
            opened.enrol(name, [(embedding_of(name), {})], model=MODEL, source="photo", actor="test")
        yield opened


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock be set, whatever this machine is."""
    monkeypatch.setattr(clock, "is_trusted", lambda: True)


def hands_of(store: Store, gate: Gate, policy: config.Policy | None = None, **rules: Any) -> Hands:
    """Return hands that go by `rules` as the settings would have them."""
    raw = {"rules": rules, "store": {"path": str(store.path)}}
    settings = config.parse(raw, store.path.with_name("maskgate.toml"))
    return Hands(
        store, gate, policy or config.Policy(), ruling=Ruling(Rulebook(settings.rules, store.path.parent), store)
    )


def granted(subject: str = "Anna", masked: float | None = 0.0) -> Decision:
    """Return the grant that a good look makes."""
    return Decision(time.monotonic(), True, "granted", subject=subject, masked=masked)


def kinds(store: Store) -> list[str]:
    """Return what was recorded, enrolments left out: reasons of decisions, kinds of the rest."""
    return [event.reason or event.kind for event in store.events() if event.kind != "enrolled"]


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition` holds; fail after a while."""
    end_s = time.monotonic() + 3
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.002)


def pulses(gate: Gate) -> list[float]:
    """Return how long the relay was energised each time, once it is not."""
    wait_for(lambda: not gate.unlocked)
    edges = gate.edges()
    return [off_s - on_s for (on_s, _), (off_s, _) in zip(edges[::2], edges[1::2], strict=True)]


def test_a_grant_that_a_rule_forbids_is_recorded_with_its_reason_and_opens_nothing(store: Store, gate: Gate) -> None:
    hands = hands_of(store, gate, deny=["Anna"])
    decision = hands.carry_out(granted(), FRAME)
    assert (decision.granted, decision.reason, decision.subject) == (False, "denied", "Anna")
    assert kinds(store) == ["denied"]
    assert pulses(gate) == []
    assert hands.carry_out(granted("Ben"), FRAME).granted


def test_a_decision_is_recorded_with_whose_rule_made_it_and_names_nobody(store: Store, gate: Gate) -> None:
    late = {"valid_until": clock.now().date() - timedelta(days=1)}
    hands = hands_of(store, gate, groups={"late": late | {"members": ["Cleo"]}}, deny=["Ben"])
    for name in ("Anna", "Ben", "Cleo"):
        hands.carry_out(granted(name), FRAME)
    told = [(event.reason, event.detail.get("rule")) for event in store.events() if event.kind == "decision"]
    assert told == [("granted", None), ("denied", "deny list"), ("expired", "group late")]
    assert [event.detail.get("terms") for event in store.events(reason="denied")] == [None]
    [terms] = [event.detail["terms"] for event in store.events(reason="expired")]
    assert terms == f"valid until {late['valid_until']}"


def test_who_was_given_more_time_gets_it(store: Store, gate: Gate) -> None:
    hands_of(store, gate, people={"Anna": {"unlock_s": 0.6}}).carry_out(granted(), FRAME)
    [pulse] = pulses(gate)
    assert 0.59 < pulse < 1.1


def test_uses_are_counted_by_the_log_and_so_over_restarts(store: Store, gate: Gate) -> None:
    for reason in ("granted", "granted", "used_up"):
        assert hands_of(store, gate, people={"Cleo": {"uses": 2}}).carry_out(granted("Cleo"), FRAME).reason == reason


def test_uses_count_from_the_first_valid_day_on(store: Store, gate: Gate) -> None:
    store.record(Event("decision", at="2026-11-01T12:00:00.000Z", subject="Cleo", granted=True, reason="granted"))
    rule = {"uses": 1, "valid_from": clock.now().date()}
    assert hands_of(store, gate, people={"Cleo": rule}).carry_out(granted("Cleo"), FRAME).granted
    assert hands_of(store, gate, people={"Cleo": rule}).carry_out(granted("Cleo"), FRAME).reason == "used_up"


def test_passback_counts_over_restarts_and_over_a_clock_that_was_set(
    store: Store, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"people": {"Anna": {"passback_s": 60}}}
    hands = hands_of(store, gate, **rule)
    assert hands.carry_out(granted(), FRAME).granted
    assert hands_of(store, gate, **rule).carry_out(granted(), FRAME).reason == "passback"
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real().replace(year=real().year + 1, day=1))
    assert hands.carry_out(granted(), FRAME).reason == "passback"


def test_two_persons_open_together_and_one_of_them_twice_does_not(store: Store, gate: Gate) -> None:
    hands = hands_of(store, gate, everyone={"two_persons": True})
    said = [hands.carry_out(granted(name), FRAME).reason for name in ("Anna", "Anna", "Ben", "Ben")]
    assert said == ["second_person_needed", "second_person_needed", "granted", "second_person_needed"]


def test_the_second_person_must_come_in_time(store: Store, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    hands = hands_of(store, gate, everyone={"two_persons": True}, second_s=5)
    hands.carry_out(granted("Anna"), FRAME)
    real = time.monotonic
    monkeypatch.setattr("maskgate.ruling.time.monotonic", lambda: real() + 6)
    assert hands._ruling is not None
    assert hands._ruling.of("Ben", masked=None).reason == "second_person_needed"


def test_nobody_comes_before_the_first_of_the_day(store: Store, gate: Gate) -> None:
    store.record(Event("decision", at="2026-11-01T12:00:00.000Z", subject="Anna", granted=True, reason="granted"))
    hands = hands_of(store, gate, everyone={"after_first": True}, people={"Anna": {"first": True}})
    said = [hands.carry_out(granted(name), FRAME).reason for name in ("Ben", "Anna", "Ben")]
    assert said == ["nobody_first", "granted", "granted"]


def test_a_mask_that_is_missing_is_reminded_of_or_required(store: Store, gate: Gate) -> None:
    hands = hands_of(store, gate, everyone={"mask": "remind"}, people={"Ben": {"mask": "require"}})
    assert hands.carry_out(granted("Anna"), FRAME).granted
    assert [event.detail.get("remind") for event in store.events(person="Anna", reason="granted")] == ["mask"]
    assert hands.carry_out(granted("Ben", masked=0.1), FRAME).reason == "mask_required"
    assert hands.carry_out(granted("Ben", masked=0.9), FRAME).granted


def test_a_rule_whose_memory_cannot_be_read_lets_nobody_in(store: Store, gate: Gate) -> None:
    class Forgetful(Store):
        """A store whose log cannot be read."""

        def events(self, **asked: Any) -> Iterator[Event]:
            """Fail as a bad file does."""
            raise StoreError("gallery.db: disk I/O error; check the card")

    hands = hands_of(store, gate, people={"Cleo": {"uses": 2}})
    store.__class__ = Forgetful
    assert hands.carry_out(granted("Cleo"), FRAME).reason == "not_remembered"
    assert hands.carry_out(granted("Anna"), FRAME).granted


def test_in_lockdown_a_grant_is_refused_until_it_is_released(store: Store, gate: Gate) -> None:
    hands = hands_of(store, gate)
    assert hands.obey("lockdown", actor="root", for_s=None, reason="drill") is None
    assert hands.carry_out(granted(), FRAME).reason == "lockdown"
    assert "is in lockdown" in (hands.obey("unlock", actor="root", for_s=None, reason=None) or "")
    assert "is in lockdown" in (hands.obey("hold_open", actor="root", for_s=60.0, reason=None) or "")
    assert pulses(gate) == []
    assert lockdown.is_on(store.path.parent)
    assert hands.obey("release", actor="root", for_s=None, reason=None) is None
    assert not lockdown.is_on(store.path.parent)
    assert hands.carry_out(granted(), FRAME).granted
    assert kinds(store) == ["lockdown", "lockdown", "unlock", "hold_open", "release", "granted"]
    [drill] = [event for event in store.events() if event.kind == "lockdown"]
    assert (drill.actor, drill.detail) == ("root", {"reason": "drill"})


def test_in_fault_a_grant_is_refused(store: Store, gate: Gate) -> None:
    gate._keeper.order(LatchEvent.FAULT)
    assert hands_of(store, gate).carry_out(granted(), FRAME).reason == "gate_fault"


def test_an_order_opens_once_it_is_recorded_and_a_hold_ends_with_its_time(store: Store, gate: Gate) -> None:
    hands = hands_of(store, gate)
    assert hands.obey("unlock", actor="olga", for_s=None, reason="parcel") is None
    assert len(pulses(gate)) == 1
    assert hands.obey("hold_open", actor="olga", for_s=0.4, reason=None) is None
    assert gate.latch.state is State.HELD_OPEN
    assert 0.39 < pulses(gate)[1] < 0.9
    wait_for(lambda: gate.latch.state is State.LOCKED)
    hands.report()
    assert [kind for kind in kinds(store) if kind != "door_opened"] == ["unlock", "hold_open", "hold_open_over"]
    assert {event.actor for event in store.events() if event.kind in ("unlock", "hold_open")} == {"olga"}


@pytest.mark.parametrize(("policy", "opens"), [("refuse", False), ("admit", True)])
@pytest.mark.parametrize("order", ["unlock", "hold_open"])
def test_an_order_that_cannot_be_recorded_goes_by_the_policy(
    store: Store, gate: Gate, policy: Any, opens: bool, order: str
) -> None:
    with open_store(store.path, readonly=True) as dying:
        hands = hands_of(dying, gate, config.Policy(when_log_fails=policy))
        said = hands.obey(order, actor="root", for_s=0.3 if order == "hold_open" else None, reason=None)
        assert (said is None) is opens
        assert bool(pulses(gate)) is opens
        assert hands.obey("lockdown", actor="root", for_s=None, reason=None) is None
        assert gate.latch.state is State.LOCKDOWN
        assert "could not be recorded" in (hands.obey("release", actor="root", for_s=None, reason=None) or "")
        assert gate.latch.state is State.LOCKDOWN


def test_what_happens_at_the_pins_is_recorded_with_the_time_it_happened(store: Store, gate: Gate) -> None:
    pin = gate._pin.factory.pin(5)
    pin.drive_low()
    wait_for(lambda: gate.unlocked)
    pressed = datetime.now().astimezone()
    time.sleep(0.5)
    hands_of(store, gate).report()
    [rex] = [event for event in store.events() if event.kind == "rex"]
    assert abs((datetime.fromisoformat(rex.at) - pressed).total_seconds()) < 0.4


def test_a_clock_that_is_set_or_was_never_set_is_recorded(
    store: Store, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = hands_of(store, gate)
    hands.report()
    real = time.time
    monkeypatch.setattr("maskgate.hands.CLOCK_S", 0.0)
    monkeypatch.setattr(time, "time", lambda: real() + 31_536_000)
    hands.report()
    monkeypatch.setattr(clock, "is_trusted", lambda: False)
    for _ in range(2):
        hands.report()
    monkeypatch.setattr(clock, "is_trusted", lambda: True)
    hands.report()
    said = [kind for kind in kinds(store) if kind.startswith("clock")]
    assert said == ["clock_changed", "clock_untrusted", "clock_trusted"]
    [event] = [event for event in store.events() if event.kind == "clock_changed"]
    assert event.detail["by_s"] == pytest.approx(31_536_000, abs=2)


def test_with_a_clock_that_was_never_set_a_schedule_lets_nobody_in_and_no_schedule_everybody(
    store: Store, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "is_trusted", lambda: False)
    hands = hands_of(store, gate, people={"Cleo": {"schedule": ["daily 00:00-24:00"]}})
    assert hands.carry_out(granted("Cleo"), FRAME).reason == "clock_untrusted"
    assert hands.carry_out(granted("Anna"), FRAME).granted
    told = hands_of(store, gate, people={"Cleo": {"schedule": ["daily 00:00-24:00"]}}, when_clock_untrusted="allow")
    assert told.carry_out(granted("Cleo"), FRAME).granted


def test_a_contact_that_chatters_fills_no_log(store: Store, gate: Gate) -> None:
    hands = hands_of(store, gate)
    pin = gate._pin.factory.pin(16)
    for _ in range(1500):
        pin.drive_low()
        pin.drive_high()
    gate.lock_down()  # answered after all of that
    for _ in range(20):
        hands.report()
    assert 30 <= len(kinds(store)) <= 32
    wait_for(lambda: bool(hands.report() or len(kinds(store)) > 32))
    assert "events_lost" in {happening.kind for happening in gate.happenings()} | set(kinds(store))
