"""The dialogue of an enrolment before the gate: what the camera sees, what would help, how good it is. Enrols nobody.

On a terminal it is a picture of half blocks with bars beside it, as good as the link is fast: what is old when it could
be drawn is not drawn. Anywhere else, and for --json, it is a line whenever the advice changes.
"""

from __future__ import annotations

import base64
import os
import queue
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate.values import DaemonError

if TYPE_CHECKING:
    from maskgate.admin.terminal import Span
    from maskgate.config import Quality, Settings

RAMP = " .:-=+*#%@"
"""Dark to bright, where there are no half blocks."""
BAR = 14
PICTURE = (60, 20)
"""Columns and lines that the picture takes at most."""


def sit(settings: Settings, name: str, shots: int) -> dict[str, Any]:
    """Have the daemon take shots, and return its last answer; DaemonError when it gives up, goes away or is left."""
    from maskgate.admin.terminal import is_movable

    if is_movable():
        return _live(settings, name, shots)
    from maskgate.control import ask

    said = ""
    for answer in ask(Path(settings.control.socket), "enrol", shots=shots):
        if (done := _ended(answer)) is not None:
            return done
        line = f"{answer['taken']} of {answer['wanted']} shots: {answer['say']}"
        if line != said:
            click.echo(line, err=True)
            said = line
    raise DaemonError("the daemon ended the enrolment; nothing was enrolled, look at its log and try again")


def _ended(answer: dict[str, Any]) -> dict[str, Any] | None:
    """Return the last answer if this is it; DaemonError when it says why there is none."""
    if "error" in answer:
        raise DaemonError(str(answer["error"]))
    return answer if answer.get("done") else None


def _live(settings: Settings, name: str, shots: int) -> dict[str, Any]:
    """Show each answer as it comes, the newest where they come faster than they can be drawn."""
    from maskgate.admin.terminal import Terminal

    answers: queue.Queue[dict[str, Any] | DaemonError | None] = queue.Queue()
    threading.Thread(target=_listen, args=(settings, shots, answers), daemon=True).start()
    plain = "utf" not in (sys.stdout.encoding or "").lower()
    colour = not os.environ.get("NO_COLOR")
    with Terminal(colour=colour) as terminal:
        picture: str | None = None
        while True:
            for answer in _waiting(answers):
                if answer is None:
                    raise DaemonError("the daemon ended the enrolment; nothing was enrolled, look at its log")
                if isinstance(answer, DaemonError):
                    raise answer
                if (done := _ended(answer)) is not None:
                    return done
                picture = answer.get("picture") or picture
                shown = answer
            size = terminal.size
            blocks = colour and not plain
            terminal.draw(
                lines(shown, picture, settings.quality, name, size.columns, size.lines, blocks=blocks, plain=plain)
            )
            if terminal.key(0.0) in ("q", "\x1b"):
                raise DaemonError(f"left; nothing of {name!r} was enrolled")


def _listen(settings: Settings, shots: int, answers: queue.Queue[dict[str, Any] | DaemonError | None]) -> None:
    """Read all that the daemon says at once: it hangs up on who is slow, as a terminal may be."""
    from maskgate.control import ask

    try:
        for answer in ask(Path(settings.control.socket), "enrol", shots=shots, picture=True):
            answers.put(answer)
    except DaemonError as error:
        answers.put(error)
    answers.put(None)


def _waiting(
    answers: queue.Queue[dict[str, Any] | DaemonError | None],
) -> list[dict[str, Any] | DaemonError | None]:
    """Return all that has come, at least one."""
    come = [answers.get()]
    while not answers.empty():
        come.append(answers.get())
    return come


# -- what is shown -------------------------------------------------------------------------------------------------


