"""Alignment and judgement on made-up pictures whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.align import SIDE, TEMPLATE, Bounds, face_matrix, judge, similarity
from maskgate.values import FAULTS, Face
from worlds import face

BOUNDS = Bounds(
    min_face_px=56,
    min_sharpness=0.06,
    min_brightness=35,
    max_brightness=225,
    min_contrast=12,
    max_yaw=0.55,
    max_roll=30,
    min_eyes=0.25,
)


def textured(mean: float = 120, spread: float = 40) -> np.ndarray:
    """Return an aligned face's luma with detail everywhere."""
    rng = np.random.default_rng(0)
    return np.clip(rng.normal(mean, spread, (SIDE, SIDE)), 0, 255).astype(np.uint8)


@given(st.floats(-3, 3), st.floats(0.2, 5), st.floats(-500, 500), st.floats(-500, 500))
def test_a_turned_scaled_and_shifted_template_is_laid_back_exactly(
    turn: float, scale: float, x: float, y: float
) -> None:
    spin = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = (TEMPLATE @ spin.T + (x, y)).astype(np.float32)
    matrix = face_matrix(moved)
    assert np.allclose(moved @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=0.05)


def test_the_eyes_decide_when_mask_points_are_wrong() -> None:
    guessed = TEMPLATE.copy()
    guessed[2:] += (0, 12)
    matrix = face_matrix(guessed)
    eyes = TEMPLATE[:2] @ matrix[:, :2].T + matrix[:, 2]
    equal = similarity(guessed, TEMPLATE, np.ones(5))
    eyes_equal = TEMPLATE[:2] @ equal[:, :2].T + equal[:, 2]
    assert np.abs(eyes - TEMPLATE[:2]).max() < 0.8 * np.abs(eyes_equal - TEMPLATE[:2]).max()


def test_landmarks_on_one_point_do_not_blow_up() -> None:
    assert np.isfinite(face_matrix(np.zeros((5, 2), np.float32))).all()


def test_a_good_picture_has_no_faults() -> None:
    assert judge(textured(), face(), (640, 480), BOUNDS).faults == ()


@pytest.mark.parametrize(
    ("luma", "shown", "fault"),
    [
        (textured(), face(height=30), "too_small"),
        (textured(15, 5), face(), "too_dark"),
        (textured(250, 5), face(), "too_bright"),
        (textured(120, 3), face(), "too_flat"),
        (np.tile(np.linspace(40, 200, SIDE), (SIDE, 1)).astype(np.uint8), face(), "too_blurred"),
        (textured(), face(x=10), "cut_off"),
    ],
)
def test_each_fault_is_named(luma: np.ndarray, shown: Face, fault: str) -> None:
    assert fault in judge(luma, shown, (640, 480), BOUNDS).faults
    assert fault in FAULTS


def moved(nose: float = 0, tilt: float = 0) -> Face:
    """Return a face whose nose lies off by `nose` eye distances, tilted by `tilt` degrees."""
    upright = face()
    points = upright.landmarks.copy()
    points[2, 0] += nose * (points[1, 0] - points[0, 0])
    angle = np.radians(tilt)
    spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Face(upright.box, ((points - 300) @ spin.T + 300).astype(np.float32), 0.9)


@pytest.mark.parametrize(("shown", "fault"), [(moved(nose=0.4), "turned"), (moved(tilt=40), "tilted")])
def test_turned_and_tilted_heads_are_named(shown: Face, fault: str) -> None:
    assert judge(textured(), shown, (640, 480), BOUNDS).faults == (fault,)


def test_yaw_and_roll_do_not_mix() -> None:
    assert judge(textured(), moved(nose=0.2, tilt=25), (640, 480), BOUNDS).yaw == pytest.approx(0.4, abs=0.01)


def test_even_patches_where_the_eyes_should_be_are_named() -> None:
    glasses = textured()
    glasses[42:62, 22:92] = 20
    assert "eyes_hidden" in judge(glasses, face(), (640, 480), BOUNDS).faults


def test_detectors_that_disagree_about_the_eyes_are_named() -> None:
    sure = face()
    unsure = Face(sure.box, sure.landmarks, 0.9, eyes_apart=0.4)
    assert judge(textured(), unsure, (640, 480), BOUNDS).faults == ("eyes_hidden",)
