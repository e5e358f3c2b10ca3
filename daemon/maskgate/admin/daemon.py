"""Run the gate, and lock it: what the systemd unit calls. The loop itself is `maskgate.run`."""

from __future__ import annotations

import os

import click

from maskgate.admin.session import Session


@click.command()
@click.pass_obj
def run(session: Session) -> None:
    """Run the gate until it is told to stop; systemd does this. Logs to the journal, or to stderr."""
    import logging

    from maskgate import journal

    settings = session.settings()
    level = logging.DEBUG if os.environ.get("DEBUG") == "1" else logging.INFO
    logging.basicConfig(level=level, handlers=[journal.handler()])
    from maskgate.run import serve

    serve(settings, deadman=True)


@click.command()
@click.pass_obj
def lock(session: Session) -> None:
    """Drive the relay inactive, whatever became of the daemon; systemd does this after it."""
    settings = session.settings()
    from maskgate.gate import lock_pins

    lock_pins(settings.gate)
