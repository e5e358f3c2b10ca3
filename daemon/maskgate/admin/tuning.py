"""What other settings would mean for this gate, whom it may confuse, whom to enrol again. Reads; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate.admin import ink
from maskgate.admin.log import begin, end
from maskgate.admin.screen import counted, json_line, table
from maskgate.admin.session import Session, load_faces
from maskgate.admin.telling import csv_rows

if TYPE_CHECKING:
    from maskgate import config
    from maskgate.cohort import Cohort
    from maskgate.faces import Faces
    from maskgate.nearness import Pair
    from maskgate.tally import Asked, Held, Lead, Lives
    from maskgate.values import Template

ODDS = (100, 1_000, 10_000, 100_000, 1_000_000)
MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15)
AGREE = (1, 2, 3)
"""Settings that are tried, each with the others as they are."""
NEAR = 0.1
"""Pairs that are not this near what a grant asks for are not at risk."""
NARROW = 0.06
"""Who opens with less above the threshold at the mean is refused on a bad day."""
FEWEST = 5
"""Visits from which on a mean says something."""
SHARES = (0.01, 0.02, 0.05, 0.1)
"""Of the visits that were let in: what may be refused for a face that looks less alive."""
FEW = 100
"""Visits from which on a share of them says something."""
JUST = 1.3
"""A photo that has no more than so many times what was asked of it is a weak one."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One way the settings could be."""

    setting: str
    value: float
    current: bool
    bare: float
    """Score needed."""
    masked: float
    odds: int
    """One stranger in so many visits is let in at most, by the calibration."""
    missed_bare: float
    """Share of people's own sightings below it, by the calibration."""
    missed_masked: float
    supported: bool
    """False where the calibration cannot promise what was asked for."""
    recognised: int
    """Visits of the log in which somebody was recognised."""
    missed: int
    """Of them, those that would not be."""
    strange: int
    """Refused faces of the log that were nobody's."""
    passing: int
    """Of them, those at most that would be taken for somebody."""


@dataclass(frozen=True, slots=True)
class Weak:
    """Somebody who should be enrolled again."""

    name: str
    why: str


@click.command()
@click.option(
    "--since", callback=begin, default="12w", show_default=True, metavar="WHEN", help="As for `maskgate log`."
)
@click.option("--until", callback=end, metavar="WHEN", help="Up to a day, that day included, or up to a time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a heading: the settings that were tried.")
@click.pass_obj
def tune(session: Session, since: datetime | None, until: datetime | None, as_json: bool, as_csv: bool) -> None:
    """Say what other settings would mean, whom the gate may confuse, and whom to enrol again. Changes nothing.

    Predictions come from the calibration of the networks, and from this gate's own visits held against other
    thresholds. The gallery's key is needed.
    """
    if as_json and as_csv:
        raise click.UsageError("give --json or --csv")
    from maskgate.nearness import closest
    from maskgate.store import open_store

    settings = session.settings()
    faces = load_faces(settings)
    with open_store(Path(settings.store.path), key=settings.store.key, readonly=True) as store:
        templates = store.templates(faces.embedder)
        qualities = store.qualities(faces.embedder)
        tried = _tried(settings.policy, faces, len(templates))
        trials = [
            _trial(one, limits, held)
            for (one, limits), held in zip(
                tried, store.held_against([a.asked for a, _ in tried], since, until), strict=True
            )
        ]
        leads = store.leads(since, until)
        lives = store.lives(faces.digests["liveness"], SHARES, since, until)
    needed = min(trial.bare for trial in trials if trial.current)
    pairs = [p for p in closest(templates, faces.calibration.surplus, faces.cohort) if p.score >= needed - NEAR]
    weak = list(weaklings(templates, qualities, leads, settings.quality, needed, faces.cohort))
    if as_json:
        told = {
            "trials": [asdict(trial) for trial in trials],
            "pairs": [asdict(pair) for pair in pairs],
            "weak": [asdict(one) for one in weak],
            "lives": asdict(lives) | {"below": {f"{share:g}": live for share, live in lives.below.items()}},
        }
        json_line(told | {"templates": len(templates)})
    elif as_csv:
        row = csv_rows(list(Trial.__slots__))
        for trial in trials:
            row(asdict(trial))
    else:
        _print(trials, pairs, weak, len(templates), needed)
        _print_lives(lives, settings.policy, {word: told.live for word, told in faces.liveness_at.items()})


@dataclass(frozen=True, slots=True)
class Try:
    """A setting that is tried, with what a grant would then ask for."""

    setting: str
    value: float
    current: bool
    asked: Asked
    odds: int


def _tried(policy: config.Policy, faces: Faces, templates: int) -> list[tuple[Try, Any]]:
    """Return what is tried, each with its thresholds by cover."""
    import msgspec

    from maskgate import look
    from maskgate.tally import Asked
    from maskgate.values import Cover

    found = []
    for setting, values in (("stranger_odds", ODDS), ("margin", MARGINS), ("agree", AGREE)):
        now = getattr(policy, setting)
        for value in sorted({*values, now}):
            changed = msgspec.structs.replace(policy, **{setting: value})
            limits = look.thresholds_of(faces, changed, templates)
            asked = Asked(limits[Cover.BARE].score, limits[Cover.MASKED].score, changed.margin, changed.agree)
            odds = min(look.odds_of(limit, changed, templates) for limit in limits.values())
            found.append((Try(setting, value, value == now, asked, odds), limits))
    return found


