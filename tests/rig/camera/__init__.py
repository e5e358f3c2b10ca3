"""A root in which an unmodified Picamera2 opens libcamera's virtual camera: it shows frames of shipped visits."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from rig import roots
from rig.box import inside
from rig.roots import HERE, Root
from rig.shell import run

BACKPORTS = "deb http://deb.debian.org/debian trixie-backports main\n"
"""Its libcamera has the virtual camera, trixie's own has not."""
DEBIAN = ("python3-venv", "python3-prctl")
WHEELS = (
    "picamera2==0.3.38",
    "av",
    "simplejpeg",
    "videodev2",
    "OpenEXR",
    "piexif",
    "libarchive-c",
    "tqdm",
    "jsonschema",
)
PACKAGES = "/usr/local/lib/python3.13/dist-packages"
"""Where the gate's venv looks for what the system has."""
SEE = "usr/share/libcamera/pipeline/virtual/virtual.yaml"


@cache
def debian() -> Root:
    """Return a trixie with libcamera, its virtual camera and Picamera2, as a Pi's apt would have put them there."""

    def build(root: Path) -> None:
        (root / "etc/apt/sources.list.d/backports.list").write_text(BACKPORTS)
        inside(root, "apt-get", "update", "-q", limit_s=300)
        install = ("apt-get", "install", "-y", "-q", "--no-install-recommends")
        inside(root, *install, *DEBIAN, limit_s=600)
        inside(root, *install, "-t", "trixie-backports", "python3-libcamera", "libcamera-ipa", limit_s=600)
        inside(root, "python3", "-m", "venv", "/var/tmp/pip", limit_s=120)
        pip = ("/var/tmp/pip/bin/pip", "install", "--quiet", "--no-cache-dir", "--target", PACKAGES)
        # --no-deps: PiDNG has to be compiled, and the gate brings numpy and Pillow of its own.
        inside(root, *pip, "--no-deps", "--only-binary=:all:", *WHEELS, limit_s=600)
        inside(root, *pip, "referencing", "rpds-py", "jsonschema-specifications", "attrs", "Pillow", limit_s=600)
        shutil.rmtree(root / "var/tmp/pip")
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        _virtual(root)

    recipe = roots.recipe("camera/__init__.py", *(f"camera/{name}" for name in FILES))
    return Root("trixie-camera", recipe, build, roots.debian("trixie"))


FILES = ("rig_virtual_camera.py", "dmabuf_shim.c", "virtual.yaml")


def _virtual(root: Path) -> None:
    """Put in what a virtual camera needs, for every program of the root, so that the unit stays as it is."""
    here = HERE / "camera"
    packages = root / PACKAGES.lstrip("/")
    shutil.copy(here / "rig_virtual_camera.py", packages)
    (packages / "rig_virtual_camera.pth").write_text("import rig_virtual_camera\n")
    run("gcc", "-shared", "-fPIC", "-O2", "-o", root / "usr/lib/dmabuf_shim.so", here / "dmabuf_shim.c", "-ldl")
    (root / "etc/ld.so.preload").write_text("/usr/lib/dmabuf_shim.so\n")
    plug(root)


def plug(root: Path) -> None:
    """Attach the camera."""
    (root / SEE).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "camera" / "virtual.yaml", root / SEE)


def unplug(root: Path) -> None:
    """Take the camera away: libcamera finds none."""
    (root / SEE).unlink()


def show(root: Path, *visits: str) -> None:
    """Have the camera show the frames of shipped visits, over and over."""
    shutil.copy(HERE / "camera" / "decode.py", root / "root")
    shutil.rmtree(root / "srv/frames", ignore_errors=True)
    (root / "srv/frames").mkdir()
    for visit in visits:
        clip = f"/checkout/tests/data/visits/{visit}.mp4"
        inside(root, "/opt/maskgate/bin/python", "/root/decode.py", clip, "/srv/frames", limit_s=120)
    # What the virtual camera knows of the hands at its cable lives in /run, which is made anew at each boot.
    tmpfiles = root / "etc/tmpfiles.d/rig-camera.conf"
    tmpfiles.write_text("d /run/rig-camera 0755\nf /run/rig-camera/taken 0644\n")
