"""How the gate stands: what the owner's odds mean as thresholds, who is enrolled, what runs, whether it is armed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate import __version__
from maskgate.admin.screen import json_line, table
from maskgate.admin.session import Session, ask_daemon, is_absent, load_faces

if TYPE_CHECKING:
    from maskgate import config
    from maskgate.faces import Faces


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def status(session: Session, as_json: bool) -> None:
    """Show thresholds, gallery, networks and the running daemon."""
    settings = session.settings()
    faces = load_faces(settings)
    gallery = _gallery(settings, faces.embedder)
    daemon, silence = ask_daemon(settings)
    standing = {
        "version": __version__,
        "config": str(session.path),
        "stranger_odds": settings.policy.stranger_odds,
        "thresholds": _thresholds(faces, settings, gallery["templates"] if gallery else 0),
        "liveness": {
            "policy": settings.policy.liveness,
            "lives_from": settings.policy.lives_from,
            "at": {word: asdict(told) for word, told in faces.liveness_at.items()},
        },
        "gallery": gallery,
        "runtime": faces.runtime,
        "threads": settings.models.threads,
        "models": faces.digests,
        "daemon": daemon,
        "daemon_error": silence,
    }
    if as_json:
        json_line(standing)
    else:
        _print(standing, settings)


def _thresholds(faces: Faces, settings: config.Settings, templates: int) -> dict[str, dict[str, Any]]:
    """Return by cover what the owner's odds mean for a gallery of so many templates."""
    from maskgate import look

    policy = settings.policy
    return {
        cover.value: {
            "score": limit.score,
            "fmr": limit.fmr,
            "fnmr": limit.fnmr,
            "supported": limit.supported,
            "odds": look.odds_of(limit, policy, templates),
            "pairs": faces.calibration.curves[cover].pairs,
            "people": faces.calibration.curves[cover].people,
        }
        for cover, limit in look.thresholds_of(faces, policy, templates).items()
    }


def _gallery(settings: config.Settings, model: str) -> dict[str, Any] | None:
    """Count who is in the gallery; None when there is no file yet."""
    from maskgate.store import open_store

    place = Path(settings.store.path)
    if is_absent(place):
        return None
    with open_store(place, key=settings.store.key, readonly=True) as store:
        subjects = store.subjects()
        templates = len(store.templates(model))
    return {
        "path": str(place),
        "subjects": sum(subject.revoked_at is None for subject in subjects),
        "revoked": sum(subject.revoked_at is not None for subject in subjects),
        "templates": templates,
        "unusable": [s.name for s in subjects if s.revoked_at is None and model not in s.models],
    }


def _print(standing: dict[str, Any], settings: config.Settings) -> None:
    """Say it to a person."""
    click.echo(f"maskgate {standing['version']}, settings from {click.format_filename(standing['config'])}")
    _print_daemon(standing["daemon"], standing["daemon_error"])
    _print_gallery(standing["gallery"], settings)
    click.echo(f"runtime:  {standing['runtime']}, {standing['threads']} threads")
    for role, digest in standing["models"].items():
        click.echo(f"          {role} {digest[:16]}")
    click.echo(
        f"\npolicy.stranger_odds = {standing['stranger_odds']}: in so many visits, at most one stranger is let in"
    )
    table(
        ("face", "score needed", "false match rate", "own sightings missed", "odds promised"),
        [
            (cover, limit["score"], f"{limit['fmr']:.1e}", f"{limit['fnmr']:.1%}", f"1 in {limit['odds']:,}")
            for cover, limit in standing["thresholds"].items()
        ],
    )
    for cover, limit in standing["thresholds"].items():
        if not limit["supported"]:
            behind = f"{limit['pairs']:,} comparisons of {limit['people']:,} people"
            click.echo(f"warning: for {cover} faces, {behind} support no more than 1 in {limit['odds']:,}")
    _print_liveness(standing["liveness"])


def _print_liveness(liveness: dict[str, Any]) -> None:
    """What each word of policy.liveness was measured to let through and to refuse, per visit."""
    click.echo(f"\npolicy.liveness = {liveness['policy']}; measured on cameras that were not learnt from, per visit:")
    if liveness["policy"] == "lenient":
        click.echo("the network vetoes nothing: only a picture that takes its surroundings along is refused")
    if liveness["lives_from"] is not None:
        click.echo(
            f"policy.lives_from = {liveness['lives_from']} stands for that here; `maskgate tune` says whom it refuses"
        )
    species = list(dict.fromkeys(kind for told in liveness["at"].values() for kind in told["apcer"]))
    table(
        ("", "lives from", "people refused", *(f"{kind} let through" for kind in species)),
        [
            (word, told["live"], f"{told['bpcer']:.1%}", *(f"{told['apcer'][kind]:.1%}" for kind in species))
            for word, told in liveness["at"].items()
        ],
    )


def _print_daemon(daemon: dict[str, Any] | None, silence: str | None) -> None:
    if daemon is None:
        click.echo(f"daemon:   {silence}")
        return
    last = daemon.get("last_decision")
    said = f"; last decision {last['ago_s']:.0f} s ago: {last['reason']}" if last else ""
    click.echo(f"daemon:   {daemon['state']}, up {daemon['up_s']:.0f} s, {daemon['frames']} frames{said}")
    click.echo(f"lock:     {_lock(daemon)}")


def _lock(daemon: dict[str, Any]) -> str:
    """Word how lock and door stand."""
    left = f" for {daemon['lock_left_s']:.0f} s more" if daemon["lock_left_s"] is not None else ""
    fire = ", FIRE" if daemon["fire"] else ""
    door = f", door {daemon['door']}" if daemon["door"] is not None else ""
    lid = ", the case is open" if daemon["tampered"] else ""
    return f"{daemon['lock']}{left}, relay {daemon['relay']}{fire}{door}{lid}"


def _print_gallery(gallery: dict[str, Any] | None, settings: config.Settings) -> None:
    if gallery is None:
        click.echo(f"gallery:  none yet at {settings.store.path}; maskgate enrol makes it")
        return
    counted = f"{gallery['subjects']} people, {gallery['templates']} templates, {gallery['revoked']} revoked"
    click.echo(f"gallery:  {counted} in {gallery['path']}")
    if gallery["unusable"]:
        names = ", ".join(gallery["unusable"][:5])
        number = len(gallery["unusable"])
        click.echo(f"warning: {number} people must be enrolled anew, the networks have changed: {names}")
