"""The log: what the gate decided and what administrators changed. Reads the store, writes to stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from maskgate.admin.screen import counted, json_line
from maskgate.admin.session import Session
from maskgate.admin.telling import csv_rows, csv_teller, json_teller, text_teller
from maskgate.admin.when import hours, moment
from maskgate.reasons import REASONS

if TYPE_CHECKING:
    from maskgate.store import Event, Store

EVERY_S = 0.5
"""A follower asks for news this often."""
MOST_SHOWN = 100
"""So many findings are shown to a person."""


def begin(ctx: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    return None if text is None else moment(text)


def end(ctx: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    return None if text is None else moment(text, end=True)


def _hours(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[str, str] | None:
    return None if text is None else hours(text)


@click.group(invoke_without_command=True)
@click.option(
    "--since",
    callback=begin,
    metavar="WHEN",
    help="From yesterday, monday, a day, a time (local, or with a zone) or so long ago: 30m, 12h, 7d.",
)
@click.option("--until", callback=end, metavar="WHEN", help="Up to a day, that day included, or up to a time.")
@click.option("--person", help="About one person.")
@click.option("--denied", is_flag=True, help="Refusals alone.")
@click.option("--reason", type=click.Choice(list(REASONS)), metavar="CODE", help="With one reason code.")
@click.option("--masked", is_flag=True, help="Masked faces alone.")
@click.option("--between", callback=_hours, metavar="HOURS", help="At these hours of every day: 22:00-06:00.")
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="The newest so many; 0 is all.")
@click.option(
    "--times",
    type=click.Choice(["exact", "ago", "both"]),
    default="exact",
    show_default=True,
    help="Times as they were, or how long ago.",
)
@click.option("--follow", is_flag=True, help="Go on with what happens from now.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object per event.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a heading.")
@click.pass_context
def log(
    ctx: click.Context,
    since: datetime | None,
    until: datetime | None,
    person: str | None,
    denied: bool,
    reason: str | None,
    masked: bool,
    between: tuple[str, str] | None,
    limit: int,
    times: str,
    follow: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show decisions and changes, newest last; tell all about one; verify that nobody has tampered with them.

    What is asked for together must all be so: --since yesterday --between 22:00-06:00 --denied.
    """
    if ctx.invoked_subcommand:
        return
    if as_json and as_csv:
        raise click.UsageError("give --json or --csv")
    if follow and until:
        raise click.UsageError("--follow has no end; leave out --until")
    # Ctrl-C is how one stops following, and no failure.
    with open_log(ctx.obj) as store, _interruptible(follow):
        asked = partial(
            store.events, since=since, person=person, denied=denied, reason=reason, masked=masked, hours=between
        )
        last = store.last_id()
        tell = json_teller if as_json else csv_teller() if as_csv else text_teller(times, last)
        for event in asked(until=until, limit=limit or None):
            tell(event)
            last = max(last, event.id)
        if follow:
            for event in _following(lambda after: asked(after_id=after), last):
                tell(event)


@log.command()
@click.argument("event", type=click.IntRange(1), metavar="ID")
@click.option(
    "--picture",
    type=click.Choice(["auto", "kitty", "sixel", "blocks", "shades", "off"]),
    default="auto",
    show_default=True,
    help="How a picture that was kept is drawn; auto asks the terminal.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a heading, a row for each look.")
@click.pass_obj
def show(session: Session, event: int, picture: str, as_json: bool, as_csv: bool) -> None:
    """Tell everything about one event: its looks, what was needed, what took how long, which rule, which networks."""
    from maskgate.admin import showing

    with open_log(session) as store:
        found = store.event(event)
        jpeg = store.snapshot(event)
        told = showing.story(found, store.started_before(event), picture=jpeg is not None)
    if as_json:
        json_line(told)
    elif as_csv:
        row = csv_rows(["id", "look", *showing.LOOKS])
        for number, look in enumerate(told["looks"], 1):
            row({"id": event, "look": number} | look)
    else:
        showing.tell(told, found)
        if jpeg is not None:
            showing.tell_picture(jpeg, picture)