def _trial(one: Try, limits: Mapping[Any, Any], held: Held) -> Trial:
    from maskgate.values import Cover

    bare, masked = limits[Cover.BARE], limits[Cover.MASKED]
    return Trial(
        *(one.setting, one.value, one.current, bare.score, masked.score, one.odds, bare.fnmr, masked.fnmr),
        *(bare.supported and masked.supported, held.recognised, held.missed, held.strange, held.passing),
    )


def weaklings(
    templates: Sequence[Template],
    qualities: Sequence[Mapping[str, Any]],
    leads: Mapping[str, Lead],
    bounds: config.Quality,
    needed: float,
    cohort: Cohort,
) -> Iterator[Weak]:
    """Say who should be enrolled again, and why; `qualities` are those of the templates, in their order."""
    from maskgate.nearness import likeness

    poor: dict[str, str] = {}
    for template, quality in zip(templates, qualities, strict=True):
        if fault := _fault(quality, bounds):
            poor.setdefault(template.subject, fault)
    alike = likeness(templates, cohort)
    for name in sorted({template.subject for template in templates}):
        lead = leads.get(name)
        reasons = []
        if lead is not None and lead.visits >= FEWEST and lead.mean < NARROW:
            mask = ", most of them masked: enrol a masked photo, too" if lead.masked * 2 > lead.visits else ""
            reasons.append(f"recognised by {lead.mean:.3f} at the mean of {counted(lead.visits, 'visit')}{mask}")
        if name in alike and min(alike[name]) < needed:
            reasons.append(f"a photo is like none of the others ({min(alike[name]):.3f})")
        if name in poor and (reasons or len(alike.get(name, ())) == 0):
            reasons.append(f"the photo is {poor[name]}")
        if reasons:
            yield Weak(name, "; ".join(reasons))


def _fault(quality: Mapping[str, Any], bounds: config.Quality) -> str | None:
    """Name what a photo barely had enough of; None for a good one, or one of which nothing was noted."""
    for name, least, word in (
        ("face_px", bounds.min_face_px, "small"),
        ("sharpness", bounds.min_sharpness, "blurred"),
        ("brightness", bounds.min_brightness, "dark"),
        ("contrast", bounds.min_contrast, "flat"),
    ):
        value = quality.get(name)
        if isinstance(value, (int, float)) and value < least * JUST:
            return word
    return None


# -- for a person ------------------------------------------------------------------------------------------------------


def _print(trials: Sequence[Trial], pairs: Sequence[Pair], weak: Sequence[Weak], templates: int, needed: float) -> None:
    for setting in dict.fromkeys(trial.setting for trial in trials):
        _say(f"policy.{setting}, the others as they are; * is now")
        table(
            ("", setting, "bare", "masked", "lets in 1 in", "own missed", "of the log"),
            [_row(trial) for trial in trials if trial.setting == setting],
        )
        click.echo()
    first = trials[0]
    click.echo("bare, masked: the score a grant asks for; lets in: strangers' visits, at most,")
    click.echo("and own missed: people's own single looks, bare and masked, by the calibration.")
    click.echo(f"Of the log: -, refused of {counted(first.recognised, 'visit')} in which somebody was recognised;")
    click.echo(f"+, let in at most of {counted(first.strange, 'visit')} of faces that were nobody's.")
    if not all(trial.supported for trial in trials):
        click.echo(f"~: for {counted(templates, 'template')} the calibration supports no more than this.")
    click.echo()
    _say("who may be taken for whom")
    if pairs:
        table(("one", "other", "score", "needed"), [(pair.one, pair.other, pair.score, needed) for pair in pairs])
    else:
        click.echo(f"nobody: no two people are within {NEAR} of what a grant asks for")
    click.echo()
    _say("whom to enrol again")
    if weak:
        table(("name", "why"), [(one.name, one.why) for one in weak])
    else:
        click.echo("nobody: no photo is weak, and nobody is recognised narrowly")


def _print_lives(lives: Lives, policy: config.Policy, words: Mapping[str, float]) -> None:
    """What `policy.lives_from` could be at this camera."""
    now = policy.lives_from if policy.lives_from is not None else words.get(policy.liveness)
    click.echo()
    _say("policy.lives_from: how alive a face must look to this camera")
    if lives.visits < FEW:
        click.echo(f"{counted(lives.visits, 'visit')} let in and judged: {FEW} are needed to say something")
        _print_others(lives.others)
        return
    table(("lives from", "refuses"), [(f"{live:.3f}", f"{share:.0%}") for share, live in lives.below.items()])
    click.echo(f"refuses: at least, of {counted(lives.visits, 'visit')} that were let in, as if all had been people.")
    _print_others(lives.others)
    if now is not None:
        click.echo(f"It is {now:.3f} now: who looked less alive is missing here. To know, set liveness")
        click.echo('to "lenient" for some weeks, and read this again.')


def _print_others(visits: int) -> None:
    if visits:
        click.echo(f"Left out: {counted(visits, 'visit')} judged by another network, or by one that is not named.")


def _say(text: str) -> None:
    click.echo(ink.inked(text, ink.STRONG), color=ink.coloured())


def _row(trial: Trial) -> tuple[object, ...]:
    value = f"{trial.value:,.0f}" if trial.setting != "margin" else f"{trial.value:.2f}"
    promised = f"{'' if trial.supported else '~'}{trial.odds:,}"
    missed = f"{trial.missed_bare:.1%}, {trial.missed_masked:.1%}"
    return (
        *("*" if trial.current else "", value, f"{trial.bare:.3f}", f"{trial.masked:.3f}"),
        *(promised, missed, f"-{trial.missed:,} +{trial.passing:,}"),
    )
