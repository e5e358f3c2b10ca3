"""Draw docs/wiring.svg, the picture of WIRING.md: `python docs/draw_wiring.py`. A test compares the two."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 1120, 1060
PICTURE = Path(__file__).with_name("wiring.svg")
RED, BLUE, INK, FAINT = "#b3261e", "#1d4e89", "#1b1b1b", "#f4f1ea"


class Drawing:
    """An SVG that grows."""

    def __init__(self) -> None:
        """Begin with white paper."""
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="DejaVu Sans, Verdana, sans-serif" font-size="13">',
            "<title>maskgate: how the door is wired</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        ]

    def wire(self, *points: tuple[float, float], colour: str = INK, dots: bool = False) -> None:
        """Draw a wire through points; `dots` marks a joint at its last one."""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if dots:
            x, y = points[-1]
            self.parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>')

    def box(self, x: float, y: float, width: float, height: float, *lines: str, fill: str = FAINT) -> None:
        """Draw a box with words in its middle."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{fill}" stroke="{INK}" '
            'stroke-width="1.5"/>'
        )
        for i, line in enumerate(lines):
            self.text(x + width / 2, y + height / 2 + 5 + (i - (len(lines) - 1) / 2) * 17, line, anchor="middle")

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False, colour: str = INK
    ) -> None:
        """Write words."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(words)}</text>'
        )

    def contact(self, x: float, y: float, words: str, *, closed: bool, width: float = 50) -> None:
        """Draw a switch in a horizontal wire from x on, at rest, and name it above."""
        end = x + width
        self.parts += [
            f'<circle cx="{x}" cy="{y}" r="3.5" fill="#fff" stroke="{INK}" stroke-width="1.5"/>',
            f'<circle cx="{end}" cy="{y}" r="3.5" fill="#fff" stroke="{INK}" stroke-width="1.5"/>',
        ]
        tip = (end, y - 3) if closed else (end - 6, y - 17)
        self.wire((x + 3, y - 2), tip)
        self.text(x + width / 2, y - 22, words, anchor="middle")

    def resistor(self, x: float, y: float, words: str, *, upright: bool = False) -> None:
        """Draw a resistor 40 long that begins at (x, y), and name it."""
        if upright:
            self.box(x - 7, y, 14, 40, fill="#ffffff")
            self.text(x - 12, y + 25, words, anchor="end")
        else:
            self.box(x, y - 7, 40, 14, fill="#ffffff")
            self.text(x + 20, y - 12, words, anchor="middle")

    def diode(self, x: float, y: float) -> None:
        """Draw an upright diode that lets current pass upwards, 30 high from y down."""
        self.parts.append(
            f'<path d="M{x - 10},{y + 24} L{x + 10},{y + 24} L{x},{y + 6} Z M{x - 10},{y + 6} L{x + 10},{y + 6}" '
            f'fill="{INK}" stroke="{INK}" stroke-width="2"/>'
        )

    def svg(self) -> str:
        """Return the file."""
        return "\n".join([*self.parts, "</svg>", ""])


def draw_inputs(page: Drawing) -> None:
    """Draw the board and everything that is wired to its header."""
    page.text(40, 36, "1  The board: contacts towards ground", bold=True)
    page.box(40, 60, 150, 470, "Raspberry Pi", "header")
    rows = (
        (100, "GPIO 5, pin 29", "exit button, NO", "rex_pin"),
        (170, "GPIO 6, pin 31", "fire alarm, NC", "fire_pin"),
        (240, "GPIO 16, pin 36", "door contact, closed when shut", "contact_pin"),
        (310, "GPIO 26, pin 37", "lid switch, closed when shut", "tamper_pin"),
    )
    for y, pin, words, setting in rows:
        page.text(196, y - 8, pin)
        page.wire((190, y), (310, y))
        page.resistor(310, y, "1 k")
        page.wire((350, y), (430, y))
        page.contact(430, y, words, closed="NO" not in words)
        page.wire((480, y), (560, y), dots=True)
        page.text(430, y + 20, setting, colour=BLUE)
    page.wire((560, 100), (560, 380), (190, 380))
    page.text(196, 372, "GND, pin 39")
    page.text(300, 402, "one ground wire to the contacts, beside the signal in the same twisted pair")
    page.text(196, 437, "GPIO 24, pin 18")
    page.wire((190, 445), (430, 445))
    page.box(430, 425, 130, 40, "alarm relay or", "buzzer board")
    page.text(430, 483, "alarm_pin", colour=BLUE)
    page.text(
        40, 556, "Each input has the board's own pull-up (door.pull). On cables over 2 m add 4.7 k to 3.3 V (pin 1)."
    )


def draw_relay(page: Drawing) -> None:
    """Draw the relay board."""
    page.text(620, 36, "2  The relay board", bold=True)
    page.box(820, 60, 130, 190)
    page.text(885, 82, "relay board", anchor="middle")
    for y, inside, outside in ((110, "VCC", "5 V, pin 2"), (160, "IN", "GPIO 17, pin 11"), (220, "GND", "GND, pin 9")):
        page.text(828, y + 5, inside)
        page.wire((620, y), (820, y))
        page.text(620, y - 8, outside)
    page.text(620, 178, "relay_pin", colour=BLUE)
    page.wire((780, 170), (780, 160), dots=True)
    page.resistor(780, 170, "10 k", upright=True)
    page.wire((780, 210), (780, 220), dots=True)
    for y, words in ((100, "NO"), (150, "COM"), (200, "NC")):
        page.text(942, y + 5, words, anchor="end")
        page.wire((950, y), (980, y))
    page.text(988, 105, "strike (3)")
    page.text(988, 155, "supply (3, 4)")
    page.text(988, 205, "maglock (4)")
    page.text(620, 285, "10 k holds the relay at rest while no software runs: to GND for a board")
    page.text(620, 303, "that is energised by a high level, to 3.3 V for a low level.")
    page.text(620, 329, "A low-level board wants VCC and the jumper JD-VCC apart: VCC at 3.3 V,")
    page.text(620, 347, "JD-VCC at 5 V; else 3.3 V on IN may not release it.")


def draw_strike(page: Drawing) -> None:
    """Draw the fail-secure circuit."""
    page.text(40, 606, "3  Fail-secure strike: shut without power (the handle inside must always open)", bold=True)
    page.box(40, 640, 110, 170, "12 V DC", "own supply", "fused")
    page.text(156, 652, "+")
    page.text(156, 812, "-")
    page.wire((150, 660), (330, 660), colour=RED)
    page.contact(330, 660, "COM   relay   NO", closed=False, width=70)
    page.wire((400, 660), (640, 660), colour=RED)
    page.wire((270, 660), (270, 705), (330, 705), colour=RED)
    page.contact(330, 705, "exit button, 2nd contact, NO", closed=False, width=70)
    page.wire((400, 705), (460, 705), (460, 660), colour=RED, dots=True)
    page.box(610, 685, 60, 50, "strike")
    page.wire((640, 660), (640, 685), colour=RED)
    page.wire((270, 705), (270, 750), (330, 750), colour=RED)
    page.contact(330, 750, "fire alarm, 2nd contact, NO", closed=False, width=70)
    page.wire((400, 750), (460, 750), (460, 705), colour=RED)
    page.wire((640, 735), (640, 795), (150, 795))
    page.wire((570, 695), (570, 660), colour=RED, dots=True)
    page.diode(570, 693)
    page.wire((570, 717), (570, 795), dots=True)
    page.text(700, 700, "Diode 1N4007 at the strike, its bar to +.")
    page.text(700, 718, "An AC strike takes a varistor instead.")


def draw_maglock(page: Drawing) -> None:
    """Draw the fail-safe circuit."""
    page.text(
        40, 866, "4  Fail-safe maglock: open without power; button and fire alarm cut it by themselves", bold=True
    )
    page.box(40, 900, 110, 130, "12 or 24 V DC", "own supply", "fused")
    page.text(156, 912, "+")
    page.text(156, 1032, "-")
    page.wire((150, 930), (230, 930), colour=RED)
    page.contact(230, 930, "fire alarm, 2nd, NC", closed=True, width=60)
    page.wire((290, 930), (390, 930), colour=RED)
    page.contact(390, 930, "exit button, 2nd, NC", closed=True, width=60)
    page.wire((450, 930), (550, 930), colour=RED)
    page.contact(550, 930, "COM   relay   NC", closed=True, width=70)
    page.wire((620, 930), (760, 930), colour=RED)
    page.box(725, 950, 70, 50, "maglock")
    page.wire((760, 930), (760, 950), colour=RED)
    page.wire((760, 1000), (760, 1015), (150, 1015))
    page.wire((690, 962), (690, 930), colour=RED, dots=True)
    page.box(680, 962, 20, 30, fill="#ffffff")
    page.text(672, 982, "MOV", anchor="end")
    page.wire((690, 992), (690, 1015), dots=True)
    page.text(830, 955, "Varistor (MOV) at the lock. A diode")
    page.text(830, 973, "would hold it for a moment longer.")


def drawn() -> str:
    """Return the whole picture."""
    page = Drawing()
    for draw in (draw_inputs, draw_relay, draw_strike, draw_maglock):
        draw(page)
    page.text(700, 640, "Red: the lock's supply. It shares no wire with the board;", colour=RED)
    page.text(700, 658, "only the relay's contacts lie between.", colour=RED)
    return page.svg()


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
