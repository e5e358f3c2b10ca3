"""A Debian root as a machine: single commands in it, or booted with systemd as PID 1 and looked at from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig import roots
from rig.report import Failed
from rig.shell import PATIENCE, outcome, run, until

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit")
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
"""How this machine reaches the network."""


def _environment() -> list[str]:
    """Return nspawn's words for the environment of an installation."""
    given = {"PATH": PATH, "PIP_CERT": "/root/certificates.crt", "PIP_RETRIES": "10", "PIP_DEFAULT_TIMEOUT": "180"}
    given |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return [f"--setenv={name}={value}" for name, value in given.items()]


def _inside(root: Path, words: tuple[str, ...], options: tuple[str, ...]) -> list[str | Path]:
    """Return the command that runs `words` in a root that is not booted, the checkout under /checkout."""
    return [
        *NSPAWN,
        f"--directory={root}",
        "--pipe",
        "--resolv-conf=copy-host",
        f"--bind-ro={roots.checkout()}:/checkout",
        "--chdir=/checkout",
        *options,
        *_environment(),
        *words,
    ]


def inside(root: Path, *words: str, limit_s: float = 60, options: tuple[str, ...] = ()) -> str:
    """Run a command in a root that is not booted and return what it said; Failed when it fails."""
    done = tried(root, *words, limit_s=limit_s, options=options)
    if done.returncode:
        raise Failed(f"{done.stdout}\n{' '.join(words)}: exit {done.returncode}")
    return done.stdout


def tried(
    root: Path, *words: str, limit_s: float = 60, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command in a root that is not booted and return how it ended. `options` are nspawn's."""
    done = outcome(*_inside(root, words, options), limit_s=limit_s)
    # nspawn's own, about a folder of its own, where the rig's namespaces hide another from it.
    done.stdout = re.sub(r"^Attempted to remove disk file system under .*\n", "", done.stdout, flags=re.M)
    return done


class Box:
    """A booted root."""

    def __init__(self, root: Path, pid: int) -> None:
        """Take the root and the process that is PID 1 in it."""
        self.root, self.pid = root, pid

    def _enter(self, words: tuple[str, ...], user: str) -> list[str]:
        who = ("/sbin/runuser", "-u", user, "--") if user != "root" else ()
        enter = ("nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd")
        return [*enter, "/usr/bin/env", "-i", f"PATH={PATH}", "LANG=C.UTF-8", "HOME=/root", *who, *words]

    def run(self, *words: str, user: str = "root", limit_s: float = 60) -> str:
        """Run a command and return what it said; Failed when it fails."""
        return run(*self._enter(words, user), limit_s=limit_s)

    def tried(self, *words: str, user: str = "root", limit_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command and return how it ended."""
        return outcome(*self._enter(words, user), limit_s=limit_s)

    def property(self, name: str, unit: str = "maskgate") -> str:
        """Return what systemd says of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def text(self, path: str) -> str:
        """Return a file's text, empty when it is not there."""
        try:
            return (self.root / path.lstrip("/")).read_text()
        except OSError:
            return ""


@contextmanager
def booted(root: Path) -> Iterator[Box]:
    """Boot a root, without a network, and turn it off afterwards."""
    console = root.with_suffix(".console")
    bind = f"--bind-ro={roots.checkout()}:/checkout"
    command = [*NSPAWN, f"--directory={root}", "--boot", "--private-network", "--console=pipe", bind]
    with console.open("w") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        yield Box(root, _pid_1(process, console))
    finally:
        if process.poll() is None:
            # nspawn's word for an orderly power-off.
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60 * PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        console.unlink()


def _pid_1(process: subprocess.Popen[bytes], console: Path) -> int:
    """Wait until the root has booted, and return the process that is PID 1 in it."""

    def up() -> int | None:
        if process.poll() is not None:
            raise Failed(f"{console.read_text(errors='replace')}\nsystemd-nspawn: exit {process.returncode}")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if not children:
            return None
        state = Box(Path("/"), int(children[0])).tried("systemctl", "is-system-running")
        return int(children[0]) if state.stdout.strip() in ("running", "degraded") else None

    return until("systemd to be up", up, limit_s=120)
