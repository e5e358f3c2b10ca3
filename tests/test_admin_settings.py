"""Laws of `maskgate config`: what is shown can be read back, and a mistake is one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from house import House
from maskgate import config


def test_what_show_prints_is_a_config_file_with_the_same_settings(tmp_path: Path) -> None:
    house = House(tmp_path, policy={"stranger_odds": 5000}, gate={"light_pin": 27})
    shown = house.run("config", "show")
    again = tmp_path / "elsewhere" / "maskgate.toml"
    again.parent.mkdir()
    again.write_text(shown.out)
    assert config.load(again) == config.load(house.path)
    assert "# gate.buzzer_pin is not set" in shown.out
    assert "stranger_odds = 5000" in shown.out


def test_show_tells_every_setting_there_is(tmp_path: Path) -> None:
    [settings] = House(tmp_path).run("config", "show", "--json").objects
    for section in config.Settings.__struct_fields__:
        fields = type(getattr(config.Settings(), section)).__struct_fields__
        assert set(settings[section]) == set(fields), section


def test_check_accepts_an_empty_file(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.path.write_text("")
    assert house.run("config", "check").code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gate]\nrelay = 17\n", "relay"),
        ("[gate]\nrelay_pin = 'seventeen'\n", "gate.relay_pin"),
        ("[gate]\nunlock_s = 90\n", "gate.unlock_s"),
        ("[gate]\nrelay_pin = 17\nlight_pin = 17\n", "gate.relay_pin already"),
        ("[gate\n", "is not TOML"),
        ("[garage]\n", "garage"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
@pytest.mark.parametrize("command", [("config", "check"), ("people",), ("lock",), ("run",), ("inspect", "a.jpg")])
def test_a_mistake_in_the_file_stops_any_command_with_one_line(
    text: str | bytes, said: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    house = House(tmp_path)
    house.path.write_bytes(text if isinstance(text, bytes) else text.encode())
    failure = house.run(*command).failure
    assert said in failure
    assert str(house.path) in failure


@pytest.mark.parametrize("command", [("config", "show"), ("status",), ("inspect", "a.jpg"), ("replay", "a.mp4")])
def test_a_config_file_that_was_named_must_be_there(command: tuple[str, ...], tmp_path: Path) -> None:
    house = House(tmp_path)
    house.path.unlink()
    assert "no such config file" in house.run(*command).failure


def test_lock_drives_the_simulated_relay_inactive(tmp_path: Path) -> None:
    ran = House(tmp_path).run("lock")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
