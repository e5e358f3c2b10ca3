"""Every command line that the documents show is run here in a house, in their order, or says why it is not."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from house import MODEL, House, embedding_of
from maskgate.admin import cli
from maskgate.store import Event
from test_admin_help import ALL, parsed

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
OBAMA = ROOT / "tests" / "data" / "people" / "Obama" / "enrol.jpg"

ELSEWHERE = {
    "enrol Ben --camera": "needs a running daemon: test_admin_enrol, test_admin_sitting",
    "watch": "needs a terminal: test_admin_watch",
    "log --follow": "never ends: test_admin_log",
    "unlock": "needs a running daemon: test_admin_orders",
    "lockdown": "needs a running daemon: test_admin_orders",
    "hooks test": "needs somebody who listens: test_hooks",
    "replay": "takes long: test_admin_instruments",
    "evaluate": "takes long: test_admin_evaluate, test_liveness",
    "bench": "takes long: test_admin_instruments",
}
"""Commands that are tried in a file of their own, by how their line begins."""
FAILS = {"doctor": "no gate runs here", "log snapshot": "no picture is kept", "hooks list": "no folder is named"}
"""Commands that exit with 1 in such a house, with the reason."""


def shown(document: Path) -> list[str]:
    """Return each line with which a document calls maskgate, without its remark."""
    text = document.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", text, re.S))
    lines = re.findall(r"^\$ (.*\bmaskgate .+?)(?:\s{2,}#.*)?$", blocks, re.M)
    return [line for line in lines if re.search(r"(^|\| |^sudo |\| sudo )maskgate [a-z-]", line)]


def test_every_command_line_in_every_document_is_one_that_the_parser_takes() -> None:
    lines = [(document.name, line) for document in DOCUMENTS for line in shown(document)]
    assert len(lines) >= 40
    for name, line in lines:
        try:
            parsed(line)
        except click.ClickException as error:
            pytest.fail(f"{name}: {line}: {error.format_message()}")


def test_every_option_and_command_is_explained() -> None:
    for path, context in ALL.items():
        assert context.command.help, path
        for param in context.command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert param.help, (path, param.opts)
    assert all(param.help for param in cli.params if isinstance(param, click.Option) and param.name != "version")


@pytest.fixture
def evening(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """Hold a house with what the documents speak of: photos, people, rules, a stick, a decision."""
    monkeypatch.chdir(house.folder)
    for place in ("anna.jpg", "photo.jpg", "photos/Dora/1.jpg"):
        (house.folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(OBAMA if place != "photos/Dora/1.jpg" else OBAMA.parents[1] / "Noah" / "enrol.jpg", place)
    (house.folder / "usb").mkdir()
    with house.store() as store:
        for name in ("Ben", "Cleo", "Cyrus", "Gustav", "Ada", "Mallory"):
            store.enrol(name, [(embedding_of(name), {})], model=MODEL, source="photo", actor="test")
        store.record(Event("decision", subject="Ada", granted=True, reason="granted", score=0.6, threshold=0.4))
    return house


def test_the_evening_works_command_by_command(evening: House) -> None:
    with evening.store() as store:
        decision = store.last_id()
    tried = 0
    for document in DOCUMENTS:
        for line in shown(document):
            command = line.rpartition("|")[2].partition("maskgate ")[2].strip()
            if any(command == begin or command.startswith(f"{begin} ") for begin in ELSEWHERE):
                continue
            command = command.replace("/media/usb", "usb").replace("/tmp/", "usb/").replace("4711", str(decision))
            # What asks is told yes, and a passphrase twice.
            said = "a long passphrase\na long passphrase\n" if "gate.mgb" in command else "y\n"
            if command.startswith("log verify --anchor"):
                said = evening.run("log", "anchor", "usb/a.txt").out + (evening.folder / "usb" / "a.txt").read_text()
            words = shlex.split(command) + (["--yes"] if command.startswith("restore") else [])
            ran = evening.run(*words, stdin=said)
            fails = any(command.startswith(begin) for begin in FAILS)
            assert ran.code == int(fails), (document.name, line, ran)
            assert len(ran.err.splitlines()) <= 3, (line, ran.err)
            tried += 1
    assert tried >= 30


def test_whatever_is_left_out_here_is_shown_somewhere() -> None:
    lines = [line.partition("maskgate ")[2] for document in DOCUMENTS for line in shown(document)]
    for begin in ELSEWHERE:
        assert any(line == begin or line.startswith(f"{begin} ") for line in lines), begin
