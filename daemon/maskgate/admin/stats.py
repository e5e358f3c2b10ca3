"""What the log adds up to: who came when, what was refused and why, how near the threshold. Reads the log alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate.admin.log import begin, end, open_log
from maskgate.admin.screen import json_line
from maskgate.admin.session import Session
from maskgate.admin.telling import csv_rows

if TYPE_CHECKING:
    from maskgate.tally import Tally

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@click.command()
@click.option("--since", callback=begin, default="4w", show_default=True, metavar="WHEN", help="As for `maskgate log`.")
@click.option("--until", callback=end, metavar="WHEN", help="Up to a day, that day included, or up to a time.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write one page for a browser.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a heading: table, key, and what was counted.")
@click.pass_obj
def stats(
    session: Session, since: datetime | None, until: datetime | None, html: Path | None, as_json: bool, as_csv: bool
) -> None:
    """Show who came when, grants and refusals, reasons, time to open, and scores against the threshold.

    With --html it is one page without anything from elsewhere, to copy home and open there.
    """
    if as_json and as_csv:
        raise click.UsageError("give --json or --csv")
    with open_log(session) as store:
        counted = store.tally(since, until)
    if html is not None:
        from maskgate.admin.page import page

        _write(html, page(counted))
    if as_json:
        json_line(as_values(counted))
    elif as_csv:
        row = csv_rows(["table", "key", "granted", "refused", "n"])
        for told in as_rows(counted):
            row(told)
    elif html is None:
        from maskgate.admin.drawing import draw

        draw(counted)
    else:
        click.echo(f"{html}: {html.stat().st_size:,} bytes; it asks for nothing from elsewhere")


def _write(file: Path, text: str) -> None:
    """Write a page; StoreError when it cannot be written."""
    from maskgate.values import StoreError

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}; name a file in a folder that can be written") from error


def as_values(counted: Tally) -> dict[str, Any]:
    """Turn the counts into JSON values, bins into the lower ends of what they hold."""
    from maskgate.tally import BINS, TENTH_MS

    values = asdict(counted)
    values["hours"] = [[*key, *pair] for key, pair in counted.hours.items()]
    values["days"] = {str(day): pair for day, pair in counted.days.items()}
    values["open_ms"] = {str(number * TENTH_MS): n for number, n in counted.open_ms.items()}
    values["median_open_ms"] = counted.median_open_ms
    for scores in values["scores"].values():
        for sort in ("recognised", "strange"):
            scores[sort] = {f"{number / BINS:.2f}": n for number, n in sorted(scores[sort].items())}
    return values


def as_rows(counted: Tally) -> Iterator[dict[str, Any]]:
    """Turn the counts into rows of one table."""
    values = as_values(counted)
    for weekday, hour, granted, refused in values["hours"]:
        yield {"table": "hours", "key": f"{WEEKDAYS[weekday]} {hour:02}", "granted": granted, "refused": refused}
    for day, (granted, refused) in values["days"].items():
        yield {"table": "days", "key": day, "granted": granted, "refused": refused}
    for reason, n in values["reasons"].items():
        yield {"table": "reasons", "key": reason, "n": n}
    for name, n, _ in values["people"]:
        yield {"table": "people", "key": name, "granted": n}
    for name in ("masked", "seen", "median_open_ms"):
        yield {"table": "totals", "key": name, "n": values[name]}
    for ms, n in values["open_ms"].items():
        yield {"table": "open_ms", "key": ms, "n": n}
    for cover, scores in values["scores"].items():
        yield {"table": "threshold", "key": cover, "n": scores["threshold"]}
        for sort in ("recognised", "strange"):
            for score, n in scores[sort].items():
                yield {"table": f"{cover} {sort}", "key": score, "n": n}
