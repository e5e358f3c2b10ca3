"""Look at the settings: check the config file, show every setting with what it is now. Changes nothing."""

from __future__ import annotations

import click

from maskgate.admin.session import Session


@click.group()
def config() -> None:
    """Check or show the settings."""


@config.command()
@click.pass_obj
def check(session: Session) -> None:
    """Check the config file; the first mistake is named."""
    session.settings()
    click.echo(f"{click.format_filename(str(session.path))}: all settings are good")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def show(session: Session, as_json: bool) -> None:
    """Show every setting as TOML, the defaults and resolved paths too. What it prints is a config file."""
    import msgspec

    from maskgate.admin.screen import json_line

    settings = msgspec.to_builtins(session.settings())
    if as_json:
        json_line(settings)
        return
    import tomli_w

    from maskgate.config import said

    # TOML has no null: what is not set is said in a comment, but for rules, which leave most things unsaid.
    unset = [f"{section}.{key}" for section, keys in settings.items() for key, value in keys.items() if value is None]
    for name in unset:
        click.echo(f"# {name} is not set")
    click.echo(tomli_w.dumps(said(settings)), nl=False)
