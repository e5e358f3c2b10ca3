"""Laws of reading the log: what is seen on a terminal, one event in full, in one sentence, and how soon."""

from __future__ import annotations

import csv
import io
import os
import pty
import re
import resource
import select
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click
import pytest

import ledgers
from house import COMMAND, House, environment
from maskgate.admin import ink, when
from maskgate.admin.why import HAPPENED, sentence
from maskgate.reasons import REASONS
from maskgate.store import Event

DETAIL = {
    "frames": 3,
    "usable_to_decision_ms": 412,
    "at_ms": [0, 66, 133],
    "scores": [0.31, 0.52, 0.5],
    "margins": [0.01, 0.2, 0.2],
    "masks": [0.02, 0.9, 0.9],
    "live": [0.8, None, 0.9],
    "needs": {"bare": 0.41, "masked": 0.4, "margin": 0.05, "agree": 2},
    "ms": {"detect": 21.4, "embed": 38.0},
    "rule": "group cleaners",
    "terms": "may enter tue,thu 14:00-18:00",
    "model": "ab" * 8,
}


decision = partial(ledgers.decision, **DETAIL)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house with an event of each sort: 1 enrolled, 2 started, 3 granted, 4 and 5 refused."""
    house = House(tmp_path)
    house.enrol("Ada")
    with house.store() as store:
        store.record(
            Event("started", detail={"version": "0.1", "runtime": "tflite", "models": {"embedder": "cd" * 32}})
        )
        store.record(decision("Ada", "granted"))
        store.record(decision())
        store.record(decision("Ada", "outside_schedule"))
    return house


def on_a_terminal(house: House, *args: str, columns: int = 80, **changes: str) -> str:
    """Run a command on a pseudo-terminal of so many columns; return what it wrote there."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = environment(**({"TERM": "xterm-256color", "TZ": "UTC", "PYTHONIOENCODING": "utf-8"} | changes))
    env.pop("COLUMNS", None)
    started = subprocess.Popen([*COMMAND, "--config", str(house.path), *args], stdout=slave, stderr=slave, env=env)
    os.close(slave)
    told = b""
    while select.select([master], [], [], 60)[0]:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        told += piece
    os.close(master)
    assert started.wait(timeout=60) == 0, told
    return told.decode()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# -- how soon ----------------------------------------------------------------------------------------------------------


