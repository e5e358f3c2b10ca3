"""The laws of drawn masks: they hide what a mask hides, leave the eyes free, and come out the same every time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "models"))

import masks  # noqa: E402

LANDMARKS = {
    "Obama/enrol": [(345, 165), (438, 168), (392, 220), (347, 255), (433, 257)],
    "Obama/speech": [(185, 271), (284, 287), (208, 335), (172, 378), (259, 393)],
    "Hopper/enrol": [(228, 194), (308, 195), (267, 240), (230, 268), (302, 270)],
    "Collins/portrait": [(200, 102), (247, 102), (220, 124), (199, 143), (240, 144)],
    "Noah/close": [(195, 153), (249, 150), (225, 182), (199, 206), (247, 204)],
}
"""As the detector saw them, in pixels of the photo."""
FULL = [kind for kind in masks.KINDS if kind != "below_nose"]

Rgb = NDArray[np.uint8]
Points = NDArray[np.float64]


def photo(name: str, face_px: float = 0) -> tuple[Rgb, Points]:
    """A person's photo and landmarks, shrunk or enlarged to a face about `face_px` high."""
    image = Image.open(ROOT / "tests" / "data" / "people" / f"{name}.jpg").convert("RGB")
    points = np.array(LANDMARKS[name], np.float64)
    scale = face_px / (2.6 * np.hypot(*(points[1] - points[0]))) if face_px else 1.0
    return np.asarray(image.resize((round(image.width * scale), round(image.height * scale)))), points * scale


def worn(rgb: Rgb, points: Points, kind: str, seed: int = 0) -> Rgb:
    return masks.draw(rgb, points, kind, np.random.default_rng(seed))


def changed(before: Rgb, after: Rgb, at: Points, radius: float) -> float:
    """Share of the pixels around a point that are clearly others now."""
    y, x = np.mgrid[: before.shape[0], : before.shape[1]]
    near = np.hypot(x - at[0], y - at[1]) <= radius
    return float((np.abs(after[near].astype(int) - before[near]).max(axis=1) > 8).mean())


@pytest.mark.parametrize("kind", FULL)
@pytest.mark.parametrize("name", LANDMARKS)
def test_nose_mouth_and_chin_are_hidden(name: str, kind: str) -> None:
    rgb, points = photo(name, 130)
    eyes = float(np.hypot(*(points[1] - points[0])))
    mouth = points[3:].mean(axis=0)
    chin = mouth + 0.5 * (mouth - points[:2].mean(axis=0))
    # Several seeds at once: one colour may happen to equal the skin or the shirt it lies on.
    after = [worn(rgb, points, kind, seed) for seed in range(3)]
    for spot in (points[2], mouth, chin):
        assert max(changed(rgb, picture, spot, 0.15 * eyes) for picture in after) > 0.9


@pytest.mark.parametrize("kind", masks.KINDS)
@pytest.mark.parametrize("name", LANDMARKS)
def test_the_eyes_stay_as_they_were(name: str, kind: str) -> None:
    rgb, points = photo(name, 130)
    after = worn(rgb, points, kind)
    for eye in points[:2]:
        assert changed(rgb, after, eye, 0.22 * float(np.hypot(*(points[1] - points[0])))) == 0


@pytest.mark.parametrize("name", ["Obama/enrol", "Hopper/enrol", "Noah/close"])
def test_a_mask_below_the_nose_hides_the_mouth_and_shows_the_nose(name: str) -> None:
    rgb, points = photo(name)
    eyes, after = float(np.hypot(*(points[1] - points[0]))), worn(rgb, points, "below_nose")
    assert changed(rgb, after, points[2] - (0, 0.1 * eyes), 0.1 * eyes) < 0.1
    assert changed(rgb, after, points[3:].mean(axis=0), 0.15 * eyes) > 0.9


@pytest.mark.parametrize("kind", masks.KINDS)
def test_the_same_seed_draws_the_same_mask_and_another_seed_another(kind: str) -> None:
    rgb, points = photo("Hopper/enrol", 120)
    assert np.array_equal(worn(rgb, points, kind, 1), worn(rgb, points, kind, 1))
    assert not np.array_equal(worn(rgb, points, kind, 1), worn(rgb, points, kind, 2))


@pytest.mark.parametrize("kind", masks.KINDS)
def test_a_small_face_wears_what_a_large_one_wears(kind: str) -> None:
    large, points = photo("Hopper/enrol", 320)
    small = np.asarray(Image.fromarray(large).reduce(4))
    shrunk = np.asarray(Image.fromarray(worn(large, points, kind)).reduce(4)).astype(int)
    assert np.abs(worn(small, points / 4, kind) - shrunk).mean() < 1.5


@pytest.mark.parametrize("kind", masks.KINDS)
def test_a_mask_in_a_grey_picture_is_grey(kind: str) -> None:
    rgb, points = photo("Obama/enrol", 120)
    flat = np.repeat(rgb.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    assert np.ptp(worn(flat, points, kind).astype(int), axis=2).max() == 0


def test_the_picture_given_is_left_alone() -> None:
    rgb, points = photo("Obama/enrol", 120)
    before = rgb.copy()
    after = worn(rgb, points, "surgical")
    assert np.array_equal(rgb, before)
    assert after.shape == rgb.shape
    assert after.dtype == np.uint8


def test_a_kind_nobody_makes_is_an_error_that_names_the_kinds() -> None:
    rgb, points = photo("Obama/enrol", 60)
    with pytest.raises(ValueError, match="mask kind is 'balaclava', must be one of surgical, cloth, "):
        worn(rgb, points, "balaclava")


def test_a_face_outside_the_picture_changes_nothing() -> None:
    rgb, points = photo("Obama/enrol", 60)
    assert np.array_equal(worn(rgb, points + 10_000, "cloth"), rgb)


@given(
    kind=st.sampled_from(masks.KINDS),
    seed=st.integers(0, 2**32 - 1),
    face_px=st.floats(16, 220),
    turn=st.floats(-180, 180),
    shift=st.tuples(st.floats(-150, 300), st.floats(-150, 300)),
    wobble=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_any_pose_gives_a_picture(
    kind: str, seed: int, face_px: float, turn: float, shift: tuple[float, float], wobble: int
) -> None:
    rgb = np.full((160, 200, 3), (150, 120, 105), np.uint8)
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    points = masks.HEAD_MM[:, :2] * face_px / 165 @ [[cos, sin], [-sin, cos]] + shift
    points = points + np.random.default_rng(wobble).normal(0, 0.04 * face_px, (5, 2))
    after = worn(rgb, points, kind, seed)
    assert after.shape == rgb.shape
    assert after.dtype == np.uint8
