"""Watch the gate live, and give it the three orders that cannot wait. Asks the daemon each second; reads no gallery."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate.admin.session import Session

if TYPE_CHECKING:
    from maskgate.admin.board import View
    from maskgate.admin.terminal import Terminal
    from maskgate.config import Settings

LOOK_S = 1.0
"""How often the daemon is asked."""
ANSWER_S = 4.0
"""A daemon that has not answered after this long is said not to; it is asked again."""
SAID_S = 5.0
"""How long the outcome of an order stands."""
ORDERS = {"u": ("unlock", "unlock once"), "l": ("lockdown", "lock down"), "r": ("release", "release the gate")}


@click.command()
@click.pass_obj
def watch(session: Session) -> None:
    """Show the gate live: its state, what it sees, the last decision, the last ten events.

    Keys: u unlocks once, l locks down, r releases, each after a y; q leaves. Needs a terminal; maskgate log --follow
    is for pipes.
    """
    from maskgate.admin.terminal import Terminal, is_movable
    from maskgate.values import DaemonError

    if not is_movable():
        raise DaemonError("watch: needs a terminal that can move its cursor; maskgate log --follow needs none")
    settings = session.settings()
    with suppress(KeyboardInterrupt), Terminal(colour=not os.environ.get("NO_COLOR")) as terminal:
        _watch(settings, terminal)


def _watch(settings: Settings, terminal: Terminal) -> None:
    """Draw, wait for a key, draw again; returns when somebody wants to leave."""
    from maskgate.admin.board import lines

    plain = "utf" not in (sys.stdout.encoding or "").lower()
    view, asked, said, said_s = _look(settings), "", "", time.monotonic()
    due_s = time.monotonic() + LOOK_S
    while True:
        if said and time.monotonic() - said_s > SAID_S:
            said = ""
        question = f"{ORDERS[asked][1]}? y/n" if asked else said
        size = terminal.size
        terminal.draw(lines(replace(view, said=question), size.columns, size.lines, plain=plain))
        pressed = terminal.key(max(0.0, due_s - time.monotonic()))
        if asked and pressed is not None:
            if pressed == "y":
                said, said_s = _order(settings, ORDERS[asked][0]), time.monotonic()
                due_s = 0.0
            asked = ""
        elif pressed is not None and pressed in ORDERS:
            asked = pressed
        elif pressed == "q":
            return
        if time.monotonic() >= due_s:
            view = _look(settings)
            due_s = time.monotonic() + LOOK_S


def _look(settings: Settings) -> View:
    """Ask the daemon and the machine."""
    from maskgate.admin.board import View, floor_of
    from maskgate.admin.checks import Machine, celsius
    from maskgate.control import ask
    from maskgate.values import DaemonError

    daemon: dict[str, Any] | None = None
    try:
        answer = next(iter(ask(Path(settings.control.socket), "watch", answer_s=ANSWER_S)), {})
        silence = str(answer.get("error", "the daemon said nothing"))
        daemon = answer if "state" in answer else None
    except DaemonError as error:
        silence = str(error)
    free: int | None = None
    with suppress(OSError):
        free = shutil.disk_usage(Path(settings.store.path).parent).free
    return View(datetime.now().astimezone(), daemon, silence, celsius(Machine()), free, quality=floor_of(settings))


def _order(settings: Settings, order: str) -> str:
    """Give an order, and word what came of it."""
    from maskgate.admin.orders import give
    from maskgate.values import DaemonError

    try:
        answer = give(settings, order, reason=None)
    except DaemonError as error:
        return str(error)
    return f"{order}: done, the gate is {answer['lock'].replace('_', ' ')}"
