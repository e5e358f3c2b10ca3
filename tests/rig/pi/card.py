"""What the emulated Pi boots from: Debian's arm64 packages, wheels for arm64, the gate laid out by hand.

Nothing here runs arm64 code, so no package's own scripts have run either: users, groups and the venv are made as those
would. `./install` itself is tried on x86-64, in its own part.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from rig import gatehouse, roots
from rig.box import inside
from rig.report import Failed
from rig.roots import HERE, LEAN, SPEEDY, Root
from rig.shell import run

PYTHON = {"trixie": "3.13", "bookworm": "3.11"}
PACKAGES = (
    "python3,libstdc++6,bash,coreutils,grep,mount,util-linux,kmod,systemd,systemd-sysv,udev,dbus,libpam-systemd,procps"
)
LEANER = [f"--dpkgopt=path-exclude={path}/*" for path in ("/usr/share/zoneinfo", "/usr/lib/udev/hwdb.d")]
KERNEL = """
set -e
cd "$1"
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
package=$(apt-cache depends linux-image-arm64 | sed -n 's/.*Depends: //p')
apt-get -q download "$package"
dpkg-deb --extract ./linux-image-*.deb /tmp/rig-kernel.$$
mkdir kernel
cp /tmp/rig-kernel.$$/boot/vmlinuz-* kernel/vmlinuz
find /tmp/rig-kernel.$$ -name bcm2837-rpi-3-b.dtb -exec cp {} kernel/pi.dtb \\;
find /tmp/rig-kernel.$$ -name 'bcm2835_wdt.ko*' -exec cp {} kernel/ \\;
rm -rf ./linux-image-*.deb /tmp/rig-kernel.$$
"""
"""Take from the kernel's package what a Pi 3B needs: all of its other drivers are built in."""


@cache
def kernel() -> Path:
    """Return the folder of trixie's arm64 kernel: vmlinuz, pi.dtb and the one module that a Pi 3B wants."""
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--architectures=arm64", *SPEEDY]
    # Something has to be unpacked; base-files is little.
    command += ["--include=base-files", f"--extract-hook={KERNEL}"]

    def build(folder: Path) -> None:
        run(*command, "trixie", folder, limit_s=900)
        run(
            "find",
            ".",
            "-mindepth",
            "1",
            "-maxdepth",
            "1",
            "!",
            "-name",
            "kernel",
            "-exec",
            "rm",
            "-r",
            "{}",
            "+",
            cwd=folder,
        )
        if len(list((folder / "kernel").iterdir())) < 3:
            raise Failed(f"{folder}/kernel: {list((folder / 'kernel').iterdir())}")

    return Root("pi-kernel", f"{command}", build).layers()[0] / "kernel"


@cache
def debian(suite: str) -> Root:
    """Return an arm64 Debian, unpacked only."""
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--architectures=arm64"]
    command += [f"--include={PACKAGES}", *LEAN, *LEANER, *SPEEDY]

    def build(folder: Path) -> None:
        run(*command, suite, folder, limit_s=900)
        for path in ("var/cache/apt", "var/lib/apt/lists", "usr/share/locale", "usr/share/perl", "usr/share/info"):
            shutil.rmtree(folder / path, ignore_errors=True)
        # What packages' own scripts would have made.
        (folder / "etc/passwd").write_text(PASSWD)
        (folder / "etc/group").write_text(GROUP)
        (folder / "etc/machine-id").write_text("00000000000000000000000000000001\n")
        run("ldconfig", "-r", folder)

    return Root(f"pi-{suite}", f"{command}{PASSWD}{GROUP}", build)


PASSWD = """root:x:0:0:root:/root:/bin/bash
messagebus:x:100:100::/:/bin/false
maskgate:x:200:200::/var/lib/maskgate:/bin/false
nobody:x:65534:65534::/:/bin/false
"""
GROUP = """root:x:0:
tty:x:5:
video:x:44:maskgate
gpio:x:101:maskgate
messagebus:x:100:
maskgate:x:200:
nogroup:x:65534:
"""


@cache
def gate(suite: str) -> Root:
    """Return the arm64 Debian with the gate in it: the wheels that pip would take on a Pi, the unit, a person."""

    def build(root: Path) -> None:
        with gatehouse.installed(roots.debian("trixie")).lent(f"pip-for-{suite}") as host:
            shutil.copy(HERE / "pi" / "fetch.py", host / "root")
            inside(host, "/opt/maskgate/bin/python", "/root/fetch.py", PYTHON[suite], "/root/site", limit_s=600)
            _lay_out(suite, root, host)

    recipe = roots.recipe("pi/card.py", "pi/fetch.py") + roots.fingerprint()
    return Root(f"pi-{suite}-gate", recipe, build, debian(suite))


def _lay_out(suite: str, root: Path, host: Path) -> None:
    """Make /opt/maskgate a venv, as python3 -m venv and pip would; take settings, key and gallery from the host."""
    venv = root / "opt/maskgate"
    packages = venv / "lib" / f"python{PYTHON[suite]}" / "site-packages"
    packages.parent.mkdir(parents=True)
    (host / "root/site/share").rename(host / "root/share")
    run("cp", "-a", host / "root/site", packages)
    run("cp", "-a", host / "root/share", venv / "share")
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to("/usr/bin/python3")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
    command = venv / "bin/maskgate"
    command.write_text("#!/opt/maskgate/bin/python\nfrom maskgate.admin import main\nmain()\n")
    command.chmod(0o755)
    (root / "usr/local/bin").mkdir(parents=True, exist_ok=True)
    (root / "usr/local/bin/maskgate").symlink_to("/opt/maskgate/bin/maskgate")
    shutil.copy(roots.checkout() / "systemd/maskgate.service", root / "etc/systemd/system")
    rules = root / "etc/udev/rules.d/60-maskgate.rules"
    rules.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(roots.checkout() / "systemd/60-maskgate.rules", rules)
    for path in ("etc/maskgate", "var/lib/maskgate"):
        run("cp", "-a", host / path, root / path)
    run("chown", "-R", "200:200", root / "var/lib/maskgate", root / "etc/maskgate/gate.key")


def pack(root: Path, archive: Path) -> None:
    """Write a root as the archive that the kernel unpacks into memory."""
    listed = run("find", ".", "-path", "./boot", "-prune", "-o", "-print0", cwd=root)
    command = ("cpio", "--null", "--create", "--format=newc", "--quiet", f"--file={archive}")
    run(*command, stdin=listed, cwd=root, limit_s=300)
