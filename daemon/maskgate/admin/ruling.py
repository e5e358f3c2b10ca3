"""Who may come in when: list, check and explain the rules; make them. Every change is an event with the UNIX user."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate.admin.screen import json_line
from maskgate.admin.session import Session, actor, is_absent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maskgate.config import Rule, Rules
    from maskgate.rulebook import Rulebook
    from maskgate.rules import Book


@click.group()
def rules() -> None:
    """Say who may come in when, and why not."""


def _rulebook(session: Session) -> Rulebook:
    """Return the rules of the settings and of the command; BadSetting for a mistake in the former."""
    from maskgate.rulebook import Rulebook

    settings = session.settings()
    return Rulebook(settings.rules, Path(settings.store.path).parent)


def _book(session: Session) -> Book:
    """Read the rules; BadSetting for a mistake in them."""
    return _rulebook(session).book()


@rules.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as in the settings.")
@click.pass_obj
def show(session: Session, as_json: bool) -> None:
    """List the rules: for everyone, for groups, for single people; the narrowest that says something counts."""
    import msgspec

    from maskgate.config import said

    raw = msgspec.to_builtins(_rulebook(session).all())
    if as_json:
        json_line(said(raw))
        return
    for title, rule in (
        ("everyone", raw["everyone"]),
        *((f"group {title} ({', '.join(group['members'])})", group) for title, group in raw["groups"].items()),
        *raw["people"].items(),
    ):
        click.echo(f"{title}: {_worded(rule)}")
    for title in ("deny", "holidays"):
        if raw[title]:
            click.echo(f"{title}: {', '.join(raw[title])}")


def _worded(rule: dict[str, Any]) -> str:
    """Write a rule on one line."""
    said = {key: value for key, value in rule.items() if value is not None and key != "members"}
    return "; ".join(f"{key} {_plain(value)}" for key, value in said.items()) or "no rule"


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(value) or "never"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


@rules.command()
@click.pass_obj
def check(session: Session) -> None:
    """Check the rules; name those in them whom the gallery does not know."""
    book = _book(session)
    spoken_of = {*book.people, *book.deny, *(name for group in book.groups.values() for name in group.members)}
    strangers = sorted(spoken_of - _names(session))
    for name in strangers:
        click.echo(f"warning: {name!r} is not enrolled; the rule waits for somebody of that name")
    click.echo(f"{len(spoken_of)} people and {len(book.groups)} groups in the rules: all are good")


def _names(session: Session) -> set[str]:
    """Return every name the gallery has known; none without a gallery."""
    from maskgate.store import open_store

    settings = session.settings()
    place = Path(settings.store.path)
    if is_absent(place):
        return set()
    with open_store(place, key=settings.store.key, readonly=True) as store:
        return {name for subject in store.subjects() for name in (subject.name, *subject.formerly)}


def _at(ctx: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    """Read a local time."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no time; write 2026-01-31T18:00") from None


