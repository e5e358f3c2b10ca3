"""The whole gate on a camera: libcamera's virtual one, an unmodified Picamera2, the shipped unit, decision and relay.

What the camera shows are the frames of shipped visits, in NV12, as libcamera's own code delivers them; what is adapted
for a camera without a sensor stands in camera/rig_virtual_camera.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig import camera, gatehouse
from rig.box import Box, booted, tried
from rig.gatehouse import logged, relay, released
from rig.report import Failed, Report
from rig.shell import until

NEEDS = ("git", "rsync", "mmdebstrap", "systemd-nspawn", "nsenter", "gcc")
STALL_S = 3.0
"""The default of camera.stall_s."""
MORE = 'liveness = "lenient"\n[quality]\nmin_face_px = 40.0\n'


def run(report: Report) -> None:
    """Show the gate a resident, a stranger, and the faults that a camera has."""
    house = gatehouse.installed(camera.debian())
    with house.lent("camera") as root:
        _furnish(root)
        _delivers(report, root)
        with _showing(root, "resident_bare") as box:
            _starts(report, box)
            with report.check("a resident before the camera is admitted"):
                logged(box, '"granted":true', '"Obama"')
            _fails(report, box)
        with _showing(root, "stranger_bare") as box, report.check("a stranger before the camera is refused"):
            before = len(_log(box))
            box.run("systemctl", "start", "maskgate", limit_s=120)
            until("a refusal", lambda: _told(box, before, granted=False) or None, limit_s=60, every_s=0.5)
            assert not _told(box, before, granted=True)
        _comes_late(report, root)


def _log(box: Box) -> list[str]:
    """Return the log, a line of JSON each event."""
    return box.run("maskgate", "log", "--json").splitlines()


def _told(box: Box, before: int, *, granted: bool) -> bool:
    """Tell whether there is such a decision in the log, after so many events."""
    return any(json.loads(line).get("granted") is granted for line in _log(box)[before:])


def _furnish(root: Path) -> None:
    gatehouse.furnish(root, "picamera2", MORE)
    text = (root / "etc/maskgate/maskgate.toml").read_text()
    small = 'source = "picamera2"\nsize = [640, 480]\nlores = [320, 240]\n'
    (root / "etc/maskgate/maskgate.toml").write_text(text.replace('source = "picamera2"\n', small))
    (root / "etc/systemd/system/multi-user.target.wants/maskgate.service").unlink()


def _delivers(report: Report, root: Path) -> None:
    """What Picamera2 negotiates and delivers, before there is a gate."""
    camera.show(root, "resident_bare")
    with report.check("Picamera2 delivers both streams, the one in the other's picture", vital=True):
        (root / "root/frames.py").write_text(FRAMES)
        ready = (
            "mkdir -p /run/rig-camera && touch /run/rig-camera/taken && exec /opt/maskgate/bin/python /root/frames.py"
        )
        said = tried(root, "sh", "-c", ready, limit_s=120)
        lines = [line for line in said.stdout.splitlines() if line.startswith("{")]
        if said.returncode or not lines:
            raise Failed(said.stdout)
        found = json.loads(lines[-1])
        report.say(f"asked for YUV420, given {found['form']} with a stride of {found['stride']}")
        assert found["form"] == "NV12", found
        assert found["sizes"] == [[640, 480], [320, 240]], found
        assert found["apart"] < 8, found
        assert found["colourful"] > 3, found


FRAMES = """
import json
import numpy as np
from maskgate import config
from maskgate.camera import open_camera
settings = config.load(config.DEFAULT_PATH).camera
with open_camera(settings) as camera:
    frames = camera.frames()
    frame = [next(frames) for _ in range(20)][-1]
    form = camera._config["main"]
main, lores = frame.main, frame.lores
small = main.luma()[: lores.size[1] * 2, : lores.size[0] * 2].astype(float)
small = small.reshape(lores.size[1], 2, lores.size[0], 2).mean((1, 3))
rgb = main.sample(np.array([[1.0, 0, 0], [0, 1.0, 0]]), main.size).astype(float)
print(json.dumps({
    "form": str(form["format"]), "stride": form["stride"],
    "sizes": [main.size, lores.size],
    "apart": float(abs(small - lores.luma()).mean()),
    "colourful": float(np.ptp(rgb, axis=2).mean()),
}))
"""
"""Mean difference between the small picture and the large one made small, steps; how far colours are from grey."""


@contextmanager
def _showing(root: Path, visit: str) -> Iterator[Box]:
    """Boot with a visit before the camera."""
    camera.show(root, visit)
    with booted(root) as box:
        yield box


def _starts(report: Report, box: Box) -> None:
    with report.check("under systemd, in its sandbox, the gate opens the camera and is ready"):
        box.run("systemctl", "start", "maskgate", limit_s=120)
        said = box.run("journalctl", "-u", "maskgate", "-o", "cat", "--no-pager")
        assert "camera: main" in said, said
    with report.check("what another process tries to take, it is told is in use"):
        said = box.tried("/opt/maskgate/bin/python", "-c", TAKE)
        assert "is another program using it?" in said.stdout, said.stdout
    with report.check("doctor tells the camera in use, with the format it negotiated"):
        lines = box.tried("maskgate", "doctor", "--json").stdout.splitlines()
        found = [json.loads(line) for line in lines if '"camera"' in line]
        assert found, lines
        assert found[0]["verdict"] == "pass", found
        assert "NV12" in found[0]["said"], found


TAKE = """
from maskgate import config
from maskgate.camera import open_camera
from maskgate.values import CameraError
try:
    with open_camera(config.load(config.DEFAULT_PATH).camera) as camera:
        print("had it")
except CameraError as error:
    print(error)
"""


def _fails(report: Report, box: Box) -> None:
    """A cable pulled, and put back."""
    with report.check("a camera that stops delivering is noticed, recorded and said"):
        box.run("touch", "/run/rig-camera/pulled")
        logged(box, '"camera_failed"', limit_s=STALL_S + 30)
        assert "camera" in box.property("StatusText"), box.property("StatusText")
        assert "camera_failed" in box.run("maskgate", "status")
    with report.check("put back, it is opened anew without a restart of the service"):
        before = box.property("NRestarts")
        box.run("rm", "/run/rig-camera/pulled")
        logged(box, '"camera_back"', limit_s=60)
        assert box.property("NRestarts") == before
    with report.check("stopped, it gives the camera back"):
        box.run("systemctl", "stop", "maskgate", limit_s=60)
        released(box.root, limit_s=10)
        assert not relay(box.root)
        said = box.tried("/opt/maskgate/bin/python", "-c", TAKE)
        assert "had it" in said.stdout, said.stdout


def _comes_late(report: Report, root: Path) -> None:
    camera.show(root, "resident_bare")
    camera.unplug(root)
    with booted(root) as box:
        with report.check("without a camera the gate does not say that it is ready, and says why"):
            box.run("systemctl", "start", "--no-block", "maskgate")

            def told() -> bool | None:
                return "no camera is attached" in box.property("StatusText") or None

            until("the reason in systemctl status", told, limit_s=60)
            assert box.property("ActiveState") == "activating"
        with report.check("a camera that appears late is taken into use"):
            camera.plug(root)
            # It may take a new process, which systemd starts after TimeoutStartSec=.
            until("ready", lambda: box.property("ActiveState") == "active" or None, limit_s=90 + 60, every_s=1)
            logged(box, '"granted":true', '"Obama"')
