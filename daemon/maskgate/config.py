"""The config file as frozen settings: its only reader; each bound and default stands here once. Opens nothing else.

The file is TOML. Every section and key may be left out; an unknown one is an error, and so is a value out of range.
"""

from __future__ import annotations

import sys
import tomllib
import unicodedata
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from maskgate import rules
from maskgate.values import BadSetting

DEFAULT_PATH = Path("/etc/maskgate/maskgate.toml")
"""Where the installed gate keeps its settings; `maskgate --config FILE` names another."""

Pin = Annotated[int, Meta(ge=0, le=27)]
Share = Annotated[float, Meta(ge=0, le=1)]
Level = Literal["low", "high"]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section of the file."""


class Camera(_Section, frozen=True):
    """Where frames come from."""

    source: Annotated[str, Meta(min_length=1)] = "picamera2"
    """`picamera2`, or the path of a video file or of a folder of stills and videos (relative to the config file)."""
    size: tuple[Annotated[int, Meta(ge=320, le=4096)], Annotated[int, Meta(ge=240, le=4096)]] = (1280, 960)
    """Width and height of the main stream, pixels: faces are recognised in it."""
    lores: tuple[Annotated[int, Meta(ge=160, le=1280)], Annotated[int, Meta(ge=120, le=1280)]] = (640, 480)
    """Width and height of the small stream, pixels: movement is watched and faces are detected in it."""
    fps: Annotated[float, Meta(ge=1, le=60)] = 15.0
    rotate: Literal[0, 180] = 0
    """Degrees by which the camera hangs turned."""
    paced: bool = True
    """Whether a video or folder plays at its own speed, dropping frames the loop is too slow for, as a camera would."""
    stale_s: Annotated[float, Meta(ge=0.05, le=0.5)] = 0.5
    """A frame older than this can never open the gate."""
    stall_s: Annotated[float, Meta(ge=0.5, le=30)] = 3.0
    """After this long without a frame the camera counts as failed."""
    motion: Annotated[float, Meta(ge=0, le=64)] = 4.0
    """How much a patch of the picture must change (luma steps, 0 to 255) to wake the face detector; 0 never sleeps."""
    awake_s: Annotated[float, Meta(ge=0.5, le=60)] = 2.0
    """How long the detector stays awake after the last movement or face."""


class Gate(_Section, frozen=True):
    """What is wired to which pin (BCM numbers)."""

    pins: Literal["gpio", "simulated"] = "gpio"
    """`simulated` uses gpiozero's own mock pins: nothing is driven."""
    relay_pin: Pin = 17
    """Choose 9 to 27: the board pulls 0 to 8 up at power-on, before any software runs."""
    active_high: bool = True
    """Whether the relay is energised by a high pin."""
    unlock_s: Annotated[float, Meta(ge=0.2, le=30)] = 3.0
    """How long the relay stays energised for one grant."""
    light_pin: Pin | None = None
    buzzer_pin: Pin | None = None
    pins_folder: str = ""
    """With simulated pins: a folder in which each pin is a file, relative to the config file; empty for none."""


class Door(_Section, frozen=True):
    """The door's contacts and buttons, which pin each is on, and what is too long. What is not wired has no pin."""

    rex_pin: Pin | None = None
    """The exit button."""
    rex_pressed: Level = "low"
    """Level of the pin while it is pressed."""
    rex_s: Annotated[float, Meta(ge=0.2, le=60)] = 5.0
    """How long a press opens; for as long as it is held down in any case."""
    fire_pin: Pin | None = None
    """The fire alarm's contact: open while it is on."""
    fire_on: Level = "high"
    contact_pin: Pin | None = None
    contact_open: Level = "high"
    """Level of the pin while the door is open."""
    tamper_pin: Pin | None = None
    """The lid switch of the case."""
    tampered: Level = "high"
    alarm_pin: Pin | None = None
    """An output that is driven after `forced_open`, `held_open` and `tamper`."""
    alarm_active_high: bool = True
    pull: Literal["up", "down", "off"] = "up"
    """The board's own pull resistor on every input."""
    bounce_s: Annotated[float, Meta(ge=0, le=0.3)] = 0.05
    """A contact must rest this long before its change counts."""
    held_open_s: Annotated[float, Meta(ge=2, le=3600)] = 30.0
    """A door that stands open for longer is reported."""
    forced_s: Annotated[float, Meta(ge=0, le=5)] = 0.3
    """A door opened without leave is reported after standing open for this long."""
    grace_s: Annotated[float, Meta(ge=0, le=10)] = 2.0
    """After the relay was released the door may still be opened for this long."""
    alarm_s: Annotated[float, Meta(ge=1, le=3600)] = 180.0
    """The alarm ends when the door is shut, or after this long."""


