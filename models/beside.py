"""Make batches in a process beside the training: a thread would hold it up. Standard library alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any


def beside(batches: Iterator[Any], ahead: int = 6) -> Iterator[Any]:
    """The same batches, up to `ahead` of them ready before they are asked for."""
    fork = multiprocessing.get_context("fork")
    ready = fork.Queue(ahead)

    def fill() -> None:
        for batch in batches:
            ready.put(batch)

    fork.Process(target=fill, daemon=True).start()
    while True:
        yield ready.get()
