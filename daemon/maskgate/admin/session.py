"""Who gives a command, and with which settings. Reads the config file when asked, and the user database."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskgate.config import Settings
    from maskgate.faces import Faces
    from maskgate.match import Gallery


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command."""

    named: Path | None
    """The config file that --config or $MASKGATE_CONFIG names; None for the installed one."""

    @property
    def path(self) -> Path:
        """The config file that counts."""
        from maskgate import config

        return self.named or config.DEFAULT_PATH

    def settings(self) -> Settings:
        """Read the config file; BadSetting when it is missing or wrong."""
        from maskgate import config

        return config.load(self.path)

    def settings_if_any(self) -> Settings:
        """As `settings`, but the defaults where no file was named and none is installed: instruments run anywhere."""
        from maskgate import config

        return config.defaults() if self.named is None and is_absent(self.path) else self.settings()


def is_absent(path: Path) -> bool:
    """Tell whether there is no such file; one that may not be seen counts as there, and opening it says so."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def actor() -> str:
    """Return the UNIX user behind this command: who called sudo, else the owner of the process."""
    behind = os.environ.get("SUDO_USER")
    # Anybody can set a variable; only sudo runs as root with it.
    if behind and os.geteuid() == 0:
        return behind
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def load_faces(settings: Settings) -> Faces:
    """Load the networks that the settings name."""
    from maskgate import faces

    return faces.load(Path(settings.models.path), threads=settings.models.threads)


def gallery_if_any(settings: Settings, faces: Faces) -> Gallery:
    """Return the gallery of the templates that the embedder made; empty where there is no gallery file yet."""
    from maskgate.store import open_store

    place = Path(settings.store.path)
    if is_absent(place):
        return faces.gallery([])
    with open_store(place, key=settings.store.key, readonly=True) as store:
        return faces.gallery(store.templates(faces.embedder))


def ask_daemon(settings: Settings) -> tuple[dict[str, Any] | None, str | None]:
    """Ask the running daemon how it is; without an answer say why there is none."""
    from maskgate.control import ask
    from maskgate.values import DaemonError

    try:
        return next(iter(ask(Path(settings.control.socket), "status"))), None
    except StopIteration:
        return None, "the daemon said nothing"
    except DaemonError as error:
        return None, str(error)
