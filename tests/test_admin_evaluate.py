"""Laws of `evaluate`, whose JSON other people's scripts rely on."""

from __future__ import annotations

import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from house import House
from maskgate import config, look
from maskgate.admin import evaluating
from maskgate.cohort import NOBODY, Cohort
from maskgate.faces import Faces
from maskgate.pixels import load_photo
from maskgate.values import Cover
from photos import PEOPLE

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import masks


@pytest.fixture
def album(tmp_path: Path, faces: Faces) -> Path:
    """Return a folder of two people: a bare photo and three with drawn masks each."""
    album = tmp_path / "album"
    for path in [next(iter(sorted(person.glob("*.jpg")))) for person in sorted(PEOPLE.iterdir()) if person.is_dir()][
        :2
    ]:
        person = album / path.parent.name
        person.mkdir(parents=True)
        shutil.copy(path, person / "1.jpg")
        picture = load_photo(path)
        seen = look.portrait(faces, picture, look.bounds_of(config.Quality()), of="it")
        for seed, kind in enumerate(("surgical", "cloth", "n95")):
            drawn = masks.draw(picture.rgb(), seen.face.landmarks, kind, np.random.default_rng(seed))
            Image.fromarray(drawn).save(person / f"masked_{kind}.jpg", quality=92)
    return album


def test_it_tells_all_it_measured_in_the_agreed_words(house: House, album: Path, tmp_path: Path) -> None:
    shutil.copy(Path(__file__), album / next(album.iterdir()).name / "broken.jpg")
    [told] = house.run("evaluate", album, "--json", "--pictures", tmp_path / "drawn").objects
    assert set(told) == {
        "folder", "people", "photos", "not_acquired", "unusable", "measured", "verification", "identification",
        "mask_told",
    }  # fmt: skip
    assert (told["people"], told["photos"], told["measured"]) == (2, 9, 8)
    assert [line for line in told["not_acquired"] if "broken.jpg" in line] == told["not_acquired"] != []
    masked = told["verification"]["masked"]
    assert (masked["genuine"], masked["impostors"]) == (6, 6)
    assert masked["tar"] == {"0.01": None, "0.001": None, "0.0001": None}
    assert masked["policy"]["fnmr"]["n"] == 6
    assert told["mask_told"]["masked"]["n"] == 6
    for name in ("roc", "scores"):
        assert ElementTree.parse(tmp_path / "drawn" / f"{name}.svg").getroot().tag.endswith("svg")


def test_for_a_person_it_says_the_same_in_tables(house: House, album: Path) -> None:
    said = house.run("evaluate", album).out
    assert "8 photos of 2 people" in said
    assert "bare photo against masked probe: 6 own pairs, 6 of two people" in said
    assert max(len(line) for line in said.splitlines()) <= 80


def test_the_first_word_may_be_left_out(house: House, album: Path) -> None:
    short = house.run("evaluate", album, "--json").objects
    assert short == house.run("evaluate", "recognition", album, "--json").objects


def test_more_photos_than_two_people_have_is_measured_from_their_scores_alone() -> None:
    rng = np.random.default_rng(0)
    faces = np.repeat(rng.normal(size=(40, 16)), 3, axis=0) + rng.normal(size=(120, 16)) * 0.4
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    shown = tuple(
        evaluating.Shown(
            Path(f"{n}.jpg"), f"p{n // 3}", Cover.MASKED if n % 3 == 2 else Cover.BARE, probe=face, template=face
        )
        for n, face in enumerate(faces.astype(np.float32))
    )
    found = evaluating.Found(shown, NOBODY)
    genuine, whose, impostors = found.pairs(Cover.BARE)
    # Two bare photos each make one own pair; the others pair up once, not twice.
    assert (len(genuine), len(impostors)) == (40, 80 * 79 // 2 - 40)
    assert sorted(whose.tolist()) == list(range(40))
    genuine, _, impostors = found.pairs(Cover.MASKED)
    assert (len(genuine), len(impostors)) == (80, 80 * 40 - 80)
    cohort = Cohort(faces[:20].astype(np.float32), 0.1)
    enrolled = faces[found.bare_at].astype(np.float32)
    assert evaluating.Found(shown, cohort).scores == pytest.approx(cohort.scores(enrolled, faces.astype(np.float32)))


@pytest.mark.parametrize(
    ("path", "cover"),
    [
        ("ann/1.jpg", None),
        ("ann/masked/1.jpg", Cover.MASKED),
        ("ann/Mask 3.jpg", Cover.MASKED),
        ("ann/bare_2.png", Cover.BARE),
        ("masked man/1.jpg", None),
    ],
)
def test_a_path_tells_the_truth_only_below_the_persons_folder(path: str, cover: Cover | None) -> None:
    assert evaluating.truth(Path("/photos") / path, Path(path).parts[0]) is cover


def one_line(house: House, folder: Path) -> str:
    return house.run("evaluate", folder).failure


def test_a_folder_that_tells_nothing_is_one_line(house: House, tmp_path: Path, album: Path) -> None:
    assert "no such folder" in one_line(house, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no photos" in one_line(house, tmp_path / "empty")
    lonely = tmp_path / "lonely"
    shutil.copytree(next(album.iterdir()), lonely / "ann")
    assert "faces of 1 people were found, must be 2 or more" in one_line(house, lonely)
    for photo in album.glob("*/1.jpg"):
        photo.unlink()
    assert "every face is masked" in one_line(house, album)
