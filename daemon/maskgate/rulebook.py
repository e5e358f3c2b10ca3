"""The rules as they stand: those of the settings, and over them those the command has made. Judges nobody.

What the command makes is a TOML file beside the gallery; the running gate reads it anew when it changes.
"""

from __future__ import annotations

import os
import tomllib
from datetime import date
from pathlib import Path
from typing import TypeVar

import msgspec

from maskgate import config, rules
from maskgate.keys import sync_folder
from maskgate.values import BadSetting, StoreError

NAME = "rules.toml"
HEAD = "# Made by `maskgate rules`; what it says comes before the settings file. Change it by the command.\n"
Said = TypeVar("Said", bound=config.Rule)


class Rulebook:
    """Rules of two files."""

    def __init__(self, settings: config.Rules, folder: Path) -> None:
        """Take the settings' rules; `folder` is the gallery's."""
        self._settings, self.path = settings, folder / NAME
        self._seen: object = self
        self._book = rules.Book()

    def book(self) -> rules.Book:
        """Return the rules that count now; BadSetting or StoreError when the command's file cannot be used."""
        seen = self._stamp()
        if seen != self._seen:
            self._book = config.book_of(self.all(), self.path)
            self._seen = seen
        return self._book

    def all(self) -> config.Rules:
        """Return the rules of both files as the settings would have them."""
        return _merged(self._settings, self.made())

    def made(self) -> config.Rules:
        """Return what the command has made."""
        try:
            return config.parse_rules(tomllib.loads(self.path.read_text(encoding="utf-8")), self.path)
        except FileNotFoundError:
            return config.Rules()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path}: cannot be read ({error})") from error
        except tomllib.TOMLDecodeError as error:
            raise BadSetting(f"{self.path}: is not TOML: {error}") from error

    def check(self, made: config.Rules) -> None:
        """Raise BadSetting when the command's rules could not be used with the settings'."""
        config.book_of(_merged(self._settings, made), self.path)

    def replace(self, made: config.Rules) -> None:
        """Put the command's rules into their file, at once or not at all; BadSetting when they could not be used."""
        import tomli_w

        self.check(made)
        raw = config.said(msgspec.to_builtins(made, builtin_types=(date,)))
        kept = {key: raw[key] for key in ("deny", "everyone", "groups", "people") if raw.get(key)}
        beside = self.path.with_name(f"{NAME}.next")
        try:
            beside.write_text(HEAD + tomli_w.dumps(kept), encoding="utf-8")
            self._settle(beside)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written ({error.strerror}), use sudo") from error

    def forget(self, names: tuple[str, ...]) -> None:
        """Take somebody out of what the command has made, under each of their names; nothing changes for a stranger."""
        made = self.made()
        groups = {
            title: msgspec.structs.replace(group, members=_without(group.members, names))
            for title, group in made.groups.items()
        }
        rest = msgspec.structs.replace(
            made,
            deny=_without(made.deny, names),
            groups=groups,
            people={name: rule for name, rule in made.people.items() if name not in names},
        )
        if rest != made:
            self.replace(rest)

    def names(self, names: tuple[str, ...]) -> bool:
        """Tell whether the settings file names somebody."""
        rules = self._settings
        named = {*rules.deny, *rules.people, *(name for group in rules.groups.values() for name in group.members)}
        return not named.isdisjoint(names)

    def _settle(self, beside: Path) -> None:
        """Give the new file the folder's owner and its place, durably."""
        folder = self.path.parent.stat()
        if os.geteuid() == 0:
            os.chown(beside, folder.st_uid, folder.st_gid)
        beside.chmod(0o600 | folder.st_mode & 0o040)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(self.path)
        sync_folder(self.path)

    def _stamp(self) -> tuple[int, int, int] | None:
        """Tell one state of the file from another."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read ({error.strerror})") from error
        return state.st_mtime_ns, state.st_ino, state.st_size


def _without(names: tuple[str, ...], gone: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in gone)


def _merged(settings: config.Rules, made: config.Rules) -> config.Rules:
    """Lay the command's rules over the settings'; nobody leaves a deny list by it."""
    groups = dict(settings.groups)
    for title, group in made.groups.items():
        under = groups.get(title, config.Group())
        groups[title] = msgspec.structs.replace(
            _over(under, group), members=tuple(dict.fromkeys((*under.members, *group.members)))
        )
    people = dict(settings.people)
    for name, rule in made.people.items():
        people[name] = _over(people.get(name, config.Rule()), rule)
    return msgspec.structs.replace(
        settings,
        deny=tuple(dict.fromkeys((*settings.deny, *made.deny))),
        everyone=_over(settings.everyone, made.everyone),
        groups=groups,
        people=people,
    )


def _over(under: Said, rule: Said) -> Said:
    """Lay one rule over another: what it does not say stays."""
    said = {key: value for key, value in msgspec.structs.asdict(rule).items() if value is not None}
    return msgspec.structs.replace(under, **said)
