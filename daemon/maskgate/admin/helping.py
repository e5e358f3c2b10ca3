"""`maskgate help`, the manual page and completion for shells: all made from the commands themselves and `guide`."""

from __future__ import annotations

from collections.abc import Iterator
from gettext import gettext

import click

from maskgate import __version__
from maskgate.admin import guide

SHELLS = ("bash", "zsh", "fish")


@click.command("help")
@click.argument("words", nargs=-1, metavar="[TOPIC | COMMAND...]")
@click.option("--man", is_flag=True, help="The manual page, of all commands and topics, for man -l -.")
@click.pass_context
def help_(ctx: click.Context, words: tuple[str, ...], man: bool) -> None:
    """Explain a topic or a command; alone, say what there is."""
    top = ctx.find_root()
    if man:
        click.echo(manual(top), nl=False)
    elif not words:
        click.echo(top.get_help())
        click.echo("\nTopics: maskgate help " + " | ".join(guide.TOPICS))
    elif len(words) == 1 and words[0] in guide.TOPICS:
        heading, text = guide.TOPICS[words[0]]
        click.echo(f"{gettext(heading)}\n\n{gettext(text)}")
    else:
        click.echo(_found(top, words).get_help())


def _found(top: click.Context, words: tuple[str, ...]) -> click.Context:
    """Return the context of the command that `words` name; UsageError when there is none."""
    context = top
    for i, word in enumerate(words):
        group = context.command
        command = group.get_command(context, word) if isinstance(group, click.Group) else None
        if command is None:
            from difflib import get_close_matches

            known = [*(group.list_commands(context) if isinstance(group, click.Group) else ()), *guide.TOPICS]
            near = get_close_matches(word, known, 1)
            mean = f"did you mean {near[0]!r}?" if near else f"topics are {', '.join(guide.TOPICS)}"
            raise click.UsageError(f"no command or topic {' '.join(words[: i + 1])!r}; {mean}")
        context = click.Context(command, info_name=word, parent=context)
    return context


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script by which a shell completes maskgate's commands and options."""
    from click.shell_completion import get_completion_class

    from maskgate.admin import cli

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, "maskgate", "_MASKGATE_COMPLETE").source())


# -- the manual page -----------------------------------------------------------------------------------------------


def manual(top: click.Context) -> str:
    """Return the manual page, in the language of man(7)."""
    command = top.command
    lines = [f'.TH MASKGATE 1 "" "maskgate {__version__}"', ".nh", ".ad l"]
    lines += [".SH NAME", r"maskgate \- look after a face-recognition gate"]
    lines += [".SH SYNOPSIS", ".B maskgate", r"[\fB\-\-config\fR \fIFILE\fR] \fICOMMAND\fR [\fIARGUMENT\fR]..."]
    lines += [".SH DESCRIPTION", *_prose(command.help or ""), ".SH OPTIONS", *_options(top), ".SH COMMANDS"]
    for context in _walk(top):
        path = context.command_path.removeprefix(top.command_path).strip()
        usage = " ".join(context.command.collect_usage_pieces(context))
        lines += [f".SS {_escaped(path)} {_escaped(usage)}", *_prose(context.command.help or ""), *_options(context)]
        if shown := guide.examples(path):
            lines += _verbatim(shown)
    for heading, text in guide.TOPICS.values():
        lines += [f".SH {_escaped(heading.upper())}", *_verbatim(text)]
    return "\n".join(lines) + "\n"


def _walk(context: click.Context) -> Iterator[click.Context]:
    """Go through all commands below one."""
    group = context.command
    for name in group.list_commands(context) if isinstance(group, click.Group) else ():
        command = group.get_command(context, name) if isinstance(group, click.Group) else None
        if command is not None and not command.hidden:
            below = click.Context(command, info_name=name, parent=context)
            yield below
            yield from _walk(below)


def _options(context: click.Context) -> list[str]:
    records = [record for param in context.command.params if (record := param.get_help_record(context))]
    return [line for name, said in records for line in (".TP", rf"\fB{_escaped(name)}\fR", _escaped(said))]


def _prose(text: str) -> list[str]:
    """Word a docstring: paragraphs run on, those after a \\b stay as they are."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        words = paragraph.strip("\n")
        if words.lstrip().startswith("\b"):
            lines += _verbatim(words.lstrip("\b \n"))
        else:
            lines += [".PP", _escaped(" ".join(words.split()))]
    return lines


def _verbatim(text: str) -> list[str]:
    return [".PP", ".nf", *(_escaped(line) or r"\&" for line in text.splitlines()), ".fi"]


def _escaped(text: str) -> str:
    r"""Keep roff from taking text for its own: backslashes, hyphens that are to be copied, dots that begin a line."""
    said = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    return rf"\&{said}" if said.startswith(".") else said
