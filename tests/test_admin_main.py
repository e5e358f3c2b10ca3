"""Laws of the `maskgate` command as a whole: quick help, one line for a failure, quiet when nobody reads."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from house import COMMAND, House, environment, failed
from maskgate.admin import COMMANDS, cli


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from maskgate.admin import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "print(sorted({'numpy', 'PIL', 'msgspec', 'rich', 'sqlite3', 'sqlite_utils', 'gpiozero'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_takes_little_more_than_click_itself() -> None:
    def cpu_s(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # The least of several: a shared machine only ever adds.
    spent = min(cpu_s(*COMMAND, "--help") for _ in range(7))
    click = min(cpu_s(sys.executable, "-c", "import click") for _ in range(7))
    assert spent < max(0.15, 2 * click)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_listed_is_there_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 4


@pytest.mark.parametrize(
    "args",
    [
        ("frobnicate",),
        ("log", "--since", "yesteryear"),
        ("log", "--json", "--csv"),
        ("log", "--reason", "because"),
        ("enrol",),
        ("enrol", "Ada"),
        ("enrol", "Ada", "photo.jpg", "--camera"),
        ("enrol", "--folder", "people", "Ada"),
        ("inspect",),
        ("inspect", "--embedding", "photo.jpg"),
    ],
)
def test_a_wrong_call_exits_with_2_and_touches_nothing(args: tuple[str, ...], tmp_path: Path) -> None:
    house = House(tmp_path)
    ran = house.run(*args)
    assert ran.code == 2
    assert "Usage: maskgate" in ran.err
    assert not house.gallery.exists()


def test_a_failure_is_one_line_and_a_traceback_only_on_request(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert "there is no gallery yet" in failed(house.start("people"))
    loud = house.start("people", env=environment(DEBUG="1"))
    _, err = loud.communicate(timeout=60)
    assert loud.returncode == 1
    assert b"Traceback" in err
    assert b"StoreError" in err


def test_the_config_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    house = House(tmp_path)
    env = environment(MASKGATE_CONFIG=str(house.path))
    done = subprocess.run([*COMMAND, "config", "check"], env=env, capture_output=True, text=True, check=True)
    assert str(house.path) in done.stdout


@pytest.mark.parametrize(
    "args", [("people",), ("people", "--json"), ("log", "--limit", "0"), ("log", "--csv"), ("--help",)]
)
def test_output_that_nobody_reads_ends_the_command_quietly(args: tuple[str, ...], tmp_path: Path) -> None:
    house = House(tmp_path)
    house.enrol(*(f"person {number}" for number in range(50)))
    reader, writer = os.pipe()
    os.close(reader)
    process = house.start(*args, stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == 1


def test_the_command_that_locks_after_a_crash_loads_neither_numpy_nor_networks(tmp_path: Path) -> None:
    """It has two seconds on the smallest board, and numpy alone would take one."""
    house = House(tmp_path)
    code = (
        "import sys\n"
        "from maskgate.admin import cli\n"
        f"try: cli(['--config', {str(house.path)!r}, 'lock'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'numpy', 'PIL', 'sqlite3', 'rich', 'maskgate.run', 'maskgate.faces'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
