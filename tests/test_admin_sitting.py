"""Laws of the enrolment dialogue: the picture that the daemon sends, its cells, the bars, the advice."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from maskgate import config, desk
from maskgate.admin.sitting import drawn, lines
from maskgate.admin.terminal import fitted
from maskgate.camera import Frame
from maskgate.pixels import Picture
from worlds import sighting

GOOD = {"face_px": 120.0, "sharpness": 0.5, "brightness": 120.0, "contrast": 50.0, "yaw": 0.0, "roll": 0.0, "eyes": 1.0}
ANSWER: dict[str, Any] = {
    "face": True,
    "quality": GOOD,
    "faults": [],
    "say": "good: turn the head a little",
    "masked": 0.0,
    "taken": 1,
    "wanted": 3,
}


def grey(rows: int, columns: int, of: Any) -> str:
    """Word a picture as the daemon does."""
    pixels = np.fromfunction(of, (rows, columns)).astype(np.uint8)
    return f"{rows}x{columns}:{base64.b64encode(pixels.tobytes()).decode()}"


def shown(answer: dict[str, Any], width: int = 80, height: int = 24, **how: bool) -> list[str]:
    """Return the screen as text."""
    picture = grey(60, 80, lambda y, x: x * 3)
    made = lines(answer, picture, config.Quality(), "王小明", width, height, **({"blocks": True, "plain": False} | how))
    return [fitted(line, width, colour=False) for line in made]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 10), (10, 3)])
@pytest.mark.parametrize("blocks", [True, False])
def test_the_dialogue_fits_any_screen(width: int, height: int, blocks: bool) -> None:
    screen = shown(ANSWER, width, height, blocks=blocks, plain=not blocks)
    assert len(screen) <= height
    assert all(cell_len(line) <= width for line in screen)


def test_what_would_help_and_how_many_shots_there_are_is_said() -> None:
    screen = "\n".join(shown(ANSWER))
    assert "Enrolling 王小明" in screen
    assert "●○○  1 of 3 shots" in screen
    assert "good: turn the head a little" in screen


def test_a_measure_that_is_too_small_has_less_than_half_a_bar_and_says_so() -> None:
    for name, low in (
        ("face_px", 40.0),
        ("sharpness", 0.05),
        ("brightness", 20.0),
        ("brightness", 250.0),
        ("yaw", 0.9),
    ):
        screen = shown(ANSWER | {"quality": GOOD | {name: low}})
        [line] = [line for line in screen if "too little" in line]
        assert line.count("█") <= 7
    assert not any("too little" in line for line in shown(ANSWER))
    assert not any("sharpness" in line for line in shown(ANSWER | {"quality": None, "face": False}))


def test_the_picture_is_mirrored_and_each_cell_holds_two_pixels_one_over_the_other() -> None:
    [row] = drawn(grey(2, 4, lambda y, x: np.where(y == 0, x * 80, 0)), 4, 1, blocks=True)
    assert [style for _, style in row] == ["grey 22 0", "grey 15 0", "grey 7 0", "grey 0 0"]
    assert "\x1b[38;5;254;48;5;232m▀" in fitted(row, 80)
    [row] = drawn(grey(2, 4, lambda y, x: x * 80), 4, 1, blocks=False)
    assert row == [("@*- ", "")]
    assert drawn(None, 3, 2, blocks=True) == [[("   ", "")], [("   ", "")]]


def test_cells_that_look_alike_are_sent_as_one() -> None:
    assert len(drawn(grey(60, 80, lambda y, x: 0 * x + 99), 60, 20, blocks=True)[0]) == 1


class Waiting:
    """A client of the desk's that keeps what it is told."""

    def __init__(self, name: str, **args: Any) -> None:
        """Ask for something."""
        self.name, self.args, self.told = name, args, list[dict[str, Any]]()
        self.user, self.uid = "root", 0

    def reply(self, answer: dict[str, Any]) -> bool:
        """Keep an answer."""
        self.told.append(answer)
        return True

    def close(self) -> None:
        """Nothing is held."""

    def pending(self) -> Waiting | None:
        """Be asked once."""
        asked, self.asked = getattr(self, "asked", False), True
        return None if asked else self


class Moment:
    """A moment with a dark frame and a face in its middle."""

    decision = None
    form = ""
    sighting = sighting(0.0, x=640, height=480)
    frame = Frame(
        main=Picture.from_rgb(np.zeros((960, 1280, 3), np.uint8)),
        lores=Picture.from_rgb(np.zeros((480, 640, 3), np.uint8)),
        at_s=0.0,
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Hold the time that the desk sees."""
    now = [1000.0]
    monkeypatch.setattr(desk.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("wanted", [True, False])
def test_the_desk_sends_a_small_picture_now_and_then_to_who_wants_one(clock: list[float], wanted: bool) -> None:
    client = Waiting("enrol", shots=10, picture=wanted)
    served = desk.Desk(client, faces=None, roster=None, settings=config.Settings(), hands=None)  # type: ignore[arg-type]
    for _ in range(20):
        served.serve(Moment())  # type: ignore[arg-type]
        clock[0] += 0.1
    pictures = [answer["picture"] for answer in client.told if "picture" in answer]
    assert len(pictures) == (5 if wanted else 0)
    assert max((len(picture) for picture in pictures), default=0) < 8000
    assert {"quality", "say", "taken"} <= client.told[0].keys()
    if wanted:
        size, _, data = pictures[0].partition(":")
        pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(*map(int, size.split("x")))
        # The face's frame is white, all else is as dark as the room.
        assert set(np.unique(pixels)) <= {0, 255}
        assert (pixels == 255).sum() > 40
