"""Rules of two files: the command's lie over the settings'; what cannot be used is neither written nor guessed at."""

from __future__ import annotations

import datetime as dt
import os
import stat
from pathlib import Path

import msgspec
import pytest

from maskgate import config
from maskgate.config import Group, Rule, Rules
from maskgate.rulebook import Rulebook
from maskgate.values import BadSetting, StoreError

SETTINGS = Rules(
    deny=("Mallory",),
    everyone=Rule(unlock_s=2.0),
    groups={"cleaners": Group(members=("Cleo",), schedule=("thu 14:00-18:00",), uses=5)},
    people={"Anna": Rule(unlock_s=10.0)},
)


def test_without_a_file_the_settings_count(tmp_path: Path) -> None:
    book = Rulebook(SETTINGS, tmp_path)
    assert book.book() == config.book_of(SETTINGS, tmp_path)
    assert book.made() == Rules()


def test_what_the_command_makes_lies_over_the_settings_setting_by_setting(tmp_path: Path) -> None:
    book = Rulebook(SETTINGS, tmp_path)
    book.replace(
        Rules(
            deny=("Trudy",),
            everyone=Rule(passback_s=60.0),
            groups={"cleaners": Group(members=("Cyrus",), uses=9)},
            people={"Anna": Rule(mask="require"), "Ben": Rule(uses=1)},
        )
    )
    now = book.book()
    assert now.deny == {"Mallory", "Trudy"}
    assert (now.everyone.unlock_s, now.everyone.passback_s) == (2.0, 60.0)
    assert now.groups["cleaners"].members == {"Cleo", "Cyrus"}
    assert now.rule_of(("Cyrus",)).uses == 9
    assert now.rule_of(("Cyrus",)).schedule == config.book_of(SETTINGS, tmp_path).rule_of(("Cleo",)).schedule
    assert (now.people["Anna"].unlock_s, now.people["Anna"].mask) == (10.0, "require")
    assert now.people["Ben"].uses == 1
    assert Rulebook(SETTINGS, tmp_path).book() == now


def test_a_running_gate_sees_a_change_at_once(tmp_path: Path) -> None:
    gate, command = Rulebook(SETTINGS, tmp_path), Rulebook(SETTINGS, tmp_path)
    for deny in (("Ann",), ("Ann", "Bob"), ()):
        command.replace(Rules(deny=deny))
        assert gate.book().deny == {"Mallory", *deny}


def test_a_change_survives_a_power_cut_once_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is denied must not be let in after one: the file is synced under its old name, the folder under the new."""
    synced: list[tuple[bool, list[str]]] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(handle).st_mode), os.listdir(tmp_path)))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    Rulebook(SETTINGS, tmp_path).replace(Rules(deny=("Ann",)))
    assert synced == [(False, ["rules.toml.next"]), (True, ["rules.toml"])]


def test_rules_that_cannot_be_used_are_not_written(tmp_path: Path) -> None:
    book = Rulebook(SETTINGS, tmp_path)
    book.replace(Rules(deny=("Ann",)))
    for bad in (Rules(people={"Ann": Rule(schedule=("mun 1-2",))}), Rules(groups={"b": Group(members=("Cleo",))})):
        with pytest.raises(BadSetting):
            book.replace(bad)
    assert book.made() == Rules(deny=("Ann",))
    assert os.listdir(tmp_path) == ["rules.toml"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("deny = 3", BadSetting),
        ("[people.Ann]\ncolour = 1", BadSetting),
        ("deny = [", BadSetting),
        (b"\xff\xfe", StoreError),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_no_rules(
    tmp_path: Path, text: str | bytes, error: type[Exception]
) -> None:
    (tmp_path / "rules.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error) as caught:
        Rulebook(SETTINGS, tmp_path).book()
    assert len(str(caught.value).splitlines()) == 1
    assert str(tmp_path / "rules.toml") in str(caught.value)


def test_the_file_is_for_the_gallerys_owner_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(tmp_path, 65_534, 65_534)
    Rulebook(SETTINGS, tmp_path).replace(Rules(deny=("Ann",)))
    state = (tmp_path / "rules.toml").stat()
    assert stat.S_IMODE(state.st_mode) == 0o600
    assert state.st_uid == tmp_path.stat().st_uid


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        Rulebook(SETTINGS, tmp_path / "none").replace(Rules(deny=("Ann",)))


def test_every_setting_of_a_rule_survives_its_file(tmp_path: Path) -> None:
    rule = Rule(
        schedule=("daily 00:00-24:00",), valid_from=dt.date(2026, 1, 1), valid_until=dt.date(2026, 2, 1), uses=3,
        unlock_s=4.0, two_persons=True, first=False, after_first=True, passback_s=5.0, mask="remind",
    )  # fmt: skip
    assert None not in msgspec.structs.astuple(rule)
    Rulebook(Rules(), tmp_path).replace(Rules(people={"Zoë": rule}))
    assert Rulebook(Rules(), tmp_path).made().people == {"Zoë": rule}