@log.command()
@click.argument("event", type=click.IntRange(1), metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a heading.")
@click.pass_obj
def why(session: Session, event: int, as_json: bool, as_csv: bool) -> None:
    """Say in one sentence what happened, and why."""
    from maskgate.admin.why import sentence

    with open_log(session) as store:
        said = {"id": event, "why": sentence(store.event(event))}
    if as_json:
        json_line(said)
    elif as_csv:
        csv_rows(list(said))(said)
    else:
        click.echo(said["why"])


@log.command()
@click.option(
    "--anchor",
    "kept",
    type=click.File(encoding="utf-8", errors="replace"),
    metavar="FILE",
    help="Anchors from elsewhere: a file of `log anchor`, or the journal; - reads stdin.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object per finding.")
@click.pass_obj
def verify(session: Session, kept: IO[str] | None, as_json: bool) -> None:
    """Go through the whole log and say what was done to it by somebody without the key.

    What was cut off its end is seen as far as an anchor reaches:
    journalctl -u maskgate | maskgate log verify --anchor -
    """
    from maskgate.chain import anchors_in
    from maskgate.values import BadSetting, StoreError

    anchors = anchors_in(kept.read()) if kept else []
    if kept and not anchors:
        raise BadSetting(
            f"{kept.name}: has no anchor in it; `maskgate log anchor FILE` writes one, the journal has more"
        )
    number = 0
    with open_log(session) as store:
        for finding in store.verify(anchors):
            number += 1
            if as_json:
                json_line(asdict(finding))
            elif number <= MOST_SHOWN:
                click.echo(f"event {finding.id} {finding.said}" if finding.id else finding.said)
        last = store.last_id()
    if number:
        raise StoreError(
            f"the log was tampered with: {counted(number, 'finding')}; restore a backup, and ask who could write to it"
        )
    if not as_json:
        agreed = f"; {counted(len(anchors), 'anchor')} agreed with" if anchors else ""
        click.echo(f"the log is as it was written, up to event {last}{agreed}")


@log.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def anchor(session: Session, file: Path) -> None:
    """Append to FILE what pins the log as it now is; keep it on another machine, or on paper."""
    from maskgate.values import StoreError

    with open_log(session) as store:
        line = str(store.anchor())
    try:
        with file.open("a", encoding="ascii") as out:
            out.write(line + "\n")
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}; name a file that can be written") from error
    click.echo(line)


@log.command()
@click.argument("event", type=click.IntRange(1))
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def snapshot(session: Session, event: int, file: Path) -> None:
    """Write the picture that was kept with an EVENT into a new FILE, as JPEG; --json of `log` shows ids."""
    from maskgate.values import StoreError

    with open_log(session) as store:
        jpeg = store.snapshot(event)
    if jpeg is None:
        raise StoreError(f"event {event} has no picture; store.snapshots says for which one is kept, and for how long")
    try:
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
            out.write(jpeg)
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}; name a new file in a folder that can be written") from error
    click.echo(f"{file}: {len(jpeg):,} bytes")


def open_log(session: Session) -> Store:
    """Open the gallery to read it."""
    from maskgate.store import open_store

    settings = session.settings()
    return open_store(Path(settings.store.path), key=settings.store.key, readonly=True)


def _interruptible(follow: bool) -> AbstractContextManager[None]:
    return suppress(KeyboardInterrupt) if follow else nullcontext()


def _following(later: Callable[[int], Iterator[Event]], last: int) -> Iterator[Event]:
    """Yield what comes after the event `last`, until nobody reads any more."""
    while True:
        for event in later(last):
            yield event
            last = event.id
        sys.stdout.flush()
        if _is_unread(EVERY_S):
            return


def _is_unread(wait_s: float) -> bool:
    """Wait so long, and tell whether the reader of stdout has gone; then at once."""
    import select

    # Without this a follower of a quiet gate would outlive `| head` until the next event.
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(wait_s * 1000))
