"""Run the parts in order, a line for each check; as root, in namespaces of its own, so that nothing outlives it.

    PYTHONPATH=tests python3 -m rig [PART...]

RIG_CACHE is where roots are kept (~/.cache/maskgate-rig), RIG_PATIENCE multiplies every time limit, SUITE names the
only suite that the installer is tried in. Ends with 0 when every check of every part held, else with 1.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rig import roots, tools
from rig.enclosure import enclose, end_the_rest
from rig.report import Failed, PartOver, Report
from rig.shell import PATIENCE

PARTS = {"camera": 900, "service": 900, "relay": 2400, "arm64": 1800, "installer": 1800, "unit": 60}
"""How long each part may take, seconds, roots not yet made included."""


class Late(Exception):
    """A part has used up its time."""


def main(words: list[str]) -> int:
    """Run the parts named, or all; return the exit code."""
    unknown = [word for word in words if word not in PARTS]
    if unknown:
        print(f"rig: there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("rig: needs root, for roots, mounts and systemd: sudo make rig", file=sys.stderr)
        return 1
    ended = enclose()
    if ended is not None:
        return ended if ended >= 0 else 128 - ended
    try:
        return _run_all(words or list(PARTS))
    except KeyboardInterrupt:
        print("rig: interrupted; what it started and mounted is gone", file=sys.stderr, flush=True)
        return 130


def _run_all(names: list[str]) -> int:
    """Run these parts; return 1 when anything failed, else 0."""
    report = Report()
    with _alone():
        for name in names:
            report.begin(name)
            _run(name, report)
    print(report.sum_up(), flush=True)
    return 1 if report.failures else 0


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the cache, which one rig at a time works in, and leave nothing there but what is kept."""
    roots.CACHE.mkdir(parents=True, exist_ok=True)
    with (roots.CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"rig: waiting for another rig to leave {roots.CACHE}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        roots.start()
        try:
            yield
        finally:
            end_the_rest()
            roots.end()


def _run(name: str, report: Report) -> None:
    """Run one part within its time; whatever it started is ended with it."""
    begun_s = time.monotonic()
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(round(PARTS[name] * PATIENCE))
    try:
        part = importlib.import_module(f"rig.parts.{name}")
        tools.gather(part.NEEDS)
        part.run(report)
    except PartOver:
        pass
    except Late:
        report.fail("the part ends in time", time.monotonic() - begun_s, Failed(f"no end after {PARTS[name]} s"))
    except Exception as error:  # what is outside of every check: a root that cannot be made, say
        report.fail("the part can be run", time.monotonic() - begun_s, error)
    finally:
        signal.alarm(0)
        end_the_rest()


def _late(number: int, frame: FrameType | None) -> None:
    raise Late


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
