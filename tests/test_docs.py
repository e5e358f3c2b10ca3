"""The documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from click import Context, Group

from maskgate.admin import cli
from maskgate.reasons import REASONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_reason_with_its_sentence() -> None:
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", README, re.M)) == REASONS


def test_every_command_the_readme_shows_exists_with_its_options() -> None:
    context = Context(cli)
    shown = re.findall(r"^\$ (?:sudo )?maskgate (.+?)(?:\s+#.*)?$", README, re.M)
    assert len(shown) >= 12
    for line in shown:
        words = line.split()
        command = cli.get_command(context, words[0])
        if isinstance(command, Group):
            command = command.get_command(context, words[1]) or command
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_the_picture_of_the_layers_names_every_module() -> None:
    modules = {path.stem for path in (ROOT / "daemon" / "maskgate").glob("*.py")} - {"__init__"}
    picture = CONTRIBUTING.split("## Layers")[1].split("## Time")[0]
    assert modules <= set(re.findall(r"\w+", picture)), modules - set(re.findall(r"\w+", picture))


def test_every_file_the_documents_link_to_is_there() -> None:
    for text in (README, CONTRIBUTING):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / target).exists(), target
