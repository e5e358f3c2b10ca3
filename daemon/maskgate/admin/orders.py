"""Orders to the running gate: unlock, hold open, lock down, release. The daemon records them with the UNIX user."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate.admin.session import Session

if TYPE_CHECKING:
    from maskgate.config import Settings

REASON = click.option(
    "--reason", metavar="TEXT", help="Why, for the log. No names: erasing somebody does not find them."
)
LONGEST = {"s": 1, "m": 60, "h": 3600}
"""Seconds in each unit of a time."""


def give(settings: Settings, order: str, **args: Any) -> dict[str, Any]:
    """Have the daemon carry an order out; DaemonError says why it did not."""
    from maskgate.control import ask
    from maskgate.values import DaemonError

    # Only root is believed whom it works for, and sudo runs as root.
    behind = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    given = {key: value for key, value in (args | {"behind": behind}).items() if value is not None}
    answer = next(iter(ask(Path(settings.control.socket), order, **given)), {"error": "it said nothing"})
    if "error" in answer:
        raise DaemonError(f"{order.replace('_', '-')}: {answer['error']}")
    return answer


def _seconds(ctx: click.Context, param: click.Parameter, text: str) -> float:
    """Read a length of time: 90s, 30m, 8h."""
    found = re.fullmatch(r"(\d{1,6})([smh])", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no length of time; write 90s, 30m or 8h")
    return float(int(found[1]) * LONGEST[found[2]])


@click.command()
@REASON
@click.pass_obj
def unlock(session: Session, reason: str | None) -> None:
    """Let somebody in, once, for as long as a grant would."""
    give(session.settings(), "unlock", reason=reason)
    click.echo("unlocked")


@click.command()
@click.option(
    "--for", "for_s", required=True, callback=_seconds, metavar="TIME", help="How long: 90s, 30m, 8h; a day at most."
)
@REASON
@click.pass_obj
def hold_open(session: Session, for_s: float, reason: str | None) -> None:
    """Keep the gate open for a time; it does not outlast a restart."""
    give(session.settings(), "hold_open", for_s=for_s, reason=reason)
    click.echo(f"held open for {for_s:.0f} s; maskgate release ends it")


@click.command()
@REASON
@click.pass_obj
def lockdown(session: Session, reason: str | None) -> None:
    """Let nobody in until it is released, over restarts too; the exit button and the fire input work on."""
    give(session.settings(), "lockdown", reason=reason)
    click.echo("locked down; maskgate release ends it")


@click.command()
@REASON
@click.pass_obj
def release(session: Session, reason: str | None) -> None:
    """End a lockdown, a gate held open, or a fault that is mended: the gate is locked and lets in whom it should."""
    answer = give(session.settings(), "release", reason=reason)
    click.echo(f"released; the gate is {answer['lock']}")
