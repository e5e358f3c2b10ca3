"""The wall clock: what it says, whether it can be trusted, whether it was set. No relay waits by it.

A Pi without a battery starts with the time of its last shutdown and is set by the network later, or never.
"""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

BUILT = datetime(2026, 11, 1, tzinfo=UTC)
"""No right clock shows a time before this program was written."""
JUMP_S = 2.0
"""A clock that moves this much against the monotonic one within a second was set; NTP slews by 0.0005 s a second."""
TIMESYNC = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd makes it once the clock has been set by the network."""
FROM_RTC = Path("/sys/class/rtc/rtc0/hctosys")
"""1 when the kernel took the time from a battery-backed clock at boot."""
_TIME_ERROR = 5


def now() -> datetime:
    """Return local time, aware."""
    return datetime.now().astimezone()


def ago(since_s: float) -> datetime:
    """Return when `since_s` (monotonic) was, UTC by the wall clock as it stands now."""
    return datetime.now(UTC) - timedelta(seconds=time.monotonic() - since_s)


def is_trusted() -> bool:
    """Tell whether the clock has been set, by network or battery, and shows no time before this program."""
    return datetime.now(UTC) >= BUILT and (TIMESYNC.exists() or _came_from_battery() or _is_synchronised())


def _came_from_battery() -> bool:
    try:
        return FROM_RTC.read_text().strip() == "1"
    except OSError:
        return False


def _is_synchronised() -> bool:
    """Ask the kernel whether an NTP daemon keeps the clock; where the question is forbidden, as in the unit: no."""
    # struct timex is 208 bytes on 64-bit Linux; all zero, its `modes` says that nothing is to be changed.
    try:
        state = int(ctypes.CDLL(None).ntp_adjtime(ctypes.create_string_buffer(512)))
    except (AttributeError, OSError):
        return False
    return 0 <= state < _TIME_ERROR


class Watch:
    """Notices when the wall clock is set."""

    def __init__(self) -> None:
        """Remember how the two clocks stand."""
        self._ahead_s = time.time() - time.monotonic()

    def jumped_s(self) -> float | None:
        """Return by how much the wall clock has been set since the last call, seconds; None when it was not."""
        ahead_s = time.time() - time.monotonic()
        jump_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        return jump_s if abs(jump_s) >= JUMP_S else None