class Policy(_Section, frozen=True):
    """When the gate opens."""

    stranger_odds: Annotated[int, Meta(ge=10, le=100_000_000)] = 10_000
    """At most one stranger in this many visits is let in; the thresholds follow from it."""
    agree: Annotated[int, Meta(ge=1, le=3)] = 2
    """Usable sightings in a row that must agree on one subject."""
    looks: Annotated[int, Meta(ge=3, le=60)] = 12
    """Usable sightings after which a visit without a grant is refused."""
    patience_s: Annotated[float, Meta(ge=0.5, le=30)] = 4.0
    """Seconds from the first usable sighting after which a visit without a grant is refused."""
    margin: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    """By how much the best subject's score must exceed the next one's."""
    regrant_s: Annotated[float, Meta(ge=0, le=600)] = 10.0
    """After a grant the same subject opens nothing for this long."""
    gone_s: Annotated[float, Meta(ge=0.2, le=10)] = 1.0
    """A face not seen for this long has left; its visit is over."""
    retry_s: Annotated[float, Meta(ge=0.5, le=60)] = 3.0
    """After a refusal, a face that stays gets another visit after this long."""
    backoff_after: Annotated[int, Meta(ge=1, le=10)] = 5
    """Refused visits of one person in a row before that person must wait."""
    backoff_s: Annotated[float, Meta(ge=30, le=3600)] = 30.0
    """How long that person must wait, doubled by each further refusal up to ten minutes; everybody else is served."""
    two_faces: Literal["larger", "refuse"] = "larger"
    """With two faces in the zone: attend to the larger, or refuse while both are there."""
    when_log_fails: Literal["refuse", "admit"] = "refuse"
    """What happens to a grant that cannot be recorded."""
    liveness: Literal["strict", "balanced", "lenient", "off"] = "lenient"
    """How sure the gate must be that a person stands there; `lenient` lets no more than motion veto, `off` nothing."""
    lives_from: Share | None = None
    """The network's probability from which a face counts as living at this camera; left out, what `liveness` means."""
    challenge: Literal["off", "when_unsure", "always"] = "off"
    """Whether a person must also turn the head or step closer as light and buzzer ask."""


class Quality(_Section, frozen=True):
    """How good a picture of a face must be to count."""

    min_face_px: Annotated[float, Meta(ge=20, le=400)] = 56.0
    """Height of the face box in the main stream, pixels."""
    min_sharpness: Annotated[float, Meta(ge=0, le=5)] = 0.11
    min_brightness: Annotated[float, Meta(ge=0, le=255)] = 35.0
    max_brightness: Annotated[float, Meta(ge=0, le=255)] = 225.0
    min_contrast: Annotated[float, Meta(ge=0, le=128)] = 12.0
    max_yaw: Share = 0.6
    """Turn of the head: 0 is straight on, 1 is a profile."""
    max_roll: Annotated[float, Meta(ge=0, le=90)] = 30.0
    """Tilt of the head, degrees."""
    min_eyes: Share = 0.25
    """How visible the eyes must be, 0 to 1."""


class Rule(_Section, frozen=True):
    """What holds for somebody; see `rules.Rule`. What is left out is left to the group, then to everyone."""

    schedule: tuple[str, ...] | None = None
    """Spans such as "mon-fri 08:00-18:00"."""
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day."""
    uses: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    unlock_s: Annotated[float, Meta(ge=0.2, le=60)] | None = None
    two_persons: bool | None = None
    first: bool | None = None
    after_first: bool | None = None
    passback_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    mask: Literal["ignore", "remind", "require"] | None = None


class Group(Rule, frozen=True):
    """People with a rule in common."""

    members: tuple[str, ...] = ()


class Rules(_Section, frozen=True):
    """Who may come in when."""

    when_clock_untrusted: Literal["refuse", "allow"] = "refuse"
    """What becomes of people whose rule is about time while the clock has not been set."""
    clock: Literal["check", "trust"] = "check"
    """Whether the clock must have been set by systemd-timesyncd or a battery; `trust` is for other ways."""
    second_s: Annotated[float, Meta(ge=5, le=600)] = 30.0
    """Within this the second of two persons must be recognised."""
    holidays: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    """Who is never let in, whatever else is said."""
    everyone: Rule = Rule()
    groups: dict[str, Group] = {}
    people: dict[str, Rule] = {}


class Store(_Section, frozen=True):
    """Where the gallery and the log are kept."""

    path: Annotated[str, Meta(min_length=1)] = "/var/lib/maskgate/gallery.db"
    """The SQLite file, relative to the config file."""
    key: Annotated[str, Meta(min_length=1)] = "gate.key"
    """The key that templates are sealed and the log is authenticated with, relative to the config file."""
    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    """Events, and snapshots with them, are removed after so many days; 0 keeps them for ever."""
    snapshots: Literal["off", "refused", "all"] = "off"
    """Of which decisions a small picture is kept, encrypted."""
    snapshots_mib: Annotated[int, Meta(ge=1, le=1024)] = 64
    """The oldest snapshots give way so that all together take no more, MiB."""


class Report(_Section, frozen=True):
    """What others are told of events, besides the gate's own log."""

    log_names: bool = True
    """Whether the journal and hooks are told names; else numbers stand for them."""
    hooks: str = ""
    """A folder whose executables are run for each event, relative to the config file; empty for none."""
    hook_s: Annotated[float, Meta(ge=0.1, le=300)] = 10.0
    """A hook that takes longer for an event is killed."""
    hooks_socket: Annotated[str, Meta(min_length=1, max_length=100)] = "/run/maskgate-hooks.sock"
    """Where the daemon sends events for hooks, as in maskgate-hooks.socket; relative to the config file."""


