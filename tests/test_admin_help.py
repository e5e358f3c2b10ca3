"""Laws of `maskgate help`, the manual page, completion and examples: of every command, and nothing that is not one."""

from __future__ import annotations

import re
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from house import COMMAND, House, environment
from maskgate.admin import cli, guide
from maskgate.admin.helping import manual
from maskgate.config import DEFAULT_PATH
from maskgate.reasons import REASONS


def walked(context: click.Context | None = None) -> Iterator[tuple[str, click.Context]]:
    """Go through every command there is, with the words that call it."""
    context = context or click.Context(cli, info_name="maskgate")
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=context)
        yield below.command_path.removeprefix("maskgate "), below
        if isinstance(command, click.Group):
            yield from walked(below)


ALL = dict(walked())


def parsed(line: str) -> click.Context:
    """Parse a command line as the shell and click would, without running it."""
    words = shlex.split(line.rpartition("|")[2], comments=True)
    words = words[words.index("maskgate") + 1 :]
    words = words[: words.index(">")] if ">" in words else words
    context = click.Context(cli, info_name="maskgate")
    rest = cli.make_parser(context).parse_args(args=list(words))[1]
    while True:
        group = context.command
        if not isinstance(group, click.Group) or not rest:
            return context
        command = group.get_command(context, rest[0])
        if command is None:
            return context
        context = command.make_context(
            rest[0], rest[1:], parent=context, resilient_parsing=isinstance(command, click.Group)
        )
        if not isinstance(command, click.Group):
            return context
        rest = rest[1:]


def test_every_command_has_examples_and_its_help_shows_them() -> None:
    assert set(ALL) == set(guide.EXAMPLES)
    for path, context in ALL.items():
        said = context.get_help()
        assert guide.EXAMPLES[path], path
        for line, remark in guide.EXAMPLES[path]:
            assert line in said, path
            assert remark in said, path
        assert max(map(len, guide.examples(path).splitlines())) <= 116, path


def test_every_example_is_a_call_of_its_own_command_that_the_parser_takes() -> None:
    for path in ALL:
        lines = [line for line, _ in guide.EXAMPLES[path] if not line.startswith("journalctl -u maskgate-hooks")]
        called = [parsed(line).command_path.removeprefix("maskgate ") for line in lines]
        assert called, path
        assert all(name == path or name.startswith(f"{path} ") or path == "help" for name in called), (path, called)


def test_topics_show_nothing_that_the_parser_refuses_and_fit_a_wide_terminal() -> None:
    for _, text in guide.TOPICS.values():
        for line in text.splitlines():
            assert len(line) <= 124, line
    for line in guide.TOPICS["evening"][1].splitlines():
        if re.match(r"(sudo )?maskgate ", line):
            parsed(re.split(r"\s{2,}", line)[0])


@pytest.mark.parametrize("path", ["log verify", "enrol", "config show"])
def test_help_of_a_command_is_its_help(house: House, path: str) -> None:
    assert house.run("help", *path.split()).out == house.run(*path.split(), "--help").out


def test_help_knows_its_topics_and_says_what_was_meant(house: House) -> None:
    for topic, (heading, text) in guide.TOPICS.items():
        assert house.run("help", topic).out == f"{heading}\n\n{text}\n"
        assert topic in house.run("help").out
    assert set(REASONS) <= set(house.run("help", "reasons").out.split())
    wrong = house.run("help", "reason")
    assert wrong.code == 2
    assert "did you mean 'reasons'?" in wrong.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("enroll",), "enrol"),
        (("rules", "exlain"), "explain"),
        (("key", "shwo"), "show"),
        (("people", "--jsn"), "--json"),
    ],
)
def test_a_slip_is_told_what_was_probably_meant(house: House, words: tuple[str, ...], meant: str) -> None:
    ran = house.run(*words)
    assert ran.code == 2
    assert meant in ran.err
    assert "Did you mean" in ran.err or "Possible" in ran.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("anna b", "did you mean 'Anna B.'?"),
        ("王小", "did you mean '王小明'?"),
        ("Zacharias", "`maskgate people` lists"),
    ],
)
def test_a_name_that_nobody_has_is_told_who_has_one_like_it(house: House, name: str, said: str) -> None:
    house.enrol("Anna B.", "王小明")
    for command in (("show", name), ("revoke", name), ("log", "--person", name)):
        assert said in house.run(*command).failure


