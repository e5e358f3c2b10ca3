"""Draw a picture in a terminal: Kitty's graphics or Sixel where it has them, else half blocks, else shades of text.

Takes (h, w, 3) uint8 RGB and returns text. Kitty's protocol: sw.kovidgoyal.net/kitty/graphics-protocol; Sixel is DEC's,
as the VT340's programmer reference describes it.
"""

from __future__ import annotations

import base64
import os
import sys
import zlib
from typing import Literal, TypeAlias

import numpy as np

from maskgate.admin import ink
from maskgate.values import Image

Way: TypeAlias = Literal["kitty", "sixel", "blocks", "shades"]

WAYS: dict[str, Way] = {"kitty": "kitty", "sixel": "sixel", "blocks": "blocks", "shades": "shades"}
SHADES = " .:-=+*#%@"
ANSWER_S = 0.3
"""A terminal that does not say within this what it is draws no graphics; over SSH the answer takes a round trip."""
CHUNK = 4096
"""Bytes of one of Kitty's escape sequences at most."""
LEVELS = 6
"""Of red, green and blue each, in the palette of Sixel and of 256 colours."""


def best_way() -> Way:
    """Return the best way this terminal has; asks it, where it cannot be told from the environment."""
    if not ink.coloured() or not ink.blocks():
        return "shades"
    term, program = os.environ.get("TERM", ""), os.environ.get("TERM_PROGRAM", "")
    # Within tmux the variables tell of the terminal that tmux was started in, and tmux passes no such graphics on.
    if not os.environ.get("TMUX") and ("kitty" in term or "ghostty" in term or program in ("WezTerm", "ghostty")):
        return "kitty"
    return "sixel" if _has_sixel() else "blocks"


def _has_sixel() -> bool:
    """Ask the terminal for its attributes (DA1); 4 among them is Sixel."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    import termios
    import tty

    stream = sys.stdin.fileno()
    before = termios.tcgetattr(stream)
    try:
        tty.setcbreak(stream)
        sys.stdout.write("\x1b[c")
        sys.stdout.flush()
        answer = _read_until(stream, b"c")
    finally:
        termios.tcsetattr(stream, termios.TCSAFLUSH, before)
    return b"4" in answer.strip(b"\x1b[?c").split(b";")[1:]


def _read_until(stream: int, last: bytes) -> bytes:
    import select

    answer = b""
    while not answer.endswith(last) and select.select([stream], [], [], ANSWER_S)[0]:
        answer += os.read(stream, 64)
    return answer


def drawn(image: Image, columns: int, how: Way) -> str:
    """Draw an image so many columns wide, or as wide as it is where the terminal draws pixels."""
    if how == "kitty":
        return kitty(image)
    if how == "sixel":
        return sixel(image)
    rows = max(2, round(image.shape[0] / image.shape[1] * columns / 2) * 2)
    small = shrunk(image, (rows, columns))
    return half_blocks(small) if how == "blocks" else shades(small)


def shrunk(image: Image, size: tuple[int, int]) -> Image:
    """Return an image of `size` (h, w), each pixel the mean of those it stands for."""
    edges = [np.linspace(0, length, number + 1).astype(int) for length, number in zip(image.shape, size, strict=False)]
    rows = np.add.reduceat(image.astype(np.float32), edges[0][:-1], axis=0)
    sums = np.add.reduceat(rows, edges[1][:-1], axis=1)
    # Where an image is enlarged, reduceat takes one pixel for a stretch of none.
    counts = [np.maximum(np.diff(edge), 1) for edge in edges]
    small: Image = (sums / np.outer(*counts)[..., None]).round().clip(0, 255).astype(np.uint8)
    return small


def half_blocks(image: Image) -> str:
    """Draw an image of an even number of rows: two pixels in each cell, above as the ink, below as the paper."""
    lines = []
    for upper, lower in zip(image[::2], image[1::2], strict=True):
        cells = [f"\x1b[38;{_colour(one)};48;{_colour(other)}m▀" for one, other in zip(upper, lower, strict=True)]
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def _colour(pixel: Image) -> str:
    """Name a colour as the terminal takes it: any of 16 million, else one of the 216 of its cube."""
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "2;" + ";".join(map(str, pixel.tolist()))
    red, green, blue = _levels(pixel).tolist()
    return f"5;{16 + 36 * red + 6 * green + blue}"


def _levels(image: Image) -> Image:
    levels: Image = ((image.astype(np.uint16) * (LEVELS - 1) + 127) // 255).astype(np.uint8)
    return levels


def shades(image: Image) -> str:
    """Draw an image without colours, a character for two rows of pixels."""
    light = image.astype(np.float32).mean(axis=2)
    steps = ((light[::2] + light[1::2]) / 2 / 256 * len(SHADES)).astype(int)
    return "\n".join("".join(SHADES[step] for step in row).rstrip() for row in steps)


def kitty(image: Image) -> str:
    """Draw an image by Kitty's protocol: RGB, deflated, in chunks."""
    data = base64.standard_b64encode(zlib.compress(np.ascontiguousarray(image).tobytes())).decode()
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    head = f"a=T,f=24,o=z,s={image.shape[1]},v={image.shape[0]},"
    told = []
    for number, chunk in enumerate(chunks):
        more = int(number < len(chunks) - 1)
        told.append(f"\x1b_G{head if number == 0 else ''}m={more};{chunk}\x1b\\")
    return "".join(told)


def sixel(image: Image) -> str:
    """Draw an image as Sixel in a palette of 216 colours: bands of six rows, each colour of a band in turn."""
    levels = _levels(image)
    numbers = levels[..., 0] * np.uint8(36) + levels[..., 1] * np.uint8(6) + levels[..., 2]
    told = [f'\x1bPq"1;1;{image.shape[1]};{image.shape[0]}']
    for number in np.unique(numbers).tolist():
        red, green, blue = number // 36, number // 6 % 6, number % 6
        told.append(f"#{number};2;{red * 20};{green * 20};{blue * 20}")
    for top in range(0, len(numbers), 6):
        band = numbers[top : top + 6]
        told.append("$".join(f"#{number}{_band(band == number)}" for number in np.unique(band).tolist()) + "-")
    return "".join(told) + "\x1b\\"


def _band(here: Image) -> str:
    """Write where one colour is in six rows: a character for each column, runs counted."""
    bits = (here * (1 << np.arange(len(here)))[:, None]).sum(0)
    starts = np.flatnonzero(np.diff(bits, prepend=-1))
    lengths = np.diff(starts, append=len(bits))
    return "".join(
        f"!{length}{chr(63 + bit)}" if length > 3 else chr(63 + bit) * length
        for bit, length in zip(bits[starts].tolist(), lengths.tolist(), strict=True)
    )