def lines(
    answer: Mapping[str, Any],
    picture: str | None,
    wanted: Quality,
    name: str,
    width: int,
    height: int,
    *,
    blocks: bool,
    plain: bool,
) -> list[list[Span]]:
    """Return the screen: the picture, the bars to its right if there is room, the advice below."""
    columns = min(PICTURE[0], max(8, width - 38))
    rows = min(PICTURE[1], max(2, height - 4), columns * 3 // 8)
    seen = drawn(picture, columns, rows, blocks=blocks)
    bars = _bars(answer.get("quality"), wanted, plain)
    taken, of = answer["taken"], answer["wanted"]
    signs = ("#", "-") if plain else ("●", "○")
    head: list[Span] = [
        (f"Enrolling {name}   ", "strong"),
        (f"{signs[0] * taken}{signs[1] * (of - taken)}", "good"),
        (f"  {taken} of {of} shots", ""),
    ]
    body: list[list[Span]] = []
    for i in range(max(len(seen), len(bars) if width >= columns + 30 else 0)):
        left: list[Span] = seen[i] if i < len(seen) else [(" " * columns, "")]
        right = bars[i] if i < len(bars) else []
        body.append([*left, ("  ", ""), *right])
    advice = [(answer["say"], "good" if answer["face"] and not answer["faults"] else "bad")]
    return [head, *body[: max(0, height - 3)], [], advice, [("q leaves; nobody is let in meanwhile", "faint")]][:height]


def drawn(picture: str | None, columns: int, rows: int, *, blocks: bool) -> list[list[Span]]:
    """Draw the daemon's grey picture in so many cells, two pixels in each, one over the other."""
    import numpy as np

    if picture is None:
        return [[(" " * columns, "")] for _ in range(rows)]
    head, _, data = picture.partition(":")
    height, wide = (int(part) for part in head.split("x"))
    grey = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, wide)
    down = np.arange(rows * 2) * height // (rows * 2)
    # Mirrored: who sees themselves moves the right way.
    across = (wide - 1) - np.arange(columns) * wide // columns
    small = grey[down][:, across].astype(int)
    if not blocks:
        level = (small[0::2] + small[1::2]) * len(RAMP) // 512
        return [[("".join(RAMP[value] for value in row), "")] for row in level.tolist()]
    shades = (small * 24 // 256).tolist()
    return [_row(shades[2 * row], shades[2 * row + 1]) for row in range(rows)]


def _row(upper: list[int], lower: list[int]) -> list[Span]:
    """Join cells that look alike, which a slow link is glad of."""
    spans: list[Span] = []
    for pair in zip(upper, lower, strict=True):
        style = f"grey {pair[0]} {pair[1]}"
        if spans and spans[-1][1] == style:
            spans[-1] = (spans[-1][0] + "▀", style)
        else:
            spans.append(("▀", style))
    return spans


def _bars(quality: Mapping[str, float] | None, wanted: Quality, plain: bool) -> list[list[Span]]:
    """Say each measure of the picture: full is twice what is wanted, half is just enough."""
    if quality is None:
        return []
    light = quality["brightness"]
    enough = {
        "size": quality["face_px"] / wanted.min_face_px,
        "sharpness": quality["sharpness"] / (wanted.min_sharpness or 1e-9),
        "light": min(light / (wanted.min_brightness or 1e-9), 2 * (255 - light) / (255 - wanted.max_brightness + 1e-9)),
        "contrast": quality["contrast"] / (wanted.min_contrast or 1e-9),
        "straight": 2 - abs(quality["yaw"]) / (wanted.max_yaw or 1e-9),
        "upright": 2 - abs(quality["roll"]) / (wanted.max_roll or 1e-9),
        "eyes": quality["eyes"] / (wanted.min_eyes or 1e-9),
    }
    full, empty = "#." if plain else "█░"
    made: list[list[Span]] = []
    for word, share in enough.items():
        filled = round(min(2.0, max(0.0, share)) / 2 * BAR)
        style = "good" if share >= 1 else "bad"
        verdict = "ok" if share >= 1 else "too little"
        made.append([(word.ljust(10), "faint"), (full * filled + empty * (BAR - filled), style), (f" {verdict}", "")])
    return made