class Models(_Section, frozen=True):
    """Which networks run, and how."""

    path: str = ""
    """Folder with `models.toml` and the files it names, relative to the config file; empty for those installed."""
    threads: Annotated[int, Meta(ge=1, le=8)] = 2


class Control(_Section, frozen=True):
    """How the administrator's command reaches the running daemon."""

    socket: Annotated[str, Meta(min_length=1, max_length=100)] = "/run/maskgate/control.sock"
    """Unix socket, readable and writable by the daemon's user and group alone; relative to the config file."""


class Settings(_Section, frozen=True):
    """The whole file."""

    camera: Camera = Camera()
    gate: Gate = Gate()
    door: Door = Door()
    policy: Policy = Policy()
    quality: Quality = Quality()
    rules: Rules = Rules()
    store: Store = Store()
    report: Report = Report()
    models: Models = Models()
    control: Control = Control()


def load(path: Path) -> Settings:
    """Read, bound and resolve the settings in `path`; a file that is missing or wrong raises BadSetting, one line."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSetting(
            f"{path}: no such config file; copy config/maskgate.toml there or name one: --config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{path}: is not TOML: {error}") from None
    return parse(raw, path)


def parse(raw: dict[str, Any], path: Path) -> Settings:
    """Turn the tables of a config file at `path` into settings, paths in it made absolute; else BadSetting."""
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{path}: {_explain(str(error), raw)}") from None
    _refuse_shared_pins(settings, path)
    book_of(settings.rules, path)
    if any(small > main for small, main in zip(settings.camera.lores, settings.camera.size, strict=True)):
        raise BadSetting(f"{path}: camera.lores is {settings.camera.lores}, must not exceed camera.size")
    if settings.policy.lives_from is not None and settings.policy.liveness not in ("balanced", "strict"):
        raise BadSetting(
            f"{path}: policy.lives_from is {settings.policy.lives_from}, but nothing asks for it with liveness ="
            f' "{settings.policy.liveness}"; set that to "balanced", or leave lives_from out'
        )
    if settings.quality.min_brightness >= settings.quality.max_brightness:
        raise BadSetting(
            f"{path}: quality.min_brightness is {settings.quality.min_brightness}, "
            f"must be below quality.max_brightness ({settings.quality.max_brightness})"
        )
    return _absolute(settings, path.absolute().parent)


def parse_rules(raw: dict[str, Any], path: Path) -> Rules:
    """Turn the tables of a file of rules alone into settings; else BadSetting."""
    try:
        return msgspec.convert(raw, Rules)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{path}: {_explain(str(error), raw)}") from None


def parse_rule(said: dict[str, Any], where: Path, *, group: bool) -> Rule:
    """Turn what was typed, text or lists of text, into a rule; else BadSetting."""
    try:
        return msgspec.convert(said, Group if group else Rule, strict=False)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{where}: {_explain(str(error), said)}") from None


def book_of(raw: Rules, path: Path) -> rules.Book:
    """Read the rules as they stand in the file at `path`; BadSetting for the first mistake."""
    try:
        groups = {
            title: rules.Group(frozenset(map(_name, group.members)), _rule_of(group, f"groups.{title}"))
            for title, group in raw.groups.items()
        }
        _refuse_two_groups(groups)
        return rules.Book(
            everyone=_rule_of(raw.everyone, "everyone"),
            groups=groups,
            people={_name(name): _rule_of(rule, f"people.{name}") for name, rule in raw.people.items()},
            deny=frozenset(map(_name, raw.deny)),
            holidays=tuple(map(rules.parse_holiday, raw.holidays)),
            second_s=raw.second_s,
            without_clock=raw.when_clock_untrusted,
        )
    except ValueError as error:
        raise BadSetting(f"{path}: rules: {error}") from None


def _rule_of(raw: Rule, where: str) -> rules.Rule:
    """Read one rule; ValueError for a mistake in it."""
    if raw.valid_from and raw.valid_until and raw.valid_until < raw.valid_from:
        raise ValueError(f"{where}.valid_until is {raw.valid_until}, must not be before valid_from ({raw.valid_from})")
    return rules.Rule(
        schedule=None if raw.schedule is None else tuple(map(rules.parse_span, raw.schedule)),
        valid_from=raw.valid_from,
        valid_until=raw.valid_until,
        uses=raw.uses,
        unlock_s=raw.unlock_s,
        two_persons=raw.two_persons,
        first=raw.first,
        after_first=raw.after_first,
        passback_s=raw.passback_s,
        mask=raw.mask,
    )


def _refuse_two_groups(groups: dict[str, rules.Group]) -> None:
    """Raise ValueError when somebody is in two groups."""
    seen: dict[str, str] = {}
    for title, group in groups.items():
        for name in sorted(group.members):
            if name in seen:
                raise ValueError(f"groups.{title}: {name!r} is in the group {seen[name]} already, one is enough")
            seen[name] = title


def _name(name: str) -> str:
    """Return a name as the gallery has it."""
    return unicodedata.normalize("NFC", name).strip()


def _explain(message: str, raw: dict[str, Any]) -> str:
    """Say a msgspec error in the terms of the file: `policy.unlock_s is 90: expected ...`."""
    what, _, where = message.partition(" - at `$")
    where = where.rstrip("`").lstrip(".")
    if "unknown field" in what:
        name = what.split("`")[1]
        return f"{where + '.' if where else ''}{name}: no such setting; `maskgate config show` lists them all"
    value: Any = raw
    for key in where.replace("[", ".").replace("]", "").split("."):
        value = value[int(key)] if isinstance(value, list) else value.get(key) if isinstance(value, dict) else None
    return f"{where} is {value!r}: {what[0].lower()}{what[1:]}"


def _refuse_shared_pins(settings: Settings, path: Path) -> None:
    """Raise BadSetting when two roles share a pin."""
    roles: dict[int, str] = {}
    for section in ("gate", "door"):
        values = getattr(settings, section)
        for role in (f"{section}.{name}" for name in values.__struct_fields__ if name.endswith("_pin")):
            pin = getattr(values, role.partition(".")[2])
            if pin is not None and pin in roles:
                raise BadSetting(f"{path}: {role} is {pin}, which is {roles[pin]} already; choose another pin")
            roles[pin] = role


def _absolute(settings: Settings, base: Path) -> Settings:
    """Resolve the paths in `settings` against the folder of the config file."""
    camera, models = settings.camera, settings.models
    if camera.source != "picamera2":
        camera = msgspec.structs.replace(camera, source=str(base / camera.source))
    gate = settings.gate
    if gate.pins_folder:
        gate = msgspec.structs.replace(gate, pins_folder=str(base / gate.pins_folder))
    report = settings.report
    report = msgspec.structs.replace(
        report, hooks=str(base / report.hooks) if report.hooks else "", hooks_socket=str(base / report.hooks_socket)
    )
    models = msgspec.structs.replace(models, path=str(base / models.path if models.path else installed_models()))
    return msgspec.structs.replace(
        settings,
        camera=camera,
        gate=gate,
        models=models,
        report=report,
        store=msgspec.structs.replace(
            settings.store, path=str(base / settings.store.path), key=str(base / settings.store.key)
        ),
        control=Control(socket=str(base / settings.control.socket)),
    )


def installed_models() -> Path:
    """Return the folder with this copy's models: the checkout's, else the environment's."""
    checkout = Path(__file__).resolve().parents[2] / "models"
    return checkout if (checkout / "models.toml").is_file() else Path(sys.prefix) / "share" / "maskgate" / "models"


def defaults() -> Settings:
    """Return the settings of an empty file, paths resolved as if it lay in /etc/maskgate."""
    return parse({}, DEFAULT_PATH)


def said(value: Any) -> Any:
    """Leave out what is not set: TOML has no null."""
    return {key: said(v) for key, v in value.items() if v is not None} if isinstance(value, dict) else value
