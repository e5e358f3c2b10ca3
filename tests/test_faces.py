"""The networks on real photos: faces are found, laid out, embedded, told apart; other files than ours are refused."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskgate import align, config, look
from maskgate.faces import Faces, load
from maskgate.pixels import Picture, load_photo
from maskgate.values import Cover, Embedding, Face, Image, ModelError
from people import DATA

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

import disturb
import masks

PEOPLE = sorted(DATA.glob("*/*.jpg"))
MODELS = config.installed_models()


def portrait(faces: Faces, path: Path) -> tuple[Picture, Face]:
    """The photo and its largest face."""
    picture = load_photo(path)
    return picture, faces.find(picture, thorough=True)[0]


def crop(faces: Faces, path: Path) -> Image:
    """The aligned face of the photo, as the gate would see it."""
    picture, face = portrait(faces, path)
    return picture.sample(align.face_matrix(faces.refine(picture, face).landmarks), (align.SIDE, align.SIDE))


def recognised(faces: Faces, path: Path, *, closely: bool = False) -> tuple[Embedding, float]:
    """What the embedder makes of the photo."""
    picture, face = portrait(faces, path)
    face = faces.refine(picture, face)
    return faces.recognise(crop(faces, path), look.wider(picture, face), closely=closely)


def embedding(faces: Faces, name: str) -> Embedding:
    """The embedding of one of tests/data's photos."""
    return recognised(faces, DATA / name)[0]


def spoken(faces: Faces, path: Path, scale: float) -> Picture:
    """The photo scaled about its face's size into 640x480."""
    picture, face = portrait(faces, path)
    factor = scale / face.height
    x, y = face.centre
    return Picture.from_rgb(
        picture.sample(np.array([[factor, 0, 320 - x * factor], [0, factor, 240 - y * factor]]), (640, 480))
    )


