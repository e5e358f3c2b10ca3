"""Laws of drawing in a terminal: whoever reads the escape sequences back gets the picture that was drawn."""

from __future__ import annotations

import base64
import re
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskgate.admin import canvas, ink
from maskgate.values import Image

IMAGES = st.tuples(st.integers(1, 20), st.integers(1, 30)).flatmap(lambda size: arrays(np.uint8, (*size, 3)))


@given(IMAGES)
def test_kitty_gets_every_pixel(image: Image) -> None:
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", canvas.kitty(image))
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in pieces) == canvas.kitty(image)
    assert all(len(data) <= canvas.CHUNK for _, data in pieces)
    assert [keys[-1] for keys, _ in pieces] == ["1"] * (len(pieces) - 1) + ["0"]
    told = zlib.decompress(base64.b64decode("".join(data for _, data in pieces)))
    assert f"s={image.shape[1]},v={image.shape[0]}" in pieces[0][0]
    assert told == image.tobytes()


def read_sixel(text: str) -> Image:
    """Draw Sixel as a terminal does."""
    found = re.fullmatch(r'\x1bPq"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.S)
    assert found
    wide, high = int(found[1]), int(found[2])
    image = np.zeros((high + 5, wide, 3), np.uint8)
    palette: dict[int, list[int]] = {}
    colour = x = y = 0
    for define, pick, run, char, move in re.findall(r"#(\d+;2;\d+;\d+;\d+)|#(\d+)|(?:!(\d+))?([?-~])|([$-])", found[3]):
        if define:
            number, _, *parts = map(int, define.split(";"))
            palette[number] = [part * 255 // 100 for part in parts]
        elif pick:
            colour = int(pick)
        elif move:
            x, y = 0, y + (6 if move == "-" else 0)
        else:
            for bit in range(6):
                if (ord(char) - 63) >> bit & 1:
                    image[y + bit, x : x + int(run or 1)] = palette[colour]
            x += int(run or 1)
    return image[:high]


@given(IMAGES)
def test_sixel_gets_every_pixel_to_the_nearest_of_six_levels(image: Image) -> None:
    read = read_sixel(canvas.sixel(image))
    assert np.abs(read.astype(int) - image).max() <= 26


@given(IMAGES, st.integers(1, 40))
def test_half_blocks_are_as_wide_as_asked_and_show_the_colours(image: Image, columns: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLORTERM", "truecolor")
        lines = canvas.drawn(image, columns, "blocks").split("\n")
    assert {ink.width(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in lines} == {columns}
    assert all(line.endswith("\x1b[0m") for line in lines)
    cells = re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m", "".join(lines))
    shown = np.array(cells, int).reshape(len(lines), columns, 2, 3)
    small = canvas.shrunk(image, (2 * len(lines), columns))
    assert (shown[:, :, 0] == small[::2]).all()
    assert (shown[:, :, 1] == small[1::2]).all()


@given(IMAGES, st.integers(1, 25), st.integers(1, 40))
def test_a_picture_made_smaller_is_the_mean_and_never_brighter_than_its_brightest(
    image: Image, rows: int, columns: int
) -> None:
    small = canvas.shrunk(image, (rows, columns))
    assert small.shape == (rows, columns, 3)
    assert image.min() <= small.min()
    assert small.max() <= image.max()
    assert (canvas.shrunk(image, image.shape[:2]) == image).all()
    assert canvas.shrunk(image, (1, 1))[0, 0] == pytest.approx(image.mean(axis=(0, 1)), abs=0.51)


def test_without_colours_light_is_told_from_dark_in_plain_characters() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 255
    told = canvas.drawn(image, 8, "shades").split("\n")
    assert set(told) == {"    @@@@"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "WezTerm", "TMUX": "/tmp/tmux"}, "blocks"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "dumb"}, "shades"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "shades"),
    ],
)
def test_the_way_is_the_best_that_the_terminal_has(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "TERM_PROGRAM", "TMUX", "NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"FORCE_COLOR": "1"} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ink, "blocks", lambda: variables["TERM"] != "dumb")
    assert canvas.best_way() == expected
