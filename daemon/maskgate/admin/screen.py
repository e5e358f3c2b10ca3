"""What commands print: tables for people, a JSON object per line for scripts. Knows nothing of faces or gates."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click


def json_line(value: dict[str, Any]) -> None:
    """Print one JSON object on one line, at once; ASCII, so that no locale can spoil it. ValueError for NaN."""
    import json

    click.echo(json.dumps(value, allow_nan=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings; numbers to the right, None as a dash. No row is cut, whatever the terminal's width."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, name in enumerate(columns):
        numbers = any(isinstance(row[i], (int, float)) for row in rows)
        drawn.add_column(name, justify="right" if numbers else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(cell(value)) for value in row))
    needed = Console(width=10_000).measure(drawn).maximum
    Console(file=sys.stdout, width=max(needed, 20), highlight=False).print(drawn)


@contextmanager
def progress(doing: str, total: int) -> Iterator[tuple[Callable[[], None], Callable[[str], None]]]:
    """Give a function that moves the bar on and one that says a line above it; on stderr, a bar only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None, lambda text: click.echo(text, err=True)
        return
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda: bar.advance(task), lambda text: bar.console.print(Text(text), soft_wrap=True)


def cell(value: object) -> str:
    """Word a value for a table or a line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def counted(number: int, word: str) -> str:
    """Say how many there are of something whose plural ends in s."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def local(at: str | None) -> str | None:
    """Turn the log's UTC time into the reader's local time, to the second; None stays None."""
    from datetime import datetime

    try:
        return None if at is None else datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return at  # a log that somebody wrote to is shown as it is
