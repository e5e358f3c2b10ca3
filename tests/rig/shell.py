"""Run commands with a time limit, and say their last words when they fail. Knows nothing of gates."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from rig.report import Failed

PATIENCE = float(os.environ.get("RIG_PATIENCE", "1"))
"""Every time limit is multiplied by this: more than 1 for a machine that is slow or busy."""
T = TypeVar("T")


def run(
    *command: str | Path,
    limit_s: float = 60,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
) -> str:
    """Run a command and return what it said on both channels; Failed when it fails or takes longer than its limit."""
    done = outcome(*command, limit_s=limit_s, env=env, stdin=stdin, cwd=cwd)
    if done.returncode:
        raise Failed(f"{done.stdout}\n{' '.join(map(str, command))[:200]}: exit {done.returncode}")
    return done.stdout


def outcome(
    *command: str | Path,
    limit_s: float = 60,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and return how it ended; Failed only when it takes longer than its limit."""
    try:
        return subprocess.run(
            list(map(str, command)),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit_s * PATIENCE,
            env=None if env is None else dict(env),
            cwd=cwd,
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
        raise Failed(f"{said}\n{' '.join(map(str, command))[:200]}: no end after {error.timeout:.0f} s") from error


def until(what: str, seen: Callable[[], T | None], *, limit_s: float, every_s: float = 0.2) -> T:
    """Ask until the answer is true, and return it; Failed, naming `what`, after the limit."""
    end_s = time.monotonic() + limit_s * PATIENCE
    while True:
        found = seen()
        if found:
            return found
        if time.monotonic() > end_s:
            raise Failed(f"waited {limit_s * PATIENCE:.0f} s in vain: {what}")
        time.sleep(every_s)
