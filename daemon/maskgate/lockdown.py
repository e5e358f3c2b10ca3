"""A lockdown that outlives the process: a file beside the gallery, there while it lasts. Neither a broken gallery nor a
restored one ends it."""

from __future__ import annotations

import os
from pathlib import Path

from maskgate.keys import sync_folder
from maskgate.values import StoreError

NAME = "lockdown"


def is_on(folder: Path) -> bool:
    """Tell whether a lockdown is on; one that cannot be ruled out is."""
    try:
        (folder / NAME).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def begin(folder: Path) -> None:
    """Make it last, durably; StoreError when it cannot be."""
    try:
        os.close(os.open(folder / NAME, os.O_CREAT | os.O_WRONLY, 0o600))
        sync_folder(folder / NAME)
    except OSError as error:
        raise StoreError(f"{folder / NAME}: the lockdown would not outlive a restart ({error.strerror})") from error


def end(folder: Path) -> None:
    """Take it back, durably; StoreError when it cannot be."""
    try:
        (folder / NAME).unlink(missing_ok=True)
        sync_folder(folder / NAME)
    except OSError as error:
        raise StoreError(f"{folder / NAME}: cannot be removed ({error.strerror}), the lockdown stays") from error
