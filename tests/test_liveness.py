"""The liveness network answers for a face in its surroundings, and `evaluate liveness` counts what it says."""

from __future__ import annotations

import json
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from house import House
from maskgate import align, config, cues, look
from maskgate.admin import liveness
from maskgate.faces import Faces, another
from maskgate.pixels import Picture, load_photo
from maskgate.values import BadPhoto, BadSetting, Face, ModelError
from photos import PEOPLE

MODELS = Path(__file__).parents[1] / "models"
VISITS = Path(__file__).parent / "data" / "visits"
SHOWN = sorted(PEOPLE.glob("*/*.jpg"))


@pytest.fixture(scope="module")
def looked_at(faces: Faces) -> list[tuple[Picture, Face]]:
    """Every shipped photo with its largest face."""
    pictures = [load_photo(path) for path in SHOWN]
    return [(picture, faces.find(picture, thorough=True)[0]) for picture in pictures]


def test_an_answer_is_a_probability_and_the_same_every_time(
    faces: Faces, looked_at: list[tuple[Picture, Face]]
) -> None:
    told = [faces.liveness(*seen) for seen in looked_at]
    assert all(0 <= live <= 1 for live in told)
    assert told == [faces.liveness(*seen) for seen in looked_at]


def test_the_mirror_image_says_nearly_the_same(faces: Faces, looked_at: list[tuple[Picture, Face]]) -> None:
    apart = []
    for picture, face in looked_at:
        left, top, right, bottom = face.box
        width = picture.size[0]
        mirrored = Picture.from_rgb(np.ascontiguousarray(picture.rgb()[:, ::-1]))
        turned = replace(face, box=(width - 1 - right, top, width - 1 - left, bottom))
        apart.append(abs(faces.liveness(picture, face) - faces.liveness(mirrored, turned)))
    assert np.mean(apart) < 0.15


def test_it_is_judged_from_the_face_and_from_twice_as_much_around_it() -> None:
    near, wide = align.surroundings((100, 200, 160, 280), (640, 480))
    assert near == pytest.approx((130 - 46, 240 - 46, 130 + 46, 240 + 46))
    assert wide == pytest.approx((130 - 81, 240 - 108, 130 + 81, 240 + 108))


@given(
    st.tuples(st.floats(-900, 900), st.floats(-900, 900)),
    st.tuples(st.floats(0, 900), st.floats(0, 900)),
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
)
def test_what_surrounds_a_face_is_within_the_picture_and_in_the_box_s_proportions(
    at: tuple[float, float], sides: tuple[float, float], size: tuple[int, int]
) -> None:
    box = (*at, at[0] + sides[0], at[1] + sides[1])
    left, top, right, bottom = align.surroundings(box, size)[1]
    assert -0.51 <= left < right <= size[0] - 0.49
    assert -0.51 <= top < bottom <= size[1] - 0.49
    assert (right - left) / max(sides[0], 1) == pytest.approx((bottom - top) / max(sides[1], 1))


def test_a_face_in_a_corner_is_seen_with_what_there_is_beside_it() -> None:
    _, wide = align.surroundings((0, 0, 60, 80), (640, 480))
    assert wide == pytest.approx((-0.5, -0.5, 161.5, 215.5))


def test_what_is_farther_off_does_not_count(faces: Faces, looked_at: list[tuple[Picture, Face]]) -> None:
    picture, face = looked_at[0]
    left, top, right, bottom = align.surroundings(face.box, picture.size)[1]
    kept = picture.rgb().copy()
    rows, columns = np.indices(kept.shape[:2])
    kept[(columns < left - 8) | (columns > right + 8) | (rows < top - 8) | (rows > bottom + 8)] = 0
    assert kept.any(2).mean() < 1
    assert faces.liveness(Picture.from_rgb(kept), face) == pytest.approx(faces.liveness(picture, face), abs=1e-6)


def test_a_face_at_the_edge_of_the_picture_or_beyond_has_an_answer(
    faces: Faces, looked_at: list[tuple[Picture, Face]]
) -> None:
    picture, face = looked_at[0]
    for box in ((-50.0, -80.0, 60.0, 70.0), (-500.0, -500.0, -400.0, -380.0), (10.0, 10.0, 10.0, 10.0)):
        assert 0 <= faces.liveness(picture, replace(face, box=box)) <= 1


