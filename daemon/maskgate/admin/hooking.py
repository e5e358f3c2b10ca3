"""Hooks: which are run, a try, and the process that runs them. Nothing here reaches gallery, pins or the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskgate.admin.session import Session

if TYPE_CHECKING:
    from maskgate import config


@click.group()
def hooks() -> None:
    """Run programs of your own for each event of the gate; they can tell it nothing.

    Executables in the folder that report.hooks names get each event as a line of JSON on stdin. What they print is in
    the journal: journalctl -u maskgate-hooks. docs/HOOKS.md has examples.
    """


def _settings(session: Session) -> config.Report:
    """Return the settings; BadSetting when no hooks are wanted."""
    from maskgate.values import BadSetting

    report = session.settings().report
    if not report.hooks:
        raise BadSetting(f"{session.path}: report.hooks names no folder, so there are no hooks")
    return report


@hooks.command("list")
@click.pass_obj
def list_hooks(session: Session) -> None:
    """Say which files are run, and why others are not; exits with 1 when there are such."""
    from maskgate.hooks import executables

    ready, refused = executables(Path(_settings(session).hooks))
    for hook in ready:
        click.echo(f"runs  {hook}")
    for line in refused:
        click.echo(f"not   {line}")
    if refused:
        raise SystemExit(1)


@hooks.command()
@click.pass_obj
def test(session: Session) -> None:
    """Send an event of the kind "test" to the hooks, as the daemon sends its own."""
    import logging

    from maskgate.admin.session import actor
    from maskgate.events import Event
    from maskgate.outlet import Outlet
    from maskgate.report import json_of
    from maskgate.values import HookError

    place = Path(_settings(session).hooks_socket)
    # Said below, in one line.
    logging.getLogger("maskgate").addHandler(logging.NullHandler())
    outlet = Outlet(place)
    try:
        if not outlet.send(json_of(Event("test", actor=actor()))):
            raise HookError(f"{place}: nobody took the event; start it: systemctl start maskgate-hooks.socket")
    finally:
        outlet.close()
    click.echo("sent; what the hooks say is in the journal: journalctl -u maskgate-hooks")


@hooks.command()
@click.pass_obj
def run(session: Session) -> None:
    """Wait for events and run the hooks; systemd does this, as a user who may do nothing."""
    import logging
    import signal
    import sys

    from maskgate import hooks as runner
    from maskgate import journal

    settings = _settings(session)
    logging.basicConfig(level=logging.INFO, handlers=[journal.handler()])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with runner.listen(Path(settings.hooks_socket)) as (source, passed):
        idle_s = runner.IDLE_S if passed else None
        runner.serve(source, Path(settings.hooks), limit_s=settings.hook_s, idle_s=idle_s)
