"""A terminal taken over for a while, and given back whatever happens. Draws lines; knows nothing of gates.

Only lines that have changed are sent, so that a screen at rest costs a slow link next to nothing.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self, TypeAlias

from maskgate.admin.ink import LEFT_TO_RIGHT, rendition

Span: TypeAlias = "tuple[str, str]"
"""Text, and how it is shown: a meaning of `ink`, or "grey F B", fore- and background of 0 (black) to 23 (white)."""
_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def is_movable() -> bool:
    """Tell whether somebody sits at a terminal whose cursor can be moved."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Terminal:
    """The whole screen, keys without Enter and without echo, from `with` to its end."""

    def __init__(self, *, colour: bool = True) -> None:
        """Take stdin and stdout, which must be a terminal."""
        self._in, self._out, self._colour = sys.stdin.fileno(), sys.stdout.fileno(), colour
        self._shown: list[str] = []
        self._size = os.terminal_size((0, 0))
        self._wake_out, self._wake_in = os.pipe()

    def __enter__(self) -> Self:
        os.set_blocking(self._wake_in, False)
        self._modes = termios.tcgetattr(self._in)
        self._woken_before = signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _leave) for number in _ENDING}
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._stop)
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
        try:
            self._take()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woken_before)
        os.close(self._wake_in)
        os.close(self._wake_out)

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines, as they are now."""
        # Asked of the terminal itself: $COLUMNS, which shutil believes first, stays as it was when a window changes.
        return os.get_terminal_size(self._out)

    def draw(self, lines: Sequence[Sequence[Span]]) -> None:
        """Show lines from the top, cut to the screen; what has not changed is not sent."""
        size = self.size
        if size != self._size:
            self._shown, self._size = [], size
            self._send(b"\x1b[2J")
        wanted = [fitted(line, size.columns, colour=self._colour) for line in lines[: size.lines]]
        wanted += [""] * (size.lines - len(wanted))
        before = self._shown or [""] * size.lines
        # Erased before it is written: the cursor stays on the last column, which erasing afterwards would take.
        changed = [f"\x1b[{i + 1}H\x1b[K{line}" for i, line in enumerate(wanted) if line != before[i]]
        if changed:
            self._send("".join(changed).encode(sys.stdout.encoding or "ascii", "replace"))
        self._shown = wanted

    def key(self, within_s: float) -> str | None:
        """Return the next key; None after `within_s`, or at once when the screen has another size or is ours again."""
        ready, _, _ = select.select([self._in, self._wake_out], [], [], within_s)
        if self._wake_out in ready:
            os.read(self._wake_out, 512)
        if self._in not in ready:
            return None
        pressed = os.read(self._in, 64)
        if not pressed:
            raise SystemExit(1)  # the terminal is gone
        return pressed.decode(errors="replace")[0]

    def _take(self) -> None:
        tty.setcbreak(self._in, termios.TCSANOW)
        self._send(_ENTER)
        self._shown, self._size = [], os.terminal_size((0, 0))

    def _give_back(self) -> None:
        """Undo `_take`; a terminal that is gone needs nothing."""
        with suppress(OSError):
            self._send(_LEAVE)
        with suppress(termios.error, OSError):
            termios.tcsetattr(self._in, termios.TCSANOW, self._modes)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """^Z: stop with the terminal as it was found, and take it again when continued."""
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        # Here it goes on after SIGCONT.
        signal.signal(signal.SIGTSTP, self._stop)
        self._take()

    def _send(self, data: bytes) -> None:
        """Write all of it; OSError when the terminal is gone."""
        while data:
            data = data[os.write(self._out, data) :]


def _leave(number: int, frame: FrameType | None) -> None:
    """End by the way that cleans up."""
    raise SystemExit(128 + number)


def fitted(line: Sequence[Span], columns: int, *, colour: bool = True) -> str:
    """Word a line in at most so many cells (Chinese takes two a letter), with nothing in it that moves the cursor."""
    from rich.cells import cell_len, set_cell_size

    said, left = "", columns
    for text, style in line:
        plain = "".join(char if char.isprintable() or char == LEFT_TO_RIGHT else "?" for char in text)
        cut = plain if cell_len(plain) <= left else set_cell_size(plain, left)
        left -= cell_len(cut)
        said += f"\x1b[{_rendition(style)}m{cut}\x1b[0m" if style and colour and cut else cut
        if left <= 0:
            break
    return said


def _rendition(style: str) -> str:
    """Return the parameters of a style."""
    if not style.startswith("grey "):
        return rendition(style)
    _, fore, back = style.split()
    # xterm's 256 colours end in 24 greys.
    return f"38;5;{232 + int(fore)};48;5;{232 + int(back)}"
