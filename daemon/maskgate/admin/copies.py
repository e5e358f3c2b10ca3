"""Back the gallery up and restore it: one encrypted file with the key in it. Asks for a passphrase, shows none."""

from __future__ import annotations

from pathlib import Path

import click

from maskgate.admin.screen import counted
from maskgate.admin.session import Session, actor

_secret_file = click.option(
    "--passphrase-file",
    "secret",
    type=click.Path(path_type=Path),
    help="Read the passphrase, or any secret bytes, from a file instead of asking.",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_secret_file
@click.option("--yes", is_flag=True, help="Overwrite FILE without asking.")
@click.pass_obj
def backup(session: Session, file: Path, secret: Path | None, yes: bool) -> None:
    """Write everything, the key too, into one encrypted FILE; the gate goes on meanwhile.

    It is read back and verified. Without its passphrase it is of no use, to you neither.
    """
    from maskgate.backup import make
    from maskgate.store import open_store

    settings = session.settings()
    with open_store(Path(settings.store.path), key=settings.store.key, readonly=True) as store:
        if file.exists() and not yes:
            click.confirm(f"Overwrite {file}?", abort=True, err=True)
        size = make(store, file, _passphrase(secret, twice=True))
    click.echo(f"{file}: {size:,} bytes, verified")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_secret_file
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def restore(session: Session, file: Path, secret: Path | None, yes: bool) -> None:
    """Put a backup in the gallery's place, after it was verified whole; what was there is kept aside.

    The gate may run; for the seconds that it takes it opens to nobody. Who was erased or revoked since stays so.
    """
    from maskgate import backup as backups

    store = session.settings().store
    with backups.opened(file, _passphrase(secret, twice=False), beside=Path(store.path)) as found:
        click.echo(
            f"{file}: whole; made at {found.made_at}, {counted(found.events, 'event')}, {found.people} enrolled",
            err=True,
        )
        if not yes:
            click.confirm(f"Put it in the place of {store.path}?", abort=True, err=True)
        aside = backups.restore(found, Path(store.path), Path(store.key), actor=actor())
    kept = f"; what was there is now {aside}, delete it when you need it no more" if aside else ""
    click.echo(f"{store.path}: restored{kept}")


def _passphrase(file: Path | None, *, twice: bool) -> bytes:
    """Read the passphrase from a file, less the end of its last line, or ask for it."""
    from maskgate.values import BadSetting

    if file is None:
        return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True)).encode()
    try:
        return file.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise BadSetting(f"{file}: {error.strerror}; name a file that can be read") from None
