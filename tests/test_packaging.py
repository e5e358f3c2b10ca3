"""The package, its example settings and its service are what the installer and the documents say they are."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from packaging.requirements import Requirement

from maskgate import config

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "config" / "maskgate.toml"
UNIT = ROOT / "systemd" / "maskgate.service"
UNITS = sorted(UNIT.parent.glob("maskgate*.s*"))
DEVICES = ("ai_edge_litert", "av", "gpiozero", "libcamera", "lgpio", "picamera2", "tflite_runtime")
SECTIONS = {field.name: field.type for field in msgspec.structs.fields(config.Settings)}
OPTIONS = [(name, field) for name, section in SECTIONS.items() for field in msgspec.structs.fields(section)]
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def packaging() -> configparser.ConfigParser:
    setup = configparser.ConfigParser(interpolation=configparser.BasicInterpolation())
    setup.read(ROOT / "setup.cfg")
    return setup


def needed(python: str, machine: str, extra: str | None = None) -> dict[str, str]:
    """What pip is asked for on such a machine: name -> versions."""
    setup = packaging()
    text = setup["options.extras_require"][extra] if extra else setup["options"]["install_requires"]
    wanted = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    there = {"python_version": python, "platform_machine": machine}
    return {need.name: str(need.specifier) for need in wanted if need.marker is None or need.marker.evaluate(there)}


def sections_of(text: str) -> dict[str, str]:
    """The example's text of each section."""
    names = re.split(r"^\[(\w+)\]$", text, flags=re.MULTILINE)
    return dict(zip(names[1::2], names[2::2], strict=True))


def uncommented(text: str) -> str:
    return re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)


def test_the_example_settings_are_the_defaults() -> None:
    assert config.parse(tomllib.loads(EXAMPLE.read_text()), config.DEFAULT_PATH) == config.defaults()


def test_every_setting_is_shown_at_its_default() -> None:
    """An option whose default is None cannot be written in TOML; the example shows some value for it."""
    shown = tomllib.loads(uncommented(EXAMPLE.read_text()))
    unset = [(section, field.name) for section, field in OPTIONS if field.default is None]
    assert {(section, key) for section, keys in shown.items() for key in keys} == {(s, f.name) for s, f in OPTIONS}
    assert unset
    for section, key in unset:
        assert shown[section].pop(key) is not None
    assert config.parse(shown, config.DEFAULT_PATH) == config.defaults()


@pytest.mark.parametrize(("section", "field"), OPTIONS, ids=[f"{section}.{field.name}" for section, field in OPTIONS])
def test_the_example_tells_the_bounds_of_a_setting(section: str, field: Any) -> None:
    """The comment above a setting (or above the run of settings it heads) names both bounds, or every choice."""
    text = sections_of(EXAMPLE.read_text())[section]
    above = text[: re.search(rf"^#{field.name} = ", text, flags=re.MULTILINE).end()].splitlines()  # type: ignore[union-attr]
    while re.match(r"#\w+ = ", above[-1]):
        above.pop()
    comment = []
    while above and re.match(r"# ", above[-1]):
        comment.insert(0, above.pop()[2:])
    said = " ".join(comment)
    for low, high in bounds_of(field.type):
        assert f"{low} to {high}" in said
    for choice in choices_of(field.type):
        assert str(choice) in said or choice == field.default


def bounds_of(kind: Any) -> list[tuple[Any, Any]]:
    """Each pair of bounds within a type."""
    return [
        (node.ge, node.le)
        for node in nodes_of(msgspec.inspect.type_info(kind))
        if getattr(node, "ge", None) is not None and node.le is not None
    ]


def choices_of(kind: Any) -> list[Any]:
    """Each value that a type of a few values allows."""
    found = [node.values for node in nodes_of(msgspec.inspect.type_info(kind)) if hasattr(node, "values")]
    return [choice for choices in found for choice in choices]


def nodes_of(node: Any) -> list[Any]:
    below = getattr(node, "types", None) or getattr(node, "item_types", None) or ()
    return [node, *(deeper for child in below for deeper in nodes_of(child))]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_each_python_gets_one_runtime_and_a_numpy_that_it_works_with(python: str, machine: str) -> None:
    wanted = needed(python, machine)
    bookworm = python == "3.11"
    assert ("tflite-runtime" in wanted, "ai-edge-litert" in wanted) == (bookworm, not bookworm)
    assert ("<2" in wanted["numpy"].split(",")) == bookworm


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_pip_is_never_asked_for_what_must_come_from_apt(python: str, machine: str) -> None:
    """PyPI's picamera2 must be compiled, its kms is an unrelated hacking tool, its lgpio for 3.13 is an empty name."""
    wanted = needed(python, machine) | needed(python, machine, "video") | needed(python, machine, "litert")
    assert not {"picamera2", "kms", "libcamera"} & set(wanted)
    assert ("lgpio" in wanted) == (python == "3.11")


