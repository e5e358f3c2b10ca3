"""The rendered attacks of tests/data/attacks before the gate's own eyes: what is held up carries its world along."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from maskgate import config, cues, decide, look
from maskgate.camera import open_camera
from maskgate.cues import Cue, Says, Trail
from maskgate.faces import Faces
from maskgate.pixels import Picture, load_photo
from maskgate.run import Roster, attend
from maskgate.store import Store, open_store

DATA = Path(__file__).parent / "data"
ATTACKS = tomllib.loads((DATA / "attacks" / "attacks.toml").read_text())["attack"]
VISITS = sorted(path for path in (DATA / "visits").glob("*.mp4") if path.stem != "empty")
EVERY = 3
"""Of fifteen frames a second, every third is looked at: as many looks as a small board makes."""


def carried(clip: Path, faces: Faces) -> tuple[int, Cue]:
    """Return how many usable looks a clip gives and what they say of the face's surroundings."""
    av = pytest.importorskip("av")
    gallery, bounds, trail, looks = faces.gallery([]), look.bounds_of(config.Quality()), Trail(), 0
    with av.open(str(clip)) as video:
        for number, frame in enumerate(video.decode(video=0)):
            if number % EVERY:
                continue
            picture = Picture.from_rgb(frame.to_ndarray(format="rgb24"))
            seen = look.sight(faces, gallery, picture, picture, at_s=number / 15, bounds=bounds)
            if seen is not None and seen.usable:
                trail, looks = cues.follow(trail, seen), looks + 1
    return looks, cues.carried(trail)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack["file"])
def test_a_picture_that_is_moved_is_told_by_what_it_carries_along(attack: dict[str, object], faces: Faces) -> None:
    looks, cue = carried(DATA / "attacks" / str(attack["file"]), faces)
    assert looks >= cues.ENOUGH
    assert (cue.says is Says.ATTACK) == attack["carried"], cue


@pytest.mark.parametrize("clip", VISITS, ids=lambda path: path.stem)
def test_nobody_who_walks_up_carries_the_wall_along(clip: Path, faces: Faces) -> None:
    looks, cue = carried(clip, faces)
    assert looks >= cues.ENOUGH
    assert cue.says is Says.NOTHING, cue


@pytest.fixture(scope="module")
def store(faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Hold the residents of the demo, enrolled from their photos."""
    bounds = look.bounds_of(config.Quality())
    enrolled = tomllib.loads((DATA / "visits" / "visits.toml").read_text())["enrolled"]
    with open_store(tmp_path_factory.mktemp("attacks") / "gallery.db", create=True) as opened:
        for name, photos in enrolled.items():
            paths = [DATA / "people" / photo for photo in photos]
            probes = [look.portrait(faces, load_photo(path), bounds, of=path.name).probe for path in paths]
            templates = [(probe, {}) for probe in probes if probe is not None]
            opened.enrol(name, templates, model=faces.embedder, source="photo", actor="test")
        yield opened


def decided(clip: Path, faces: Faces, store: Store, liveness: str) -> decide.Decision | None:
    """Return the first decision that the loop makes of a clip, with all but liveness as shipped."""
    policy = msgspec.structs.replace(config.Policy(), liveness=liveness)
    settings = msgspec.structs.replace(config.defaults(), policy=policy)
    roster = Roster(store, faces, settings)
    with open_camera(config.Camera(source=str(clip), paced=False)) as camera:
        moments = attend(camera, faces=faces, roster=roster, settings=settings, carry_out=lambda decision, _: decision)
        return next((moment.decision for moment in moments if moment.decision is not None), None)


@pytest.mark.parametrize("attack", [a for a in ATTACKS if "unsolved" not in a], ids=lambda attack: attack["file"])
def test_a_balanced_gate_refuses_an_attack_as_one(attack: dict[str, object], faces: Faces, store: Store) -> None:
    decision = decided(DATA / "attacks" / str(attack["file"]), faces, store, "balanced")
    assert decision is not None
    assert not decision.granted
    assert decision.reason in decide.ATTACKS.values()


def test_the_gate_as_shipped_refuses_a_waved_print_by_what_it_carries_along(faces: Faces, store: Store) -> None:
    decision = decided(DATA / "attacks" / "print_waved.mp4", faces, store, config.Policy().liveness)
    assert decision is not None
    assert (decision.granted, decision.reason) == (False, "held_picture")


@pytest.mark.parametrize("liveness", [config.Policy().liveness, "balanced"])
@pytest.mark.parametrize("clip", ["walk_up.mp4", "walk_up_masked.mp4"])
def test_the_filmed_resident_is_admitted_masked_or_bare(clip: str, liveness: str, faces: Faces, store: Store) -> None:
    decision = decided(DATA / "visits" / clip, faces, store, liveness)
    assert decision is not None
    assert (decision.granted, decision.subject) == (True, "Noah")