def test_camera_planes_are_judged_as_rgb_is(faces: Faces, looked_at: list[tuple[Picture, Face]]) -> None:
    from PIL import Image

    for picture, face in looked_at[:3]:
        even = picture.rgb()[: picture.size[1] // 2 * 2, : picture.size[0] // 2 * 2]
        y, cb, cr = Image.fromarray(even).convert("YCbCr").split()
        half = (even.shape[1] // 2, even.shape[0] // 2)
        planes = [np.asarray(y), *(np.asarray(plane.resize(half, Image.Resampling.BOX)) for plane in (cb, cr))]
        told = faces.liveness(Picture.from_yuv(*planes), face)
        assert told == pytest.approx(faces.liveness(Picture.from_rgb(even), face), abs=0.25)


def test_thresholds_are_in_order_and_say_what_they_were_measured_to_do(faces: Faces) -> None:
    strict, balanced = faces.liveness_at["strict"], faces.liveness_at["balanced"]
    assert 0 < balanced.live < strict.live < 1
    assert balanced.bpcer <= strict.bpcer
    assert set(strict.apcer) == set(balanced.apcer) != set()
    assert all(strict.apcer[species] <= balanced.apcer[species] for species in strict.apcer)


def test_a_network_of_another_shape_cannot_be_measured(faces: Faces) -> None:
    with pytest.raises(ModelError, match=r"shapes are .*, must be"):
        another(MODELS / "refiner_int8.tflite", like=faces.person, threads=1)


@pytest.mark.parametrize("sides", [(3.0, 3.0), (20.0, 26.0), (33.0, 21.0), (200.0, 200.0)])
def test_a_region_within_is_the_sampled_one_and_beyond_the_edge_the_edge_goes_on(sides: tuple[float, float]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    picture, side, middle, half = Picture.from_rgb(image), 24, np.array([30.0, 11.0]), np.array(sides) / 2
    scale = side / np.array(sides)
    shift = (side - 1) / 2 - middle * scale
    sampled = picture.sample(np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]]), (side, side))
    region = picture.region((*(middle - half), *(middle + half)), side)
    at = np.arange(side)
    columns = (at >= shift[0]) & (at <= 49 * scale[0] + shift[0])
    rows = (at >= shift[1]) & (at <= 39 * scale[1] + shift[1])
    assert np.abs(region[np.ix_(rows, columns)].astype(int) - sampled[np.ix_(rows, columns)]).max() <= 1
    first, last = np.nonzero(columns)[0][[0, -1]]
    assert (region[:, :first] == region[:, first : first + 1]).all()
    assert (region[:, last:] == region[:, last : last + 1]).all()


def test_a_region_that_misses_the_picture_is_still_one() -> None:
    image = np.full((40, 50, 3), 77, np.uint8)
    assert Picture.from_rgb(image).region((-515.0, 885.0, -485.0, 915.0), 24).shape == (24, 24, 3)


# -- what the policy asks for --------------------------------------------------------------------------------------


def test_this_camera_s_own_threshold_stands_for_the_word_s(faces: Faces) -> None:
    def rules(**policy: object) -> cues.Rules | None:
        return look.rules_of(faces, config.parse({"policy": policy}, Path("gate.toml")).policy)

    balanced, strict = (faces.liveness_at[word].live for word in ("balanced", "strict"))
    assert rules(liveness="balanced") == cues.Rules(balanced, strict)
    assert rules(liveness="balanced", lives_from=0.011) == cues.Rules(0.011, strict)
    assert rules(liveness="strict", lives_from=0.97) == cues.Rules(0.97, 0.97)


@pytest.mark.parametrize("word", ["lenient", "off"])
def test_a_threshold_that_nobody_asks_for_is_refused(word: str) -> None:
    with pytest.raises(BadSetting, match=f'lives_from is 0.4, but .* liveness = "{word}"; set that to'):
        config.parse({"policy": {"liveness": word, "lives_from": 0.4}}, Path("gate.toml"))


# -- evaluate liveness ---------------------------------------------------------------------------------------------


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """Two species: four images of one, of which two are a visit; a clip of the other. No real attacks are shipped."""
    folder = tmp_path / "shown"
    for number, path in enumerate(SHOWN[:4]):
        side = folder / "print" / ("live/bare" if number < 2 else "attack/masked/ann")
        side.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, side / path.name)
    (folder / "film" / "attack").mkdir(parents=True)
    shutil.copy(VISITS / "walk_up.mp4", folder / "film" / "attack" / "bare.mp4")
    return folder


def test_paths_tell_species_truth_cover_and_visit(shown: Path) -> None:
    found = {one.path: one for one in liveness.listed(shown)}
    assert len(found) == 5
    for path, one in found.items():
        assert one.species == Path(path).parts[0]
        assert one.lives == ("/live/" in path)
        assert one.cover == ("masked" if "masked" in path else "bare")
    assert sorted(one.visit for one in found.values()) == sorted(
        ["film/attack/bare.mp4", *["print/attack/masked/ann"] * 2, *(p for p in found if p.startswith("print/live"))]
    )


