"""Orders and rules by the command, to a real daemon: what it does at its pins, what it records, who is refused."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from house import COMMAND, House, environment
from maskgate.control import ask
from maskgate.values import DaemonError


class Running:
    """A house whose daemon runs, without a camera, as it may."""

    started: ClassVar[list[Running]] = []

    def __init__(self, house: House) -> None:
        """Start the daemon."""
        self.house = house
        self.started.append(self)
        self.process = house.start("run", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait(lambda: bool(self.standing()))

    @property
    def energised(self) -> bool:
        """Whether the relay's pin is high."""
        return (self.house.folder / "pins" / "gpio17").read_text() == "1\n"

    def wait(self, condition: object, within_s: float = 30.0) -> None:
        """Wait for a condition."""
        end_s = time.monotonic() + within_s
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < end_s, "waited in vain"
            assert self.process.poll() is None
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        """End the daemon."""
        self.process.kill() if kill else self.process.terminate()
        self.process.wait(timeout=20)

    def lock(self) -> str:
        """Return what `status --json` says of the lock."""
        return str(self.standing()["lock"])

    def standing(self) -> dict[str, Any]:
        """Return what the daemon says of itself, nothing while it does not answer."""
        try:
            return next(iter(ask(self.house.folder / "control.sock", "status")))
        except DaemonError:
            return {}