@pytest.mark.parametrize("path", PEOPLE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_photo_of_one_person_shows_one_large_face(faces: Faces, path: Path) -> None:
    largest, *others = faces.find(load_photo(path), thorough=True)
    assert largest.score > 0.8
    assert all(other.area < 0.1 * largest.area for other in others)


@pytest.mark.parametrize("path", PEOPLE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_landmarks_lie_where_a_face_has_them(faces: Faces, path: Path) -> None:
    _, face = portrait(faces, path)
    right, left, nose, right_mouth, left_mouth = face.landmarks
    assert right[0] < left[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right[1], left[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    assert np.all(face.landmarks > face.box[:2])
    assert np.all(face.landmarks < face.box[2:])


@pytest.mark.parametrize("height", [40, 80, 160, 300])
def test_one_pass_over_a_frame_finds_faces_near_and_far(faces: Faces, height: int) -> None:
    frame = spoken(faces, DATA / "Hopper/enrol.jpg", height)
    found = faces.find(frame)
    assert found, "no face"
    assert found[0].height == pytest.approx(height, rel=0.3)
    assert found[0].centre == pytest.approx((320, 240), abs=0.2 * height)


@pytest.mark.parametrize("size", [(112, 112), (170, 170), (90, 120)])
def test_a_face_that_fills_the_picture_is_found_by_a_thorough_look(faces: Faces, size: tuple[int, int]) -> None:
    picture, face = portrait(faces, DATA / "Obama/enrol.jpg")
    left, top, right, bottom = face.box
    scale = np.array(size) / (right - left, bottom - top)
    tight = Picture.from_rgb(
        picture.sample(np.array([[scale[0], 0, -left * scale[0]], [0, scale[1], -top * scale[1]]]), size)
    )
    assert len(faces.find(tight, thorough=True)) == 1


def test_a_large_photo_shows_its_large_and_its_small_faces(faces: Faces) -> None:
    group = np.full((2200, 3000, 3), 96, np.uint8)
    heights = (900, 400, 160, 70)
    for i, (path, height) in enumerate(zip(PEOPLE[::2], heights, strict=False)):
        one = spoken(faces, path, 200)
        x, y = ((60, 60), (60, 1400), (1700, 100), (1900, 1500))[i]
        wide = height / 200
        size = (int(400 * wide), int(400 * wide))
        group[y : y + size[1], x : x + size[0]] = one.sample(
            np.array([[wide, 0, -120 * wide], [0, wide, -40 * wide]]), size
        )[: 2200 - y, : 3000 - x]
    found = faces.find(Picture.from_rgb(group), thorough=True)
    assert [round(face.height) for face in found] == pytest.approx(heights, rel=0.25)


def test_faces_come_largest_first(faces: Faces) -> None:
    near, far = (spoken(faces, DATA / "Hopper/enrol.jpg", h).rgb()[:, 160:480] for h in (200, 80))
    found = faces.find(Picture.from_rgb(np.hstack([far, near])))
    assert len(found) == 2
    assert found[0].centre[0] > 320 > found[1].centre[0]


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_and_emptiness_show_nobody(faces: Faces, seed: int, thorough: bool) -> None:
    noise = np.random.default_rng(seed).integers(0, 255 * seed + 1, (480, 640, 3)).astype(np.uint8)
    assert faces.find(Picture.from_rgb(noise), thorough=thorough) == []


def test_odd_shapes_are_looked_at_all_the_same(faces: Faces) -> None:
    for shape in ((1, 1, 3), (3, 500, 3), (500, 3, 3), (33, 31, 3)):
        assert faces.find(Picture.from_rgb(np.zeros(shape, np.uint8)), thorough=True) == []
        assert faces.find(Picture.from_rgb(np.zeros(shape, np.uint8))) == []


def test_camera_planes_and_rgb_give_the_same_face(faces: Faces) -> None:
    rgb = spoken(faces, DATA / "Hopper/enrol.jpg", 120)
    y = rgb.luma()
    planes = Picture.from_yuv(y, np.full((240, 320), 128, np.uint8), np.full((240, 320), 128, np.uint8))
    grey = Picture.from_rgb(np.repeat(y[..., None], 3, axis=2))
    assert faces.find(planes)[0].landmarks == pytest.approx(faces.find(grey)[0].landmarks, abs=1.0)


def off(face: Face, truth: Face) -> float:
    """How far the eyes lie from where they should, in eye distances."""
    span = np.hypot(*(truth.landmarks[1] - truth.landmarks[0]))
    return float(np.hypot(*(face.landmarks[:2] - truth.landmarks[:2]).T).mean() / span)


@pytest.mark.parametrize("path", PEOPLE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_refiner_sets_misplaced_landmarks_right(faces: Faces, path: Path) -> None:
    picture, face = portrait(faces, path)
    truth = faces.refine(picture, face)
    span = np.hypot(*(face.landmarks[1] - face.landmarks[0]))
    assert off(face, truth) == pytest.approx(truth.eyes_apart, rel=0.1)
    for way in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        wrong = replace(face, landmarks=(face.landmarks + 0.2 * span * np.array(way)).astype(np.float32))
        assert off(faces.refine(picture, wrong), truth) < 0.1, way


@pytest.mark.parametrize("kind", ["surgical", "cloth", "n95", "dark"])
def test_the_refiner_finds_the_eyes_over_a_mask_better_than_the_detector(faces: Faces, kind: str) -> None:
    before, after = [], []
    for path in PEOPLE:
        picture, face = portrait(faces, path)
        truth = faces.refine(picture, face)
        worn = Picture.from_rgb(masks.draw(picture.rgb(), face.landmarks, kind, np.random.default_rng(1)))
        found = faces.find(worn, thorough=True)[0]
        before.append(off(found, truth))
        after.append(off(faces.refine(worn, found), truth))
    assert max(after) < 0.08
    assert np.mean(after) < np.mean(before) / 2


def test_the_refiner_follows_a_shift_to_a_fraction_of_a_pixel(faces: Faces) -> None:
    picture, face = portrait(faces, DATA / "Noah/enrol.jpg")
    x, y = 37.0, 21.0
    moved = Picture.from_rgb(picture.sample(np.array([[1.0, 0, x], [0, 1.0, y]]), (640, 480)))
    left, top, right, bottom = face.box
    shift = np.array([x, y], np.float32)
    elsewhere = replace(face, box=(left + x, top + y, right + x, bottom + y), landmarks=face.landmarks + shift)
    expected = faces.refine(picture, face).landmarks + shift
    assert faces.refine(moved, elsewhere).landmarks == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("path", PEOPLE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_mirror_hardly_changes_where_the_refiner_finds_a_face(faces: Faces, path: Path) -> None:
    picture, face = portrait(faces, path)
    width = picture.size[0]
    mirror = Picture.from_rgb(picture.rgb()[:, ::-1].copy())
    left, top, right, bottom = face.box
    flipped = np.column_stack([width - 1 - face.landmarks[:, 0], face.landmarks[:, 1]])[[1, 0, 2, 4, 3]]
    other = replace(face, box=(width - right, top, width - left, bottom), landmarks=flipped.astype(np.float32))
    seen, there = faces.refine(picture, face).landmarks, faces.refine(mirror, other).landmarks
    back = np.column_stack([width - 1 - there[:, 0], there[:, 1]])[[1, 0, 2, 4, 3]]
    # Not exactly: the template that faces are laid out on is not quite even itself.
    assert back == pytest.approx(seen, abs=0.01 * face.height)


def test_a_masked_face_is_looked_at_twice_and_one_to_enrol_three_times(faces: Faces) -> None:
    picture, face = portrait(faces, DATA / "Hopper/enrol.jpg")
    face = faces.refine(picture, face)
    masked = Picture.from_rgb(masks.draw(picture.rgb(), face.landmarks, "surgical", np.random.default_rng(3)))
    for shown, closely in ((picture, False), (picture, True), (masked, False), (masked, True)):
        plain = shown.sample(align.face_matrix(face.landmarks), (align.SIDE, align.SIDE))
        wide = look.wider(shown, face)()
        mean = bare_look(faces, plain)
        if closely:
            mean = mean + bare_look(faces, np.ascontiguousarray(plain[:, ::-1]))
        if closely or shown is masked:
            mean = mean + bare_look(faces, np.ascontiguousarray(wide[:, ::-1]))
        seen, told = faces.recognise(plain, lambda wide=wide: wide, closely=closely)
        assert seen @ (mean / np.linalg.norm(mean)) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(seen) == pytest.approx(1, abs=1e-5)
        assert (told >= 0.5) == (shown is masked)


def test_the_odds_of_a_mask_count_for_more(faces: Faces) -> None:
    picture, face = portrait(faces, DATA / "Hopper/enrol.jpg")
    face = faces.refine(picture, face)
    drawn = masks.draw(picture.rgb(), face.landmarks, "surgical", np.random.default_rng(3))
    doubtful = 0
    for share in np.linspace(0, 1, 41):
        veiled = Picture.from_rgb((picture.rgb() * (1 - share) + drawn * share).astype(np.uint8))
        plain = veiled.sample(align.face_matrix(face.landmarks), (align.SIDE, align.SIDE))
        raw = float(faces.network.run(plain)[1][0])
        told = faces.recognise(plain, look.wider(veiled, face))[1]
        assert told == pytest.approx(faces.mask_odds * raw / (faces.mask_odds * raw + 1 - raw))
        doubtful += raw < 0.5 <= told
    assert doubtful
    assert faces.mask_odds == tomllib.loads((MODELS / "models.toml").read_text())["embedder"]["mask_odds"] > 1


def bare_look(faces: Faces, view: Image) -> Embedding:
    """One look of the network, whatever it sees."""
    vector = faces.network.run(view)[0]
    return vector / np.linalg.norm(vector)


def test_a_wide_look_shows_the_same_face_smaller(faces: Faces) -> None:
    picture, face = portrait(faces, DATA / "Hopper/enrol.jpg")
    face = faces.refine(picture, face)
    near, far = (align.face_matrix(face.landmarks, size) for size in (1.0, align.WIDE))
    eyes = [face.landmarks[:2] @ m[:, :2].T + m[:, 2] for m in (near, far)]
    apart = [np.linalg.norm(left - right) for left, right in eyes]
    assert apart[1] / apart[0] == pytest.approx(align.WIDE, abs=1e-3)
    middle = (align.SIDE - 1) / 2
    assert (eyes[1] - middle) == pytest.approx((eyes[0] - middle) * align.WIDE, abs=0.05)


def test_embeddings_are_unit_vectors_and_repeat(faces: Faces) -> None:
    first, again = (embedding(faces, "Hopper/enrol.jpg") for _ in range(2))
    assert first.shape == (128,)
    assert first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(first, again)


def test_one_person_scores_above_every_two_people(faces: Faces) -> None:
    who = [path.parent.name for path in PEOPLE]
    enrolled, probes = (
        np.array([recognised(faces, p, closely=closely)[0] for p in PEOPLE]) for closely in (True, False)
    )
    scores = faces.cohort.scores(enrolled, probes)
    pairs = [(a == b, float(scores[i, j])) for i, a in enumerate(who) for j, b in enumerate(who) if i != j]
    limit = faces.calibration.threshold(1e-4, Cover.BARE).score
    assert min(score for same, score in pairs if same) > limit
    assert max(score for same, score in pairs if not same) < limit


@pytest.mark.parametrize("path", PEOPLE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_bare_face_is_told_from_one_with_a_drawn_mask(faces: Faces, path: Path) -> None:
    picture, face = portrait(faces, path)
    assert recognised(faces, path)[1] < 0.5
    for seed, kind in enumerate(("surgical", "cloth", "n95", "dark")):
        worn = Picture.from_rgb(masks.draw(picture.rgb(), face.landmarks, kind, np.random.default_rng(seed)))
        again = faces.refine(worn, faces.find(worn, thorough=True)[0])
        seen = worn.sample(align.face_matrix(again.landmarks), (align.SIDE, align.SIDE))
        assert faces.recognise(seen, look.wider(worn, again))[1] >= 0.5, kind


def test_digests_are_those_of_the_files_that_ran(faces: Faces) -> None:
    files = {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (*MODELS.glob("*.tflite"), MODELS / "cohort.npy")
    }
    assert set(faces.digests) == {"detector", "refiner", "embedder", "liveness", "cohort"}
    assert set(faces.digests.values()) <= files
    assert faces.embedder == faces.digests["embedder"]


def test_the_runtime_says_its_version_and_whether_xnnpack_runs(faces: Faces) -> None:
    name, version, backend = faces.runtime.split(" ", 2)
    assert name in ("ai-edge-litert", "tflite-runtime")
    assert version[0].isdigit()
    assert backend == "(XNNPACK)"


def test_the_calibration_asks_more_for_rarer_mistakes(faces: Faces) -> None:
    for cover in Cover:
        curve = faces.calibration.curves[cover]
        assert list(curve.score) == sorted(curve.score)
        assert list(curve.fnmr) == sorted(curve.fnmr)
        assert curve.fmr[-1] * curve.pairs >= 10, "a rate that ten pairs do not support"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The models in a folder of their own, to be spoilt."""
    for path in (*MODELS.glob("*.tflite"), MODELS / "cohort.npy", MODELS / "models.toml"):
        shutil.copy(path, tmp_path)
    return tmp_path


def refusal(folder: Path) -> str:
    """The one line that loading ends with."""
    with pytest.raises(ModelError) as caught:
        load(folder, threads=1)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_no_models_at_all_are_one_line(tmp_path: Path) -> None:
    assert "models.toml: no such file" in refusal(tmp_path)


@pytest.mark.parametrize("role", ["detector", "refiner", "embedder", "liveness"])
def test_a_missing_network_is_named(copied: Path, role: str, faces: Faces) -> None:
    path = next(p for p in copied.glob("*.tflite") if hashlib.sha256(p.read_bytes()).hexdigest() == faces.digests[role])
    path.unlink()
    assert path.name in refusal(copied)


def test_another_cohort_is_refused(copied: Path) -> None:
    path = copied / "cohort.npy"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    text = (copied / "models.toml").read_text()
    hole = np.ones((2048, 128), np.int8)
    hole[7] = 0
    for wrong in (np.ones((5, 128), np.int8), np.ones((2048, 64), np.int8), np.ones(128, np.int8), hole, None):
        path.write_bytes(b"") if wrong is None else np.save(path, wrong)
        (copied / "models.toml").write_text(text)
        assert "cohort.npy: sha256 is" in refusal(copied)
        (copied / "models.toml").write_text(text.replace(before, hashlib.sha256(path.read_bytes()).hexdigest()))
        assert "cohort is missing or wrong" in refusal(copied)
    path.unlink()
    assert "cohort.npy" in refusal(copied)


def test_a_network_with_one_other_byte_is_refused(copied: Path) -> None:
    path = copied / "face_int8.tflite"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(bytes(data))
    assert "face_int8.tflite: sha256 is" in refusal(copied)


def test_a_network_of_another_shape_is_refused(copied: Path) -> None:
    text = (copied / "models.toml").read_text()
    (copied / "models.toml").write_text(text.replace("[1, 128]", "[1, 256]"))
    assert "shapes are [[1, 112, 112, 3], [1, 128], [1, 1]], must be" in refusal(copied)


def test_a_file_that_is_no_network_is_refused(copied: Path) -> None:
    path = copied / "face_int8.tflite"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"no network at all")
    text = (copied / "models.toml").read_text()
    (copied / "models.toml").write_text(text.replace(old, hashlib.sha256(path.read_bytes()).hexdigest()))
    assert "face_int8.tflite: cannot run here" in refusal(copied)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[embedder.calibration.masked]", "[embedder.calibration.other]"),
        ("min_score =", "max_score ="),
        ("doubt =", "trust ="),
        ("mask_odds =", "mask_chances ="),
        ("mask_odds =", "mask_odds = 0  #"),
        ("mask_odds =", "mask_odds = nan  #"),
        ("[embedder.cohort]", "[embedder.crowd]"),
        ("usual =", "unusual ="),
        ("usual =", "usual = nan  #"),
        ("usual = 0.3", "usual = 3.0"),
        ('embedder = "', 'embedder = "0'),
        ("[refiner]", "[second]"),
        ("fmr = [", 'fmr = ["often", '),
        ("pairs =", "pears ="),
        ("live = ", "alive = "),
        ("bpcer = ", "refused = "),
    ],
)
def test_a_description_that_lacks_something_is_refused(copied: Path, old: str, new: str) -> None:
    text = (copied / "models.toml").read_text()
    assert old in text
    (copied / "models.toml").write_text(text.replace(old, new))
    assert "models.toml" in refusal(copied)


def test_a_description_that_is_no_toml_is_refused(copied: Path) -> None:
    (copied / "models.toml").write_text("[detector\n")
    assert "models.toml: cannot be read" in refusal(copied)


def test_training_and_the_gate_lay_a_wide_look_out_alike() -> None:
    assert disturb.WIDE == align.WIDE