@rules.command()
@click.argument("name")
@click.option("--at", callback=_at, metavar="TIME", help="Local time, 2026-01-31T18:00; now if left out.")
@click.option("--masked/--bare", default=None, help="With a mask or without; if neither is said, a mask is left aside.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def explain(session: Session, name: str, at: datetime | None, masked: bool | None, as_json: bool) -> None:
    """Say in one sentence whether somebody, once recognised, would be let in, and why."""
    from maskgate import clock
    from maskgate.rules import spoken
    from maskgate.ruling import Ruling
    from maskgate.store import open_store

    settings = session.settings()
    with open_store(Path(settings.store.path), key=settings.store.key, readonly=True) as store:
        subject = store.subject(name)
        ruling = Ruling(_rulebook(session), store, trust_clock=settings.rules.clock == "trust")
        verdict = ruling.of(subject.name, masked=masked, at=at)
    granted, reason, why = verdict.granted, verdict.reason, verdict.why
    if subject.revoked_at is not None:
        granted, reason, why = False, "revoked", "was revoked, and matches nobody's face"
    said = "would be let in" if granted else f"would be refused ({reason})"
    when = "now" if at is None and ruling.clock() is None else f"on {spoken(at or clock.now())}"
    if as_json:
        json_line(
            {"name": subject.name, "at": (at or clock.now()).isoformat(), "granted": granted, "reason": reason}
            | {"why": why, "unlock_s": verdict.unlock_s or settings.gate.unlock_s if granted else None}
        )
        return
    click.echo(f"{subject.name} {said} {when}: {why}.")


@rules.command("set")
@click.argument("words", nargs=-1, required=True, metavar="[NAME] KEY=VALUE...")
@click.option("--group", is_flag=True, help="NAME is a group; members=Cleo,Cyrus puts people into it.")
@click.option("--everyone", is_flag=True, help="For everyone; without a NAME.")
@click.pass_obj
def put(session: Session, words: tuple[str, ...], group: bool, everyone: bool) -> None:
    """Make or change a rule, at once: schedule="tue,thu 14:00-18:00; sat 10:00-12:00" uses=4 valid_until=2026-12-31.

    KEY= takes it back, so that the settings file, the group or everyone's rule counts again.
    """
    who = () if everyone else words[:1]
    pairs = [word.partition("=") for word in words[len(who) :]]
    if (group and everyone) or not pairs or not all(equals for _, equals, _ in pairs) or "=" in "".join(who):
        raise click.UsageError("write [NAME] KEY=VALUE..., with --group for a group, with --everyone without a NAME")
    typed = {key.strip(): _typed(key.strip(), value) for key, _, value in pairs}
    _change(session, who[0] if who else None, typed, group=group)
    click.echo(f"{who[0] if who else 'everyone'}: {', '.join(typed)} changed")


def _typed(key: str, value: str) -> Any:
    """Read what was typed for a setting; None takes it back."""
    if not value.strip():
        return None
    if key in ("schedule", "members"):
        return [part.strip() for part in value.split(";" if key == "schedule" else ",") if part.strip()]
    return {"yes": "true", "no": "false"}.get(value.strip(), value.strip())


def _change(session: Session, who: str | None, typed: Mapping[str, Any], *, group: bool) -> None:
    """Lay what was typed over what the command has made so far; None for everyone."""
    import msgspec

    from maskgate.config import Group, Rule, parse_rule

    book = _rulebook(session)
    made = book.made()
    tables: Mapping[str, Rule] = made.groups if group else made.people
    kind = Group if group else Rule
    before = made.everyone if who is None else tables.get(who, kind())
    unknown = [key for key in typed if key not in kind.__struct_fields__]
    if unknown:
        raise click.UsageError(f"{unknown[0]}: no such setting; there are {', '.join(kind.__struct_fields__)}")
    given = parse_rule({key: value for key, value in typed.items() if value is not None}, book.path, group=group)
    gone = {key: () if key == "members" else None for key, value in typed.items() if value is None}
    said = {key: getattr(given, key) for key, value in typed.items() if value is not None}
    after = msgspec.structs.replace(before, **gone, **said)
    if who is None:
        made = msgspec.structs.replace(made, everyone=after)
    else:
        title = "groups" if group else "people"
        made = msgspec.structs.replace(made, **{title: {**tables, who: after}})
    _keep(session, book, made, None if group else who, what=sorted(typed))


def _keep(session: Session, book: Rulebook, made: Rules, subject: str | None, *, what: Sequence[str]) -> None:
    """Check the rules, record the change, then make it."""
    from maskgate.store import Event, open_store
    from maskgate.values import UnknownSubject

    settings = session.settings()
    book.check(made)
    with open_store(Path(settings.store.path), key=settings.store.key, create=True) as store:
        try:
            subject = None if subject is None else store.subject(subject).name
        except UnknownSubject:
            subject = None
        store.record(Event("rules_changed", subject=subject, actor=actor(), detail={"settings": list(what)}))
    book.replace(made)


@rules.command()
@click.argument("name")
@click.pass_obj
def deny(session: Session, name: str) -> None:
    """Never let somebody in, whatever else the rules say."""
    import msgspec

    book = _rulebook(session)
    made = book.made()
    _keep(session, book, msgspec.structs.replace(made, deny=(*made.deny, name)), name, what=["deny"])
    click.echo(f"{name}: denied; maskgate rules allow takes it back")


@rules.command()
@click.argument("name")
@click.pass_obj
def allow(session: Session, name: str) -> None:
    """Take somebody off the deny list that `deny` has made."""
    import msgspec

    from maskgate.values import BadSetting

    book = _rulebook(session)
    made = book.made()
    if name not in made.deny:
        also = "; the settings file denies them" if name in book.all().deny else ""
        raise BadSetting(f"{name}: was not denied by the command{also}")
    rest = tuple(denied for denied in made.deny if denied != name)
    _keep(session, book, msgspec.structs.replace(made, deny=rest), name, what=["allow"])
    click.echo(f"{name}: no longer denied")
