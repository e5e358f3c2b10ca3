"""The `maskgate` command: the groups of commands, and what becomes of an error. Does nothing at the gate itself.

Modules here import click and light standard library alone at their tops; numpy, the networks and the store come in when
a command runs, so that `maskgate --help` answers at once even on a small board.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from maskgate import __version__
from maskgate.admin.bench import bench
from maskgate.admin.daemon import lock, run
from maskgate.admin.enrolling import enrol
from maskgate.admin.instruments import inspect, replay
from maskgate.admin.log import log
from maskgate.admin.people import erase, people, reinstate, rename, revoke, show
from maskgate.admin.session import Session
from maskgate.admin.settings import config
from maskgate.admin.status import status

COMMANDS = (
    *(enrol, people, show, revoke, reinstate, rename, erase),
    *(log, status, config, run, lock),
    *(inspect, replay, bench),
)


class Plain(click.Group):
    """Lists the commands in the order given: the everyday ones first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Plain, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="maskgate")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar="MASKGATE_CONFIG",
    help="Settings to use instead of /etc/maskgate/maskgate.toml; also $MASKGATE_CONFIG.",
)
@click.pass_context
def cli(ctx: click.Context, path: Path | None) -> None:
    """Look after a face-recognition gate: who may enter, who came, how well it works.

    Commands print one JSON object per line with --json. They exit with 0 when all went well, 1 when something failed
    (one line on stderr says what), 2 when they were called wrongly.
    """
    ctx.obj = Session(path)


for _command in COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Run the command line; an expected failure is one line on stderr and exit 1, a traceback only with DEBUG=1."""
    try:
        try:
            cli(prog_name="maskgate")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone. What is still buffered must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        _explain(error)


def _explain(error: Exception) -> NoReturn:
    """Say an expected failure in one line and leave; anything else is a bug and keeps its traceback."""
    from maskgate.values import MaskgateError

    if os.environ.get("DEBUG") == "1" or not isinstance(error, MaskgateError):
        raise error
    print("maskgate:", " ".join(str(error).split()), file=sys.stderr)
    sys.exit(1)
