"""Namespaces for the rig's mounts and processes: whatever ends the rig, the kernel ends them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from types import FrameType

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
PR_SET_PDEATHSIG = 1
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def enclose() -> int | None:
    """Fork into new namespaces. Return None in the child, which is PID 1 there; its exit code in the parent."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWPID):
        raise OSError(ctypes.get_errno(), "namespaces of its own are not to be had: unshare")
    child = os.fork()
    if child:
        # Signals go to the child, whose end is the end of everything; ^C reaches it anyway.
        for number in ENDING:
            signal.signal(number, lambda number, _: os.kill(child, number))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in ENDING:
        signal.signal(number, _interrupted)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    return None


def _interrupted(number: int, frame: FrameType | None) -> None:
    """End in order, once: a second signal does not interrupt the cleaning up."""
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def end_the_rest() -> None:
    """End every process of the namespace but this one."""
    if os.getpid() != 1:
        return
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return
