"""The rendered attacks of tests/data/attacks before the gate's own eyes: what is held up carries its world along."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from maskgate import config, cues, look
from maskgate.cues import Cue, Says, Trail
from maskgate.faces import Faces
from maskgate.match import Gallery
from maskgate.pixels import Picture

DATA = Path(__file__).parent / "data"
ATTACKS = tomllib.loads((DATA / "attacks" / "attacks.toml").read_text())["attack"]
VISITS = sorted(path for path in (DATA / "visits").glob("*.mp4") if path.stem != "empty")
EVERY = 3
"""Of fifteen frames a second, every third is looked at: as many looks as a small board makes."""


def carried(clip: Path, faces: Faces) -> tuple[int, Cue]:
    """Return how many usable looks a clip gives and what they say of the face's surroundings."""
    av = pytest.importorskip("av")
    gallery, bounds, trail, looks = Gallery([]), look.bounds_of(config.Quality()), Trail(), 0
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
