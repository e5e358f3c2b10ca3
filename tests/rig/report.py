"""Say how each check went: a line with its seconds, the last words of one that failed, a summary. Runs nothing."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

LAST_WORDS = 15
"""Lines that a failure may say."""


class Failed(Exception):
    """A check did not hold; its text is what was seen instead."""


class PartOver(Exception):
    """The rest of a part makes no sense after a failure."""


class Report:
    """The checks so far; `part` is the one being run."""

    def __init__(self) -> None:
        """Begin with none."""
        self.part = ""
        self.parts = self.checks = self.failures = 0

    def begin(self, part: str) -> None:
        """Count a part; its checks bear its name."""
        self.part, self.parts = part, self.parts + 1

    def say(self, words: str) -> None:
        """Print a remark, which is no check."""
        print(f"--                {self.part}: {words}", flush=True)

    @contextmanager
    def check(self, words: str, *, vital: bool = False) -> Iterator[None]:
        """Time the body and print how it went; after a vital check that failed the part is over."""
        begun_s = time.monotonic()
        self.checks += 1
        try:
            yield
        except (Failed, AssertionError, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
            self.fail(words, time.monotonic() - begun_s, error)
            if vital:
                raise PartOver from error
        else:
            print(f"ok      {time.monotonic() - begun_s:6.1f} s  {self.part}: {words}", flush=True)

    def fail(self, words: str, took_s: float, error: BaseException) -> None:
        """Print a failure with its last words."""
        self.failures += 1
        print(f"FAILED  {took_s:6.1f} s  {self.part}: {words}", flush=True)
        said = str(error) or type(error).__name__
        for line in said.splitlines()[-LAST_WORDS:]:
            print(f"        | {line}", flush=True)

    def sum_up(self) -> str:
        """Return the last line."""
        return f"rig: {self.parts} parts, {self.checks} checks, {self.failures} failed"