def test_importing_any_module_opens_no_device_library() -> None:
    """So that everything but the device runs on a laptop, and `--help` answers at once."""
    code = (
        "import importlib, pkgutil, sys, maskgate\n"
        "names = [m.name for m in pkgutil.walk_packages(maskgate.__path__, 'maskgate.') if '__main__' not in m.name]\n"
        "[importlib.import_module(name) for name in names]\n"
        f"print(len(names), sorted({set(DEVICES)!r} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], env=daemon_path(), capture_output=True, text=True)
    number, _, found = run.stdout.strip().partition(" ")
    assert (run.stderr, found) == ("", "[]")
    assert int(number) > 15


def daemon_path() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT / "daemon")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built package; built from a copy, as the installer does it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("daemon", "models"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    pip("wheel", "--no-deps", "--no-build-isolation", "-w", out, source)
    return next(out.glob("maskgate-*.whl"))


def pip(*words: str | Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *words], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_the_package_holds_every_module_and_every_model(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT / "daemon")) for path in (ROOT / "daemon").rglob("*.py")}
    models = {path.name for path in (ROOT / "models").glob("*.tflite")} | {
        "cohort.npy",
        "models.toml",
        "MODEL_CARD.md",
        "LIVENESS.md",
    }
    assert modules <= inside
    assert {Path(name).name for name in inside if "/share/maskgate/models/" in name} == models
    assert not [name for name in inside if name.startswith(("tests", "models"))]


def test_an_installed_gate_finds_its_models_and_its_command(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    pip("--python", place / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    # What it depends on is borrowed from the environment of the tests; the checkout is not on this path.
    borrowed = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}
    code = "from maskgate import __file__, config; print(__file__); print(config.installed_models())"
    found = subprocess.run(
        [place / "bin" / "python", "-c", code], env=borrowed, capture_output=True, text=True, cwd=tmp_path, check=True
    ).stdout.splitlines()
    assert [Path(path).is_relative_to(place) for path in found] == [True, True]
    assert tomllib.loads((Path(found[1]) / "models.toml").read_text())
    said = subprocess.run([place / "bin" / "maskgate", "--version"], env=borrowed, capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")


def directives() -> list[tuple[str, str]]:
    lines = [line for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


@needs_systemd
def test_the_service_is_understood_by_systemd(tmp_path: Path) -> None:
    """`verify` exits 0 on misspelt directives, so anything it says is a failure."""
    staged = [tmp_path / unit.name for unit in UNITS]
    for unit, place in zip(UNITS, staged, strict=True):
        place.write_text(unit.read_text().replace("/opt/maskgate/bin/maskgate", "/bin/true"))
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", *staged], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize(("unit", "points"), [("maskgate.service", 1.0), ("maskgate-hooks.service", 2.0)])
def test_the_services_are_hardly_exposed(unit: str, points: float) -> None:
    """The threshold is the exposure times ten; hooks have a network."""
    run = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={points * 10:.0f}", UNIT.with_name(unit)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-200:]


def test_the_service_keeps_what_the_networks_and_the_pins_need() -> None:
    """ProcSubset=pid hides /proc/cpuinfo: the networks fall back to slow code, and gpiozero cannot tell the board."""
    keys = dict(directives())
    assert "ProcSubset" not in keys
    assert keys["SupplementaryGroups"].split() == ["video", "gpio"]
    allowed = {value.split()[0] for key, value in directives() if key == "DeviceAllow"}
    assert allowed == {"char-gpiochip", "char-video4linux", "char-media", "char-dma_heap"}


def test_the_service_runs_and_locks_what_the_installer_installs() -> None:
    keys = dict(directives())
    program = re.search(r"^OPT=(.*)$", (ROOT / "install").read_text(), flags=re.MULTILINE)
    assert program is not None
    assert keys["ExecStart"] == f"{program[1]}/bin/maskgate run"
    assert keys["ExecStopPost"] == f"{program[1]}/bin/maskgate lock"
    assert (keys["Type"], keys["Restart"]) == ("notify", "always")


def test_a_lost_camera_is_reported_before_the_watchdog_ends_the_daemon() -> None:
    stall_s = next(field.type for section, field in OPTIONS if (section, field.name) == ("camera", "stall_s"))
    ((_, longest_s),) = bounds_of(stall_s)
    assert float(dict(directives())["WatchdogSec"]) > longest_s


def test_every_line_of_the_service_has_its_reason() -> None:
    """A comment opens each run of lines: a blank line, or another comment, begins a new one."""
    unexplained = []
    for block in "\n\n".join(unit.read_text() for unit in UNITS).split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("[")]
        if lines and not lines[0].startswith("#"):
            unexplained.append(lines[0])
    assert {line.partition("=")[0] for line in unexplained} == {"Description", "WantedBy"}


def test_the_version_stands_once() -> None:
    tree = ast.parse((ROOT / "daemon" / "maskgate" / "__init__.py").read_text())
    version = next(node.value.value for node in tree.body if isinstance(node, ast.Assign))  # type: ignore[attr-defined]
    assert packaging()["metadata"]["version"] == "attr: maskgate.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