def test_images_and_visits_are_counted_by_species_and_cover(house: House, shown: Path, tmp_path: Path) -> None:
    (shown / "print" / "live" / "bare" / "broken.jpg").write_text("no image")
    drawn, kept = tmp_path / "drawn", tmp_path / "said.json"
    [told] = house.run(
        "evaluate", "liveness", shown, "--json", "--at", "0", "--at", "1", "--keep", kept, "--pictures", drawn
    ).objects
    assert set(told) == {"folder", "images", "not_acquired", "equal_errors", "mean_eer", "rates"}
    assert any("broken.jpg" in line for line in told["not_acquired"])
    n = {(r["unit"], r["species"], r["cover"], r["at"]): (r["apcer"], r["bpcer"]) for r in told["rates"]}
    assert n["image", "print", "bare", "0"] == (
        None,
        {"hits": 0, "n": 2, "low": 0.0, "high": pytest.approx(0.8419, abs=1e-3), "value": 0.0},
    )
    assert n["image", "print", "masked", "0"][0]["n"] == 2
    assert n["visit", "print", "masked", "0"][0]["n"] == 1
    assert n["visit", "film", "bare", "0"][0] == n["visit", None, "bare", "0"][0]
    assert n["image", "film", "bare", "0"][0]["n"] > 5
    assert n["image", "film", "bare", "1"][0]["value"] == 0.0
    assert {row["at"] for row in told["rates"]} == {"strict", "balanced", "0", "1"}
    assert ElementTree.parse(drawn / "liveness.svg").getroot().tag.endswith("svg")
    # What was kept is measured again without a look, and alike.
    [again] = house.run("evaluate", "liveness", shown, "--json", "--at", "0", "--at", "1", "--said", kept).objects
    assert again["rates"] == told["rates"]
    assert sum(one["live"] is not None for one in json.loads(kept.read_text()).values()) == sum(
        n["image", species, cover, "0"][side]["n"]
        for species, cover, side in (("print", "bare", 1), ("print", "masked", 0), ("film", "bare", 0))
    )


def test_for_a_person_it_says_the_same_in_tables(house: House, shown: Path) -> None:
    shutil.rmtree(shown / "film")
    said = house.run("evaluate", "liveness", shown).out
    assert "per image, strict" in said
    assert "per visit, balanced" in said
    assert max(len(line) for line in said.splitlines()) <= 80


def test_a_folder_that_tells_nothing_is_one_line(house: House, tmp_path: Path) -> None:
    assert "no such folder" in house.run("evaluate", "liveness", tmp_path / "nowhere").failure
    (tmp_path / "empty").mkdir()
    assert "no images or clips" in house.run("evaluate", "liveness", tmp_path / "empty").failure
    with pytest.raises(BadPhoto):
        liveness.listed(tmp_path / "empty")


# -- the scripts ---------------------------------------------------------------------------------------------------


def test_training_sees_what_the_gate_shows_the_network(faces: Faces, looked_at: list[tuple[Picture, Face]]) -> None:
    sys.path.insert(0, str(MODELS))
    import views
    from stage_liveness import window

    picture, face = looked_at[0]
    seen = views.seen(*window(picture, face), views.SIDE)
    assert seen.shape == (2 * views.SIDE, views.SIDE, 3) == tuple(faces.person.shapes[0][1:])
    around = align.surroundings(face.box, picture.size)
    direct = np.concatenate([picture.region(part, views.SIDE) for part in around])
    assert np.abs(seen.astype(int) - direct).mean() < 6


def test_a_recaptured_picture_has_no_light_below_nothing() -> None:
    sys.path.insert(0, str(MODELS))
    from recapture import inked

    vivid = np.zeros((24, 24, 3), np.uint8)
    vivid[..., 0] = 255
    for seed in range(30):
        assert np.isfinite(inked(vivid, np.random.default_rng(seed))).all()


def test_a_recaptured_face_is_where_its_box_says() -> None:
    sys.path.insert(0, str(MODELS))
    from recapture import recaptured

    photo = np.zeros((120, 100, 3), np.uint8)
    photo[30:90, 25:75, 1] = 255
    for seed in range(30):
        scene, (left, top, right, bottom) = recaptured(photo, (25, 30, 75, 90), np.random.default_rng(seed))
        assert scene.dtype == np.uint8
        x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        face = scene[int(y - height / 5) : int(y + height / 5), int(x - width / 5) : int(x + width / 5)].astype(int)
        assert (face[..., 1] > face[..., 0]).mean() > 0.8


def test_another_camera_moves_the_box_with_the_face() -> None:
    sys.path.insert(0, str(MODELS))
    import views

    photo = np.zeros((240, 200, 3), np.uint8)
    photo[80:160, 70:130] = 255
    for seed in range(30):
        window, (left, top, right, bottom) = views.elsewhere(photo, (70, 80, 130, 160), np.random.default_rng(seed))
        x, y = int((left + right) / 2), int((top + bottom) / 2)
        assert window[y - 10 : y + 10, x - 10 : x + 10].mean() > 200
