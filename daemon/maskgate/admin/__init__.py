"""The `maskgate` command: its commands, and what becomes of an error. Does nothing at the gate itself.

A module of commands is imported when one of them is called; numpy, the networks and the store come in when it runs:
`maskgate --help` answers at once even on a small board.
"""

from __future__ import annotations

import gettext
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from maskgate import __version__
from maskgate.admin.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "enrol": ("enrolling", "Enrol somebody from photos or at the gate, or many people at once."),
    "people": ("people", "List who is enrolled."),
    "show": ("people", "Show one person and the latest events about them."),
    "revoke": ("people", "Stop letting somebody in, at once."),
    "reinstate": ("people", "Undo revoke."),
    "rename": ("people", "Give somebody another name."),
    "erase": ("people", "Remove somebody for ever, and prove it."),
    "rules": ("ruling", "Say who may come in when, and why not."),
    "unlock": ("orders", "Let somebody in, once."),
    "hold-open": ("orders", "Keep the gate open for a time."),
    "lockdown": ("orders", "Let nobody in until it is released."),
    "release": ("orders", "End a lockdown, or a gate held open."),
    "log": ("log", "Show decisions and changes; verify that they are as written."),
    "stats": ("stats", "Show who came when, what was refused and why, and how near the threshold."),
    "tune": ("tuning", "Say what other settings would mean, whom to enrol again, who is like whom."),
    "status": ("status", "Show thresholds, gallery, networks and the running daemon."),
    "watch": ("watching", "Show the gate live."),
    "doctor": ("doctor", "Look the gate over, and say what mends what is wrong."),
    "config": ("settings", "Check or show the settings."),
    "backup": ("copies", "Write gallery, rules and key into one encrypted file."),
    "restore": ("copies", "Put a backup in the gallery's place."),
    "key": ("key", "Make or change the key that the gallery is sealed with."),
    "hooks": ("hooking", "Run programs of your own for each event."),
    "help": ("helping", "Explain a topic or a command; print the manual page."),
    "completion": ("helping", "Print the script by which a shell completes commands."),
    "run": ("daemon", "Run the gate; systemd does this."),
    "lock": ("daemon", "Drive the relay inactive."),
    "inspect": ("instruments", "Say what the gate makes of photos."),
    "replay": ("instruments", "Say how visits on video would have ended."),
    "evaluate": ("evaluating", "Measure recognition on your own photos."),
    "bench": ("bench", "Measure what the gate costs on this machine."),
}
"""By name: the module here that holds it, and its line in --help. The everyday ones first."""


class Failure(click.ClickException):
    """An expected failure: one line on stderr, exit 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"maskgate: {self.format_message()}", file=file, err=file is None)


NAMES = {"help": "help_"}
"""Commands whose functions are called otherwise, for Python has the name."""
LOCALE = Path(sys.prefix) / "share" / "locale"
"""Where translations would be, maskgate.mo in a folder for each language: of help, topics and what click says."""


class Commands(click.Group):
    """Imports a command when it is called, and says what goes wrong in it in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"maskgate.admin.{COMMANDS[cmd_name][0]}")
        command = getattr(module, NAMES.get(cmd_name, cmd_name.replace("-", "_")))
        assert isinstance(command, click.Command)
        _dress(command, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, gettext.gettext(said)) for name, (_, said) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command without importing all of them."""
        from click.shell_completion import CompletionItem

        options = click.Command.shell_complete(self, ctx, incomplete)
        found = [CompletionItem(name, help=said) for name, (_, said) in COMMANDS.items() if name.startswith(incomplete)]
        return found + options

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a bug keeps its traceback, an expected failure has one only with DEBUG=1."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if (meant := _meant(error)) is None:
                raise
            raise click.UsageError(f"{error.message} Did you mean {meant!r}?", error.ctx) from error
        except Exception as error:
            # Imported here: values brings in numpy, which --help does without.
            from maskgate.values import MaskgateError, one_line

            if not isinstance(error, MaskgateError) or os.environ.get("DEBUG") == "1":
                raise
            raise Failure(one_line(error)) from error


def _dress(command: click.Command, path: str) -> None:
    """Give a command, and those below it, their examples, and their help in the reader's language."""
    from maskgate.admin import guide

    if command.help:
        command.help = gettext.gettext(command.help)
    if shown := guide.examples(path):
        command.epilog = "\b\n" + gettext.gettext("Examples:") + "\n" + "".join(f"  {x}\n" for x in shown.splitlines())
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            _dress(below, f"{path} {name}")


def _meant(error: click.UsageError) -> str | None:
    """Return the command that was probably meant by one that there is not; None for other complaints."""
    group = error.ctx.command if error.ctx else None
    words = error.message.split("'")
    if not isinstance(group, click.Group) or error.ctx is None or len(words) < 3 or "Did you" in error.message:
        return None
    from difflib import get_close_matches

    return next(iter(get_close_matches(words[1], group.list_commands(error.ctx), 1)), None)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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


def main() -> None:
    """Run the command line. When the reader of its output goes away, it ends quietly with 1."""
    if sys.stdout is None:  # closed by whoever started it: `maskgate log >&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    gettext.bindtextdomain("maskgate", str(LOCALE))
    gettext.textdomain("maskgate")
    try:
        try:
            cli(prog_name="maskgate")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
