"""The gallery's key: made, shown by its name, changed. Never prints the key itself."""

from __future__ import annotations

from pathlib import Path

import click

from maskgate.admin.session import Session, actor, is_absent


@click.group()
def key() -> None:
    """Make or look after the key that the gallery is sealed with."""


@key.command()
@click.pass_obj
def make(session: Session) -> None:
    """Make the key if there is none, and seal a gallery that is not yet; the installer does this."""
    from maskgate.keys import Keys
    from maskgate.store import open_store

    settings = session.settings()
    keys, gallery = Keys(Path(settings.store.key)), Path(settings.store.path)
    was_there = keys.exists()
    if is_absent(gallery):
        keys.first(gallery.parent)
        keys.settle()
    else:
        open_store(gallery, key=keys.path).close()
    click.echo(
        f"{keys.path}: {'unchanged' if was_there else 'made; without it the gallery opens to nobody, keep a copy'}"
    )


@key.command()
@click.pass_obj
def show(session: Session) -> None:
    """Show where the key is, and its name; two names while a change of it was interrupted."""
    from maskgate.keys import Keys

    keys = Keys(Path(session.settings().store.key))
    click.echo(f"{keys.path}: {', '.join(master.id.hex() for master in keys.read())}")


@key.command()
@click.pass_obj
def rotate(session: Session) -> None:
    """Seal everything with a new key and forget the old one; the gate may run meanwhile.

    Backups made before open with their own passphrase as ever. Interrupted, it is simply run again.
    """
    from maskgate.store import open_store

    settings = session.settings()
    with open_store(Path(settings.store.path), key=settings.store.key) as store:
        name = store.change_key(actor=actor())
    click.echo(f"{settings.store.key}: now {name}; the former key opens nothing any more, keep a copy of the new one")


@key.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def adopt(session: Session, yes: bool) -> None:
    """Seal a gallery that was never sealed, although there is a key: only if you put it there yourself."""
    from maskgate.store import adopt_gallery

    store = session.settings().store
    if not yes:
        click.confirm(f"Is {store.path} yours, and are all people in it?", abort=True, err=True)
    adopt_gallery(Path(store.path), Path(store.key))
    click.echo(f"{store.path}: sealed")
