"""The shipped networks on an emulated Pi 3B, with the wheels that pip takes there: they say what x86-64 says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rig import gatehouse, roots
from rig.box import inside
from rig.pi import card, machine
from rig.report import Failed, Report
from rig.roots import HERE, WORK

NEEDS = ("git", "rsync", "mmdebstrap", "systemd-nspawn", "qemu-system-aarch64", "fdtput", "cpio")
RUNTIMES = {"trixie": ("3.13", "ai-edge-litert"), "bookworm": ("3.11", "tflite-runtime")}
PHOTOS = ("Obama/speech.jpg", "Noah/enrol.jpg", "Collins/portrait.jpg")
TOLERANCES = {"box": 0.5, "landmarks": 0.5, "score": 0.01, "masked": 0.02, "live": 0.02, "noise": 0.02}
"""By how much a number may differ; boxes and landmarks in pixels, the others 0 to 1; `noise`: probabilities
told of a picture of noise."""
COSINE = 0.998
"""How alike embeddings must be; of one person's two photos they are alike to 0.4 or so."""
OUTPUTS_S = 900


def run(report: Report) -> None:
    """Compare two emulated Pis with this machine."""
    with gatehouse.installed(roots.debian("trixie")).lent("x86-64") as root:
        photos = _photos(root)
        shutil.copy(HERE / "pi/outputs.py", root)
        here = _told(inside(root, "/opt/maskgate/bin/python", "/outputs.py", *photos, limit_s=180))
    for suite, (python, runtime) in RUNTIMES.items():
        with report.check(f"{runtime} on {python}, aarch64: every shipped network runs, by the gate's own code"):
            there = _on_a_pi(suite)
            assert there["machine"] == "aarch64", there["machine"]
            assert there["python"].startswith(f"{python}."), there["python"]
            assert there["runtime"].startswith(runtime), there["runtime"]
            report.say(
                f"{there['runtime']} on Python {there['python']}, against {here['runtime']} on {here['machine']}"
            )
        with report.check(f"{runtime} on {python}, aarch64: outputs are x86-64's, within the tolerances"):
            _compare(report, here, there)


def _photos(root: Path) -> list[str]:
    folder = root / "photos"
    folder.mkdir()
    for name in PHOTOS:
        shutil.copy(roots.checkout() / "tests/data/people" / name, folder / name.replace("/", "_"))
    return [f"/photos/{path.name}" for path in sorted(folder.iterdir())]


def _on_a_pi(suite: str) -> dict[str, Any]:
    archive = WORK / f"outputs-{suite}.cpio"
    with card.gate(suite).lent(f"outputs-{suite}") as root:
        _photos(root)
        shutil.copy(HERE / "pi/outputs.py", root)
        shutil.copy(HERE / "pi/outputs_init", root / "outputs-init")
        (root / "outputs-init").chmod(0o755)
        card.pack(root, archive)
    kernel = card.kernel()
    with machine.running(kernel, archive, init="/outputs-init") as pi:
        said = pi.wait_for(r"rig-end \d+", limit_s=OUTPUTS_S)
    archive.unlink()
    return _told(said)


def _told(said: str) -> dict[str, Any]:
    """Return the outputs in what a run said."""
    for line in said.replace("\r", "").splitlines():
        if line.startswith("rig-outputs "):
            told: dict[str, Any] = json.loads(line.removeprefix("rig-outputs "))
            return told
    raise Failed(said)


def _compare(report: Report, here: dict[str, Any], there: dict[str, Any]) -> None:
    """Hold the two against each other, and say how far apart they are at most."""
    most = dict.fromkeys(TOLERANCES, 0.0)
    least = 1.0
    for photo, expected in here["photos"].items():
        found = there["photos"][photo]
        for name in expected.keys() & TOLERANCES.keys():
            most[name] = max(most[name], _apart(expected[name], found[name]))
        least = min(least, _cosine(expected["probe"], found["probe"]))
    for name, outputs in here["noise"].items():
        for a, b in zip(outputs, there["noise"][name], strict=True):
            if len(a) > 1:
                least = min(least, _cosine(a, b))
            else:
                most["noise"] = max(most["noise"], _apart(a, b))
    worst = ", ".join(f"{name} {value:.4f}" for name, value in most.items())
    report.say(f"differ at most by {worst}; embeddings alike to {least:.5f}")
    if least < COSINE or any(most[name] > bound for name, bound in TOLERANCES.items()):
        raise Failed(f"allowed: {TOLERANCES}, {COSINE}; seen: {worst}; {least:.5f}")


def _apart(a: Any, b: Any) -> float:
    left, right = (value if isinstance(value, list) else [value] for value in (a, b))
    return max(abs(x - y) for x, y in zip(left, right, strict=True))


def _cosine(a: list[float], b: list[float]) -> float:
    def length(vector: list[float]) -> float:
        return sum(x * x for x in vector) ** 0.5

    return float(sum(x * y for x, y in zip(a, b, strict=True)) / (length(a) * length(b)))
