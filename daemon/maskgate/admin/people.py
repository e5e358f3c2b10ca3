"""Who is enrolled: list, show, revoke, reinstate, rename, erase. Every change is an event with the UNIX user."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskgate.admin.screen import cell, json_line, local, table
from maskgate.admin.session import Session, actor

if TYPE_CHECKING:
    from maskgate.store import Store, Subject

LATEST = 5
"""So many of a subject's events are shown."""


def _store(session: Session, *, readonly: bool = False) -> Store:
    """Open the gallery; StoreError when there is none."""
    from maskgate.store import open_store

    settings = session.settings()
    return open_store(Path(settings.store.path), key=settings.store.key, readonly=readonly)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON object per person.")
@click.pass_obj
def people(session: Session, as_json: bool) -> None:
    """List who is enrolled."""
    with _store(session, readonly=True) as store:
        subjects = store.subjects()
    if as_json:
        for subject in subjects:
            json_line(asdict(subject))
    elif not subjects:
        click.echo("nobody is enrolled; maskgate enrol NAME PHOTO... enrols somebody")
    else:
        table(("name", "templates", "enrolled", "last let in", "revoked"), [_row(subject) for subject in subjects])


def _row(subject: Subject) -> tuple[object, ...]:
    return (
        *(subject.name, subject.templates, local(subject.created_at)),
        *(local(subject.last_granted_at), local(subject.revoked_at)),
    )


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show one person and the latest events about them."""
    with _store(session, readonly=True) as store:
        subject = store.subject(name)
        events = list(store.events(person=name, limit=LATEST))
    if as_json:
        json_line(asdict(subject) | {"events": [asdict(event) for event in events]})
        return
    for label, value in zip(("name", "templates", "enrolled", "last let in", "revoked"), _row(subject), strict=True):
        click.echo(f"{label + ':':<13}{cell(value)}")
    for model in subject.models:
        click.echo(f"{'model:':<13}{model[:16]}")
    for event in events:
        click.echo(f"  {local(event.at)}  {event.kind}  {event.reason or event.actor or ''}".rstrip())


@click.command()
@click.argument("name")
@click.pass_obj
def revoke(session: Session, name: str) -> None:
    """Stop letting somebody in, at once; the templates stay, reinstate undoes it."""
    with _store(session) as store:
        store.revoke(name, actor=actor())
        click.echo(f"{store.subject(name).name}: revoked; matches no more")


@click.command()
@click.argument("name")
@click.pass_obj
def reinstate(session: Session, name: str) -> None:
    """Undo revoke."""
    with _store(session) as store:
        store.reinstate(name, actor=actor())
        click.echo(f"{store.subject(name).name}: reinstated; matches again")


@click.command()
@click.argument("old")
@click.argument("new")
@click.pass_obj
def rename(session: Session, old: str, new: str) -> None:
    """Give somebody another name, in the log's past too."""
    with _store(session) as store:
        store.rename(old, new, actor=actor())
        click.echo(f"{store.subject(new).name}: renamed")


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def erase(session: Session, name: str, yes: bool) -> None:
    """Remove somebody for ever, and prove that no byte of their templates or name is left in the gallery.

    What `maskgate rules` has made for them goes, too. The log keeps what happened under a pseudonym; given that as
    NAME, the proof is made again.
    """
    from maskgate.rulebook import Rulebook
    from maskgate.store import PSEUDONYM

    settings = session.settings()
    book = Rulebook(settings.rules, Path(settings.store.path).parent)
    names: tuple[str, ...] = ()
    with _store(session) as store:
        # A pseudonym asks for the proof alone: whose it was is gone.
        if not name.startswith(PSEUDONYM):
            subject = store.subject(name)
            names = (subject.name, *subject.formerly)
            if not yes:
                click.confirm(f"Erase {subject.name} and {subject.templates} templates for ever?", abort=True, err=True)
        pseudonym = store.erase(name, actor=actor())
    book.forget(names)
    if book.names(names):
        click.echo(f"warning: {session.path} still names them in its rules; take that out by hand", err=True)
    click.echo(f"erased: neither templates nor name are left in the gallery's files; the log says {pseudonym} instead")