def a_house(folder: Path, **rules: object) -> House:
    """Make a house whose pins can be seen."""
    gate = {"pins": "simulated", "pins_folder": "pins", "unlock_s": 0.3}
    return House(folder, gate=gate, rules=rules)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Hold a running daemon."""
    try:
        yield Running(a_house(tmp_path))
    finally:
        while Running.started:
            daemon = Running.started.pop()
            if daemon.process.poll() is None:
                daemon.stop(kill=True)


def test_the_gate_is_unlocked_and_held_open_by_order_and_all_of_it_is_recorded(running: Running) -> None:
    house = running.house
    assert house.run("unlock", "--reason", "parcel").out == "unlocked\n"
    running.wait(lambda: not running.energised)
    assert house.run("hold-open", "--for", "60s").out.startswith("held open for 60 s")
    assert (running.energised, running.lock()) == (True, "held_open")
    assert "held_open for" in house.run("status").out
    assert house.run("release").out == "released; the gate is locked\n"
    assert not running.energised
    running.stop()
    [standing] = house.run("log", "--json", "--limit", "0").objects[:1]
    assert standing["kind"] == "started"
    told = [(o["kind"], o["actor"], o["detail"]) for o in house.run("log", "--json").objects if o["actor"]]
    assert told == [
        ("unlock", "root", {"reason": "parcel"}),
        ("hold_open", "root", {"for_s": 60.0}),
        ("release", "root", {}),
    ]
    shown = house.run("log").out
    assert "unlock" in shown
    assert "by root: parcel" in shown
    assert "by root: for 60 s" in shown


def test_a_lockdown_outlives_a_crash_and_held_open_does_not(running: Running) -> None:
    house = running.house
    house.run("hold-open", "--for", "1h")
    running.stop(kill=True)
    assert running.energised  # the pin of a killed process stays as it was
    again = Running(house)
    again.wait(lambda: not again.energised)
    assert again.lock() == "locked"
    house.run("lockdown")
    again.stop(kill=True)
    third = Running(house)
    assert third.lock() == "lockdown"
    assert "is in lockdown" in house.run("unlock").failure
    house.run("release")
    third.stop()
    assert not (house.folder / "lockdown").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="sudo runs as root")
def test_root_is_believed_whom_it_works_for(running: Running) -> None:
    ran = subprocess.run(
        [*COMMAND, "--config", str(running.house.path), "unlock"], env=environment(SUDO_USER="olga"), timeout=60
    )
    assert ran.returncode == 0
    assert ("unlock", None, "olga") in running.house.events()


@pytest.mark.parametrize("args", [("hold-open",), ("hold-open", "--for", "forever"), ("hold-open", "--for", "1d")])
def test_a_hold_needs_a_time(args: tuple[str, ...], tmp_path: Path) -> None:
    assert a_house(tmp_path).run(*args).code == 2


def test_an_order_out_of_bounds_is_refused_by_the_daemon(running: Running) -> None:
    assert "must be 1 to 86400" in running.house.run("hold-open", "--for", "25h").failure
    assert "reason must be" in running.house.run("unlock", "--reason", "a\nb").failure
    assert not running.energised


@pytest.mark.parametrize("order", [("unlock",), ("lockdown",), ("release",), ("hold-open", "--for", "1m")])
def test_without_a_daemon_an_order_fails_in_one_line(order: tuple[str, ...], tmp_path: Path) -> None:
    assert "no daemon is running" in a_house(tmp_path).run(*order).failure


CLEANERS = {
    "holidays": ["12-25"],
    "deny": ["Mallory"],
    "groups": {"cleaners": {"members": ["Cleo"], "schedule": ["tue,thu 14:00-18:00"], "mask": "require"}},
    "people": {"Anna": {"unlock_s": 10.0}},
}


def test_explain_says_in_one_sentence_what_would_happen_and_why(tmp_path: Path) -> None:
    house = a_house(tmp_path, **CLEANERS)
    house.enrol("Cleo", "Anna", "Mallory")
    assert house.run("rules", "explain", "Cleo", "--at", "2026-11-25T19:00").out == (
        "Cleo would be refused (outside_schedule) on Wed 2026-11-25 19:00: may enter tue,thu 14:00-18:00, next from "
        "Thu 2026-11-26 14:00.\n"
    )
    assert house.run("rules", "explain", "Cleo", "--at", "2026-11-26T14:00").out == (
        "Cleo would be let in on Thu 2026-11-26 14:00: may enter tue,thu 14:00-18:00 by the rule of the group "
        "cleaners.\n"
    )
    assert "(mask_required)" in house.run("rules", "explain", "Cleo", "--at", "2026-11-26T14:00", "--bare").out
    assert "(denied)" in house.run("rules", "explain", "Mallory").out
    house.run("rename", "Mallory", "Molly")
    assert "(denied)" in house.run("rules", "explain", "Molly").out
    house.run("revoke", "Anna")
    assert "(revoked)" in house.run("rules", "explain", "Anna").out
    [said] = house.run("rules", "explain", "Cleo", "--at", "2026-11-25T19:00", "--json").objects
    assert (said["granted"], said["reason"]) == (False, "outside_schedule")
    assert "nobody" in house.run("rules", "explain", "Nemo").failure.lower()


def test_the_rules_are_listed_and_checked_against_the_gallery(tmp_path: Path) -> None:
    house = a_house(tmp_path, **CLEANERS)
    house.enrol("Cleo", "Anna")
    assert house.run("rules", "list").out.splitlines() == [
        "everyone: no rule",
        "group cleaners (Cleo): schedule tue,thu 14:00-18:00; mask require",
        "Anna: unlock_s 10.0",
        "deny: Mallory",
        "holidays: 12-25",
    ]
    [listed] = house.run("rules", "list", "--json").objects
    assert listed["groups"]["cleaners"]["members"] == ["Cleo"]
    assert house.run("rules", "check").out.splitlines()[0].startswith("warning: 'Mallory' is not enrolled")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"people": {"Anna": {"schedule": ["mun 08:00-18:00"]}}}, "'mun' is no day"),
        ({"people": {"Anna": {"colour": "red"}}}, "no such setting"),
        ({"holidays": ["christmas"]}, "is no holiday"),
        ({"groups": {"a": {"members": ["Anna"]}, "b": {"members": ["Anna"]}}}, "in the group a already"),
        ({"people": {"Anna": {"uses": -1}}}, "uses"),
        ({"everyone": {"mask": "maybe"}}, "mask"),
    ],
)
def test_a_mistake_in_a_rule_is_one_line_that_names_it(tmp_path: Path, rules: dict[str, object], said: str) -> None:
    house = a_house(tmp_path, **rules)
    for command in (("rules", "check"), ("config", "check")):
        failure = house.run(*command).failure
        assert said in failure
        assert str(house.path) in failure


def test_config_show_prints_rules_that_can_be_read_back(tmp_path: Path) -> None:
    house = a_house(tmp_path, **CLEANERS)
    again = tmp_path / "again.toml"
    again.write_text(house.run("config", "show").out)
    assert json.dumps(House.run(_named(house, again), "rules", "list", "--json").objects) == json.dumps(
        house.run("rules", "list", "--json").objects
    )


def _named(house: House, path: Path) -> House:
    """Return the same house with another config file."""
    other = House.__new__(House)
    other.folder, other.path, other.gallery = house.folder, path, house.gallery
    return other


def test_rules_are_made_by_the_command_recorded_and_counted_at_once(tmp_path: Path) -> None:
    house = a_house(tmp_path, **CLEANERS)
    house.enrol("Cleo", "Anna")
    house.run("rules", "set", "Anna", "schedule=mon 08:00-09:00; tue 08:00-09:00", "uses=2", "two_persons=yes")
    house.run("rules", "set", "--group", "cleaners", "members=Cyrus", "mask=ignore")
    house.run("rules", "set", "--everyone", "passback_s=60")
    house.run("rules", "deny", "Trudy")
    assert house.run("rules", "list").out.splitlines() == [
        "everyone: passback_s 60.0",
        "group cleaners (Cleo, Cyrus): schedule tue,thu 14:00-18:00; mask ignore",
        "Anna: schedule mon 08:00-09:00, tue 08:00-09:00; uses 2; unlock_s 10.0; two_persons yes",
        "deny: Mallory, Trudy",
        "holidays: 12-25",
    ]
    assert "(outside_schedule)" in house.run("rules", "explain", "Anna", "--at", "2026-11-25T12:00").out
    house.run("rules", "set", "Anna", "schedule=", "uses=", "two_persons=")
    assert "would be let in" in house.run("rules", "explain", "Anna", "--at", "2026-11-25T12:00").out
    assert "(denied)" not in house.run("rules", "explain", "Anna").out
    house.run("rules", "allow", "Trudy")
    assert "settings file denies" in house.run("rules", "allow", "Mallory").failure
    changes = [(kind, subject, actor) for kind, subject, actor in house.events() if kind == "rules_changed"]
    named = [subject for _, subject, _ in changes]
    assert named == ["Anna", None, None, None, "Anna", None]
    assert {actor for _, _, actor in changes} == {"root"} or os.geteuid() != 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Anna", "schedule=mun 08:00-18:00"), "'mun' is no day"),
        (("Anna", "uses=many"), "uses"),
        (("Anna", "mask=maybe"), "mask"),
        (("--group", "others", "members=Cleo"), "in the group cleaners already"),
    ],
)
def test_a_rule_that_cannot_be_is_one_line_and_changes_nothing(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    house = a_house(tmp_path, **CLEANERS)
    house.enrol("Anna")
    assert said in house.run("rules", "set", *words).failure
    assert not (tmp_path / "rules.toml").exists()
    assert "rules_changed" not in [kind for kind, _, _ in house.events()]


@pytest.mark.parametrize("words", [("Anna",), ("uses=3",), ("Anna", "colour=red"), ("--everyone", "Anna", "uses=3")])
def test_a_rule_called_wrongly_is_a_usage_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert a_house(tmp_path).run("rules", "set", *words).code == 2


def test_who_is_erased_is_taken_out_of_the_rules_under_every_name(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    house.enrol("Anna", "Ben")
    house.run("rules", "set", "Anna", "uses=2")
    house.run("rules", "deny", "Anna")
    house.run("rules", "set", "--group", "cleaners", "members=Anna,Ben", "uses=3")
    house.run("rename", "Anna", "Annika")
    assert house.run("erase", "Annika", "--yes").err == ""
    assert "Anna" not in (tmp_path / "rules.toml").read_text()
    assert house.run("rules", "list").out.splitlines()[1:] == ["group cleaners (Ben): uses 3"]


def test_a_settings_file_that_names_who_was_erased_is_warned_of(tmp_path: Path) -> None:
    house = a_house(tmp_path, **CLEANERS)
    house.enrol("Cleo")
    assert "still names them" in house.run("erase", "Cleo", "--yes").err
