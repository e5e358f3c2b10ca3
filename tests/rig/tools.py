"""What the rig needs of the machine it runs on; missing Debian packages are installed, and that is said."""

from __future__ import annotations

import os
import shutil

from rig.report import Failed
from rig.shell import run

PACKAGES = {
    "git": "git",
    "rsync": "rsync",
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "systemd-analyze": "systemd",
    "nsenter": "util-linux",
    "qemu-system-aarch64": "qemu-system-arm",
    "fdtput": "device-tree-compiler",
    "gcc": "gcc libc6-dev",
    "cpio": "cpio",
}
"""The Debian package of each command."""


def gather(commands: tuple[str, ...]) -> None:
    """Install what is missing of these commands; Failed when that cannot be done."""
    missing = [command for command in commands if shutil.which(command) is None]
    if not missing:
        return
    packages = sorted({name for command in missing for name in PACKAGES[command].split()})
    if shutil.which("apt-get") is None:
        raise Failed(f"{', '.join(missing)}: not here, and no apt-get to install {' '.join(packages)} with")
    print(f"rig: apt-get install {' '.join(packages)}", flush=True)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    retries = ("-o", "Acquire::Retries=5", "-o", "DPkg::Lock::Timeout=300")
    run("apt-get", "update", "-q", *retries, limit_s=300, env=env)
    run("apt-get", "install", "-y", "-q", "--no-install-recommends", *retries, *packages, limit_s=600, env=env)
