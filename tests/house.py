"""A house with a gate, for the tests of the `maskgate` command: a config file, a gallery, simulated pins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from click.testing import CliRunner

from maskgate.admin import cli
from maskgate.store import Store, open_store
from maskgate.values import Embedding
from worlds import person

DAEMON = Path(__file__).parents[1] / "daemon"
MODEL = "a" * 64
COMMAND = (sys.executable, "-c", "from maskgate.admin import main; main()")


def environment(**changes: str) -> dict[str, str]:
    """Return the environment for a command in a process of its own."""
    return os.environ | {"PYTHONPATH": str(DAEMON)} | changes


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Each line of the output as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def failure(self) -> str:
        """The one line on stderr of a command that failed."""
        assert self.code == 1, self
        [line] = self.err.splitlines()
        assert line.startswith("maskgate: "), line
        assert self.out == ""
        return line


class House:
    """A gate's files under one folder."""

    def __init__(self, folder: Path, **sections: dict[str, Any]) -> None:
        """Write the config file; `sections` add to what every test wants."""
        self.folder = folder
        self.path = folder / "maskgate.toml"
        self.gallery = folder / "gallery.db"
        settings: dict[str, dict[str, Any]] = {
            "gate": {"pins": "simulated", "unlock_s": 0.2},
            "store": {"path": "gallery.db"},
            "control": {"socket": "control.sock"},
            "models": {"threads": 1},
            # The people before these gates are photos.
            "policy": {"liveness": "off"},
        }
        for name, values in sections.items():
            settings[name] = settings.get(name, {}) | values
        self.path.write_text(tomli_w.dumps(settings))

    def run(self, *args: str | Path, stdin: bytes | str = "") -> Ran:
        """Run a command in this process; an exception that is not an expected failure is raised."""
        result = CliRunner().invoke(
            cli, ["--config", str(self.path), *map(str, args)], input=stdin, prog_name="maskgate"
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def start(self, *args: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command as a process of its own, with pipes for its output."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
        return subprocess.Popen([*COMMAND, "--config", str(self.path), *map(str, args)], **(pipes | options))

    def store(self, **how: bool) -> Store:
        """Open the gallery, made if there is none."""
        return open_store(self.gallery, **(how or {"create": True}))

    def enrol(self, *names: str) -> None:
        """Enrol made-up people with one template each."""
        with self.store() as store:
            for name in names:
                store.enrol(name, [(embedding_of(name), {})], model=MODEL, source="photo", actor="test")

    def events(self) -> list[tuple[str, str | None, str | None]]:
        """Return kind, subject and actor of each event so far."""
        with self.store() as store:
            return [(event.kind, event.subject, event.actor) for event in store.events()]


def embedding_of(name: str) -> Embedding:
    """Return the embedding of a made-up person."""
    return person(sum(name.encode()))


def failed(process: subprocess.Popen[bytes]) -> str:
    """Wait for a command that fails; return its one line."""
    out, err = process.communicate(timeout=60)
    return Ran(process.returncode, out.decode(), err.decode()).failure