def test_a_plain_log_imports_nothing_heavy(house: House) -> None:
    program = (
        "import sys; from maskgate.admin import cli\n"
        f"cli(['--config', {str(house.path)!r}, 'log'], standalone_mode=False)\n"
        "print(sorted({'numpy', 'PIL', 'rich', 'sqlite_utils', 'cryptography', 'gpiozero'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 6
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_plain_log_takes_less_than_300_ms_of_cpu(house: House) -> None:
    def cpu_s(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # The least of several: a shared machine only ever adds, and at its worst to everything.
    spent = min(cpu_s(*COMMAND, "--config", str(house.path), "log") for _ in range(5))
    click = min(cpu_s(sys.executable, "-c", "import click") for _ in range(5))
    assert spent < max(0.3, 3.5 * click)


# -- on a terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal_whatever_the_name(house: House, columns: int) -> None:
    house.enrol("王小明王小明王小明王小明", "علي حسن", "Bartholomew von Habsburg-Lothringen the Younger")
    with house.store() as store:
        for name in ("王小明王小明王小明王小明", "علي حسن", "Ada"):
            store.record(decision(name, "granted"))
    told = plain(on_a_terminal(house, "log", columns=columns)).splitlines()
    assert len(told) == 11
    assert max(map(ink.width, told)) <= columns


def test_a_terminal_shows_colours_and_no_color_a_dumb_one_and_a_pipe_show_none(house: House) -> None:
    assert "\x1b[1;38;5;39mGRANTED\x1b[0m" in on_a_terminal(house, "log")
    assert "\x1b[38;5;208mrefused\x1b[0m" in on_a_terminal(house, "log")
    assert "\x1b" not in on_a_terminal(house, "log", NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(house, "log", TERM="dumb")
    assert "\x1b" not in house.run("log").out


def test_colours_say_nothing_that_words_do_not(house: House) -> None:
    with_colours, without = on_a_terminal(house, "log"), on_a_terminal(house, "log", NO_COLOR="1")
    assert plain(with_colours) == without
    assert "GRANTED" in without
    assert "refused" in without


def test_a_dumb_terminal_and_an_old_locale_get_plain_characters(house: House) -> None:
    for changes in ({"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}):
        assert on_a_terminal(house, "log", "show", "3", **changes).isascii()
    assert "█" in on_a_terminal(house, "log", "show", "3")


def test_a_name_from_right_to_left_turns_nothing_round_that_follows_it(house: House) -> None:
    house.enrol("علي حسن")
    assert f"علي حسن{' ' * 7}{ink.LEFT_TO_RIGHT}  by test" in on_a_terminal(house, "log")
    assert ink.LEFT_TO_RIGHT not in house.run("log").out


def test_times_are_told_as_they_were_or_as_ages(house: House) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=400)
    with house.store() as store:
        store.record(decision(at=long_ago.strftime("%Y-%m-%dT%H:%M:%S.000Z")))
    told = house.run("log", "--denied", "--until", "366d", "--times", "ago").out
    assert "13 months ago  refused" in told
    both = house.run("log", "--limit", "1", "--person", "Ada", "--reason", "granted", "--times", "both").out
    assert re.search(r"2026-01-02 \d\d:00:00 +\d+ \w+ ago", both)


def test_a_closed_stdout_is_no_traceback(house: House) -> None:
    command = ["sh", "-c", '"$@" >&-', "sh", *COMMAND, "--config", str(house.path), "log"]
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_name_is_found_in_a_locale_that_has_no_such_letters(house: House) -> None:
    house.enrol("王小明")
    old = environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    out, _ = house.start("log", "--person", "王小明", env=old).communicate(timeout=60)
    assert out.decode().split()[3:] == ["enrolled", "王小明", "by", "test"]


# -- one event ---------------------------------------------------------------------------------------------------------


def test_all_that_is_known_of_an_event_is_shown(house: House) -> None:
    told = house.run("log", "show", "3").out
    assert told.startswith("Ada was let in, Fri 2026-01-02 at ")
    for known in ("0.500 of 0.400", "0.410 bare", "0.400 masked", "margin 0.050", "412 ms", "group cleaners"):
        assert known in told, known
    for known in ("maskgate 0.1, tflite", "embedder cdcdcdcdcdcdcdcd", "embedder abababababababab", "38.0"):
        assert known in told, known
    looks = [line for line in told.splitlines() if re.match(r" +[123] ", line)]
    assert [line.split()[2] for line in looks] == ["0.31", "0.52", "0.50"]


def test_an_event_in_full_is_there_for_scripts_too(house: House) -> None:
    [told] = house.run("log", "show", "3", "--json").objects
    assert told["event"]["id"] == 3
    assert [look["scores"] for look in told["looks"]] == DETAIL["scores"]
    assert told["ran"]["models"] == {"embedder": "cd" * 32}
    assert told["picture"] is False
    rows = list(csv.DictReader(io.StringIO(house.run("log", "show", "3", "--csv").out)))
    assert [float(row["scores"]) for row in rows] == DETAIL["scores"]


def test_an_event_without_looks_is_shown_as_well(house: House) -> None:
    assert "test enrolled Ada" in house.run("log", "show", "1").out
    assert house.run("log", "show", "1", "--json").objects[0]["looks"] == []


def test_an_event_that_is_not_there_is_said(house: House) -> None:
    for command in ("show", "why"):
        assert "event 99: is not in the log, which ends at 5" in house.run("log", command, "99").failure


def test_the_picture_that_was_kept_is_spoken_of(house: House) -> None:
    with house.store() as store:
        store.attach(4, b"JPEG", most_bytes=1000)
    assert "maskgate log snapshot 4 FILE" in house.run("log", "show", "4").out


def test_why_is_one_sentence_with_the_number_that_decided(house: House) -> None:
    def why(number: int) -> str:
        [line] = house.run("log", "why", str(number)).out.splitlines()
        return line

    assert "recognised behind a mask in 2 looks in a row with a score of 0.500, where 0.400 was needed" in why(3)
    assert "the most similar face in the gallery reached behind a mask a score of 0.500" in why(4)
    assert "(may enter tue,thu 14:00-18:00)" in why(5)
    assert house.run("log", "why", "1", "--json").objects[0]["why"] == why(1)
    assert house.run("log", "why", "1", "--csv").out.splitlines()[0] == "id,why"


@pytest.mark.parametrize("reason", list(REASONS))
def test_every_reason_is_a_sentence_whatever_is_known(reason: str) -> None:
    for event in (decision("Ada", reason), Event("decision", granted=reason == "granted", reason=reason)):
        said = sentence(event)
        assert said.endswith(".")
        assert "\n" not in said
        assert "None" not in said


@pytest.mark.parametrize("kind", [*HAPPENED, "something_new"])
def test_every_kind_of_event_is_a_sentence(kind: str) -> None:
    assert re.fullmatch(r"[A-Z].*[^.]\.", sentence(Event(kind, actor="Pat", subject="Ada", detail={"for_s": 60.0})))


# -- times as people write them ----------------------------------------------------------------------------------------


def test_days_are_said_as_people_say_them() -> None:
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    assert when.moment("today").date() == midnight.date()
    assert when.moment("yesterday").date() == midnight.date() - timedelta(days=1)
    assert when.moment("yesterday", end=True).date() == midnight.date()
    for name in when.WEEKDAYS:
        found = when.moment(name)
        assert found == when.moment(name[:3])
        assert found.strftime("%A").lower() == name
        assert timedelta(0) <= midnight.date() - found.date() < timedelta(days=7)
    assert when.moment("7:30").strftime("%H:%M") == "07:30"
    assert when.moment("2w") < when.moment("13d")


@pytest.mark.parametrize("text", ["", "25:00", "yesteryear", "2026-13-01", "t", "99999999999999d", "12:00:"])
def test_what_is_no_time_is_said_so(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time"):
        when.moment(text)


@pytest.mark.parametrize("text", ["", "22-06", "24:00-06:00", "10:00-10:00", "10:00-25:00", "10:61-11:00"])
def test_what_are_no_hours_are_said_so(text: str) -> None:
    with pytest.raises(click.BadParameter, match="are no hours"):
        when.hours(text)


def test_hours_over_midnight_are_the_owners_hours(tmp_path: Path) -> None:
    house = House(tmp_path)
    with house.store() as store:
        for hour in range(24):
            store.record(decision(at=f"2026-01-02T{hour:02}:30:00.000Z"))
    # Kabul is four and a half hours east of Greenwich and has no summer time.
    done = house.start("log", "--json", "--between", "22:00-06:00", env=environment(TZ="Asia/Kabul"))
    out, _ = done.communicate(timeout=60)
    hours = [int(line) for line in re.findall(r'"at": "2026-01-02T(\d\d)', out.decode())]
    assert sorted(hours) == [0, 17, 18, 19, 20, 21, 22, 23]


# -- how wide a text is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "cells"), [("Ada", 3), ("王小明", 6), ("Zoe\u0308", 3), ("علي", 3), ("", 0)])
def test_the_width_of_a_text_is_its_columns(text: str, cells: int) -> None:
    assert ink.width(text) == cells
    assert ink.width(ink.padded(text, 10)) == 10
    for most in range(1, 8):
        assert ink.width(ink.cut(text, most)) <= most
    assert ink.cut(text, cells) == text