def test_exit_codes_are_as_the_topic_says(house: House) -> None:
    assert house.run("config", "check").code == 0
    assert house.run("people").code == 1
    assert house.run("people", "--no").code == 2
    assert re.findall(r"^(\d+)", guide.TOPICS["exit-codes"][1], re.M) == ["0", "1", "2", "128"]


def test_the_files_topic_names_the_defaults() -> None:
    from maskgate import config

    text, defaults = guide.TOPICS["files"][1], config.defaults()
    for place in (DEFAULT_PATH, defaults.store.key, defaults.store.path, defaults.control.socket):
        assert str(place) in text


# -- the manual page -----------------------------------------------------------------------------------------------


def test_the_manual_page_has_every_command_option_and_topic() -> None:
    page = manual(click.Context(cli, info_name="maskgate"))
    plain = page.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\")
    for path, context in ALL.items():
        assert f".SS {path} " in plain, path
        for param in context.command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert param.opts[-1] in plain, (path, param.opts)
    for heading, _ in guide.TOPICS.values():
        assert f".SH {heading.upper()}" in plain
    assert not re.search(r"^'", page, re.M)


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_the_manual_page_is_one_that_groff_takes_without_a_word() -> None:
    page = manual(click.Context(cli, info_name="maskgate"))
    ran = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-z"], input=page.encode(), capture_output=True)
    assert (ran.returncode, ran.stderr) == (0, b"")


# -- completion ----------------------------------------------------------------------------------------------------


def test_each_shell_gets_a_script_that_its_shell_can_read(house: House) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = house.run("completion", shell).out
        assert "_MASKGATE_COMPLETE" in script
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=script.encode(), check=True, timeout=20)


def completed(*words: str) -> list[str]:
    """Return what a shell is offered for the last word."""
    env = environment(
        _MASKGATE_COMPLETE="bash_complete", COMP_WORDS=" ".join(("maskgate", *words)), COMP_CWORD=str(len(words))
    )
    ran = subprocess.run(COMMAND, env=env, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in ran.stdout.splitlines()]


def test_commands_options_and_choices_are_completed_without_loading_anything_heavy() -> None:
    assert set(completed("lo")) == {"log", "lock", "lockdown"}
    assert set(completed("completion", "")) == {"bash", "zsh", "fish"}
    assert "--follow" in completed("log", "--fo")
    assert set(completed("log", "ver")) >= {"verify"}


# -- languages -----------------------------------------------------------------------------------------------------


def catalogue(words: dict[str, str]) -> bytes:
    """Write a GNU .mo file (gettext's manual, "The Format of GNU MO Files")."""
    pairs = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **words}.items())
    keys, values = ([word.encode() for word in column] for column in zip(*pairs, strict=True))
    table, at = [], 28 + 16 * len(pairs)
    for texts in (keys, values):
        for text in texts:
            table.append(struct.pack("<2I", len(text), at))
            at += len(text) + 1
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return head + b"".join(table) + b"".join(text + b"\0" for text in (*keys, *values))


def test_a_translation_is_used_where_there_is_one(tmp_path: Path) -> None:
    place = tmp_path / "de" / "LC_MESSAGES"
    place.mkdir(parents=True)
    words = {"List who is enrolled.": "Zeigt, wer eingelernt ist.", "Commands": "Befehle", "Examples:": "Beispiele:"}
    (place / "maskgate.mo").write_bytes(catalogue(words))
    code = f"from pathlib import Path; from maskgate import admin; admin.LOCALE = Path({str(tmp_path)!r}); admin.main()"
    for language, expected in (("de", True), ("en", False)):
        for words, said in ((("--help",), "Zeigt, wer eingelernt ist."), (("people", "-h"), "Beispiele:")):
            ran = subprocess.run(
                [sys.executable, "-c", code, *words], env=environment(LANGUAGE=language), capture_output=True, text=True
            )
            assert (said in ran.stdout) is expected
