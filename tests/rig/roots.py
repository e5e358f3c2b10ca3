"""Debian roots for the gate to be installed in: made once, kept by their content, lent out under a layer of their own.

A root is a chain of folders, each made on top of those before. Its key is a hash of all that it is made from, so a
changed list of packages, script or checkout makes a new one. What is done to a lent root goes to a layer that is thrown
away.
The rig has its own mount namespace: whatever ends it, the kernel takes the mounts back.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rig.shell import run

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
CACHE = Path(os.environ.get("RIG_CACHE") or Path.home() / ".cache" / "maskgate-rig").resolve()
WORK = CACHE / "work"
"""Emptied when the rig starts and when it ends."""
LEAN = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
SPEEDY = ["--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Retries "5"']
"""A root that is lost in a power cut is made anew; apt goes on trying, now and in the root later."""


@dataclass(frozen=True, slots=True)
class Root:
    """A chain of layers."""

    name: str
    recipe: str
    """All that the topmost layer is made from."""
    build: Callable[[Path], None]
    """Makes the topmost layer in a folder: an empty one, or a mount of what is below."""
    below: Root | None = None

    @property
    def key(self) -> str:
        """The hash of everything that it is made from."""
        below = self.below.key if self.below else ""
        return hashlib.sha256(f"{self.name}\0{self.recipe}\0{below}".encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """Where its topmost layer is kept."""
        return CACHE / f"{self.name}-{self.key}"

    def layers(self) -> list[Path]:
        """Return the folders, topmost first, made if need be."""
        below = self.below.layers() if self.below else []
        if not self.folder.is_dir():
            self._make(below)
        return [self.folder, *below]

    def _make(self, below: list[Path]) -> None:
        """Make the topmost layer; it gets its name only when it is whole."""
        print(f"rig: making the root {self.name}, once", flush=True)
        part = WORK / f"{self.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if below:
            with _mounted(below, part) as root:
                self.build(root)
        else:
            self.build(part)
        for stale in CACHE.glob(f"{self.name}-{'?' * 12}"):
            shutil.rmtree(stale)
        part.rename(self.folder)

    @contextmanager
    def lent(self, name: str) -> Iterator[Path]:
        """Yield the root, writable; what is written is gone afterwards."""
        upper = WORK / f"{name}.upper"
        upper.mkdir(parents=True)
        try:
            with _mounted(self.layers(), upper) as root:
                yield root
        finally:
            shutil.rmtree(upper)


@contextmanager
def _mounted(layers: list[Path], upper: Path) -> Iterator[Path]:
    """Mount layers, topmost first, with `upper` taking what is written."""
    root, scratch = upper.with_suffix(".root"), upper.with_suffix(".scratch")
    for folder in (root, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    places = f"lowerdir={':'.join(map(str, layers))},upperdir={upper},workdir={scratch}"
    run("mount", "-t", "overlay", "overlay", "-o", places, root)
    try:
        yield root
    finally:
        run("umount", "--lazy", root)
        root.rmdir()
        shutil.rmtree(scratch)


def recipe(*names: str) -> str:
    """Return the text of scripts of the rig's, to be part of a recipe."""
    return "\0".join((HERE / name).read_text() for name in names)


def debian(suite: str) -> Root:
    """Return a fresh Debian with systemd and Python, as `./install` meets it."""
    packages = "python3,ca-certificates,systemd,systemd-sysv,dbus,iproute2,procps"
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=important", f"--include={packages}", *LEAN, *SPEEDY]

    def build(folder: Path) -> None:
        # mmdebstrap wants to make the folder's content itself.
        run(*command, suite, folder, limit_s=900)
        # A machine behind a proxy of its own needs its own certificates; elsewhere these are Debian's.
        certificates = Path("/etc/ssl/certs/ca-certificates.crt")
        if certificates.exists():
            shutil.copy(certificates, folder / "root" / "certificates.crt")

    return Root(suite, f"{command}", build)


@cache
def checkout() -> Path:
    """Return a copy of the checkout as git would give it to an owner, to be seen in roots as /checkout."""
    copy = WORK / "checkout"
    listed = run("git", "-c", f"safe.directory={CHECKOUT}", "-C", CHECKOUT, *_LISTED)
    copy.mkdir(parents=True)
    names = "\0".join(name for name in listed.split("\0") if (CHECKOUT / name).exists())
    run("rsync", "-a", "--chown=root:root", "--from0", "--files-from=-", f"{CHECKOUT}/", copy, stdin=names, limit_s=120)
    return copy


_LISTED = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")


@cache
def fingerprint() -> str:
    """Return a hash of what is shipped: a gate installed from it is installed again only when it has changed."""
    shipped = (
        "setup.cfg",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "install",
        "daemon",
        "models",
        "systemd",
        "config",
    )
    names = sorted(path for name in shipped for path in [checkout() / name, *(checkout() / name).rglob("*")])
    digest = hashlib.sha256()
    for path in names:
        if path.is_file():
            digest.update(f"{path.relative_to(checkout())}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def start() -> None:
    """Empty the place for what is thrown away."""
    end()
    WORK.mkdir(parents=True)


def end() -> None:
    """Leave only what is kept; what is still mounted is unmounted first, so that nothing is removed through a mount."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted(points, reverse=True):
        if WORK in Path(point).parents:
            run("umount", "--lazy", point)
    shutil.rmtree(WORK, ignore_errors=True)
