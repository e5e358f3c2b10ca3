"""What may be said of the photos and clips that are shipped: every one has its terms, its words and its size."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from PIL import Image

from maskgate.reasons import REASONS

DATA = Path(__file__).parent / "data"
PHOTOS = sorted(DATA.glob("people/*/*.jpg"))
CLIPS = sorted(DATA.glob("visits/*.mp4"))
ATTACKS = sorted(DATA.glob("attacks/*.mp4"))
VISITS = tomllib.loads((DATA / "visits" / "visits.toml").read_text())
SOURCES = (DATA / "SOURCES.md").read_text()


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_photo_has_a_source_and_terms_and_is_small(photo: Path) -> None:
    assert photo.name in (photo.parent / "LICENSE.txt").read_text()
    assert f"`{photo.parent.name}/`" in SOURCES
    assert f"`{photo.name}`" in SOURCES
    assert photo.stat().st_size < 300_000


def test_there_are_photos_and_clips() -> None:
    assert len(PHOTOS) >= 9
    assert len(CLIPS) >= 9
    assert sum(clip.stat().st_size for clip in CLIPS) < 8_000_000


def test_every_clip_is_described_and_every_description_has_its_clip() -> None:
    assert sorted(visit["file"] for visit in VISITS["visit"]) == [clip.name for clip in CLIPS]


def test_every_attack_is_described_and_the_attacks_are_small() -> None:
    described = tomllib.loads((DATA / "attacks" / "attacks.toml").read_text())["attack"]
    assert sorted(attack["file"] for attack in described) == [clip.name for clip in ATTACKS]
    assert {attack["of"] for attack in described} <= set(VISITS["enrolled"])
    assert len(ATTACKS) >= 8
    assert sum(clip.stat().st_size for clip in ATTACKS) < 3_000_000


def test_no_attack_is_made_of_the_photo_that_its_resident_is_enrolled_with() -> None:
    script = (DATA / "make_attacks.py").read_text()
    for photos in VISITS["enrolled"].values():
        assert not any(f'"{photo.removesuffix(".jpg")}"' in script for photo in photos)


@pytest.mark.parametrize("visit", VISITS["visit"], ids=lambda visit: visit["file"])
def test_what_is_expected_of_a_clip_can_happen(visit: dict[str, object]) -> None:
    expected = visit["expected"]
    assert isinstance(expected, list)
    for decision in expected:
        assert decision["reason"] in REASONS
        assert decision["granted"] == (decision["reason"] == "granted")
        assert decision.get("subject", "Obama") in VISITS["enrolled"]
    assert visit["openings"] == sum(decision["granted"] for decision in expected)


@pytest.mark.parametrize("name", VISITS["enrolled"])
def test_nobody_visits_on_the_photo_they_are_enrolled_with(name: str) -> None:
    script = (DATA / "make_visits.py").read_text()
    for photo in VISITS["enrolled"][name]:
        assert (DATA / "people" / photo).is_file()
        assert f'"{photo.removesuffix(".jpg")}"' not in script


@pytest.mark.parametrize("matte", sorted(DATA.glob("people/*/*.matte.png")), ids=lambda path: path.parent.name)
def test_a_matte_fits_its_photo(matte: Path) -> None:
    photo = matte.with_name(matte.name.replace(".matte.png", ".jpg"))
    assert Image.open(matte).size == Image.open(photo).size


@pytest.mark.parametrize("clip", CLIPS + ATTACKS, ids=lambda path: path.stem)
def test_a_clip_plays_at_15_frames_of_640_by_480(clip: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (640, 480, 15)
        assert 3 <= sum(1 for _ in container.decode(video=0)) / 15 <= 10
