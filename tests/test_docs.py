"""The documents say what the code says."""

from __future__ import annotations

import re
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

from click import Context, Group

from maskgate import config
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
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), target


def script(name: str) -> ModuleType:
    """Load a script that draws pictures."""
    spec = spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_wiring_is_what_its_script_draws() -> None:
    assert (ROOT / "docs" / "wiring.svg").read_text(encoding="utf-8") == script("draw_wiring").drawn()


def test_the_pictures_of_screens_are_what_the_commands_draw() -> None:
    for name, text in script("draw_screens").pictures().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"{name}: python docs/draw_screens.py"


def test_the_wiring_guides_settings_are_those_of_the_gate() -> None:
    text = (ROOT / "docs" / "WIRING.md").read_text(encoding="utf-8")
    [settings] = re.findall(r"```toml\n(.*?)```", text, re.S)
    config.parse(tomllib.loads(settings), config.DEFAULT_PATH)
    for section, name in re.findall(r"`(gate|door)\.(\w+)", text):
        assert name in getattr(config.Settings(), section).__struct_fields__, name


def test_the_rules_guides_example_can_be_used_and_tells_every_setting() -> None:
    text = (ROOT / "docs" / "RULES.md").read_text(encoding="utf-8")
    [settings] = re.findall(r"```toml\n(.*?)```", text, re.S)
    config.parse(tomllib.loads(settings), config.DEFAULT_PATH)
    told = set(re.findall(r"`(\w+)`", text))
    assert set(config.Rule.__struct_fields__) <= told


def test_the_pictures_of_an_evening_show_what_the_commands_say_today() -> None:
    module = script("draw_evening")
    for name, (command, said) in module.answers("log", "stats").items():
        svg = (ROOT / "docs" / f"evening-{name}.svg").read_text(encoding="utf-8")
        shown = re.findall(r"\w+", " ".join(ElementTree.fromstring(svg).itertext()))
        plain = re.findall(r"\w+", re.sub(r"\x1b\[[\d;]*m", "", f"{command} {said}"))
        assert set(plain) <= set(shown), f"run docs/draw_evening.py: {name}"
    for name in module.SHOWN:
        svg = (ROOT / "docs" / f"evening-{name}.svg").read_text(encoding="utf-8")
        assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
