"""What the terminal can show: colours, blocks, so many columns; and how wide a text is in it. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
import unicodedata

GOOD, BAD, ALARM, FAINT, STRONG = "good", "bad", "alarm", "faint", "strong"
"""What a colour is to say. Good is blue and bad is orange: red and green are one colour to one man in twelve."""
_MANY = {GOOD: "1;38;5;39", BAD: "38;5;208", ALARM: "1;7", FAINT: "2", STRONG: "1"}
"""With 256 colours: near Okabe and Ito's, bright enough on black and dark enough on white."""
_FEW = {GOOD: "1;36", BAD: "33", ALARM: "1;7", FAINT: "2", STRONG: "1"}
LEFT_TO_RIGHT = "\u200e"
"""After Arabic or Hebrew, lest a number that follows be drawn before it."""
EIGHTHS = " ▏▎▍▌▋▊▉█"


def is_terminal() -> bool:
    """Tell whether somebody looks on, or FORCE_COLOR says so."""
    return sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))


def coloured() -> bool:
    """Tell whether colours may be used: on a terminal that has them, unless NO_COLOR is set (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return is_terminal()


def blocks() -> bool:
    """Tell whether block characters arrive as what they are."""
    named = (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "")
    return named == "utf8" and os.environ.get("TERM") != "dumb"


def columns() -> int | None:
    """How wide the terminal is; None where there is none, and nothing is cut off."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns if is_terminal() else None


def inked(text: str, meaning: str | None) -> str:
    """Colour a text by what that is to say."""
    if meaning is None or not coloured():
        return text
    return f"\x1b[{rendition(meaning)}m{text}\x1b[0m"


def rendition(meaning: str) -> str:
    """Return the parameters of Select Graphic Rendition (ECMA-48) for a meaning."""
    many = "256" in os.environ.get("TERM", "") or os.environ.get("COLORTERM")
    return (_MANY if many else _FEW)[meaning]


def width(text: str) -> int:
    """Count the columns a text takes: two for Chinese and most emoji, none for marks above and below."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, most: int) -> str:
    """Shorten a text to so many columns, with dots where something is missing."""
    if width(text) <= most:
        return text
    dots = "…" if blocks() else "."
    taken, kept = 0, []
    for char in text:
        taken += _width(char)
        if taken > most - 1:
            break
        kept.append(char)
    return "".join(kept) + dots


def padded(text: str, to: int) -> str:
    """Fill a text up with blanks to so many columns."""
    return text + " " * (to - width(text))


def steadied(name: str) -> str:
    """Keep a name that is written from right to left from turning round what follows it; on a terminal alone."""
    if name.isascii() or not is_terminal():
        return name
    turned = any(unicodedata.bidirectional(char) in ("R", "AL") for char in name)
    return name + LEFT_TO_RIGHT if turned else name


def bar(share: float, cells: int) -> str:
    """Draw a bar of a share of so many columns, in eighths where blocks can be shown."""
    share = min(max(share, 0.0), 1.0)
    if not blocks():
        return padded("#" * round(share * cells), cells)
    eighths = round(share * cells * 8)
    drawn = "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")
    return padded(drawn, cells)
