"""The shipped networks on an emulated Pi 3B, with the wheels that pip takes there: they say what x86-64 says."""

from __future__ import annotations

import itertools
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
RUNTIMES = {"trixie": "ai-edge-litert", "bookworm": "tflite-runtime"}
PHOTOS = ("Obama/speech.jpg", "Noah/enrol.jpg", "Collins/portrait.jpg")
TOLERANCES = {"box": 0.5, "landmarks": 0.5, "score": 0.01, "masked": 0.02, "live": 0.02, "noise": 0.02, "scores": 0.02}
"""By how much a number may differ; boxes and landmarks in pixels, the others 0 to 1; `noise`: probabilities
told of a picture of noise; `scores`: of each two photos."""
COSINE = 0.995
"""How alike embeddings must be: the int8 kernels of two processors round differently, layer after layer. What the gate
decides by is a score, 0.4 or so for one person's two photos."""
OUTPUTS_S = 900


def run(report: Report) -> None:
    """Compare each emulated Pi with this machine, the same runtime on the same Python."""
    for suite, runtime in RUNTIMES.items():
        python, here = card.PYTHON[suite], _here(suite)
        with report.check(f"{runtime} on {python}, aarch64: every shipped network runs, by the gate's own code"):
            there = _on_a_pi(suite)
            assert (here["machine"], there["machine"]) == ("x86_64", "aarch64"), (here["machine"], there["machine"])
            for told in (here, there):
                assert told["python"].startswith(f"{python}."), told["python"]
                assert told["runtime"].startswith(runtime), told["runtime"]
            report.say(f"{there['runtime']} on Python {there['python']}; on x86-64 {here['runtime']}, {here['python']}")
        with report.check(f"{runtime} on {python}, aarch64: outputs are x86-64's, within the tolerances"):
            _compare(report, here, there)


def _here(suite: str) -> dict[str, Any]:
    with gatehouse.installed(roots.debian(suite)).lent(f"x86-64-{suite}") as root:
        photos = _photos(root)
        shutil.copy(HERE / "pi/outputs.py", root)
        words = ("/opt/maskgate/bin/python", "/outputs.py", RUNTIMES[suite], *photos)
        return _told(inside(root, *words, limit_s=180))


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
        (root / "runtime").write_text(RUNTIMES[suite])
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
    least = {"photos": 1.0, "noise": 1.0}
    for photo, expected in here["photos"].items():
        found = there["photos"][photo]
        for name in expected.keys() & TOLERANCES.keys():
            most[name] = max(most[name], _apart(expected[name], found[name]))
        least["photos"] = min(least["photos"], _cosine(expected["probe"], found["probe"]))
    for one, other in itertools.combinations(here["photos"], 2):
        scores = [_cosine(said["photos"][one]["probe"], said["photos"][other]["probe"]) for said in (here, there)]
        most["scores"] = max(most["scores"], _apart(*scores))
    for name, outputs in here["noise"].items():
        for a, b in zip(outputs, there["noise"][name], strict=True):
            if len(a) > 1:
                least["noise"] = min(least["noise"], _cosine(a, b))
            else:
                most["noise"] = max(most["noise"], _apart(a, b))
    worst = ", ".join(f"{name} {value:.4f}" for name, value in most.items())
    report.say(f"differ at most by {worst}; embeddings alike to {least['photos']:.5f}, of noise {least['noise']:.5f}")
    if least["photos"] < COSINE or any(most[name] > bound for name, bound in TOLERANCES.items()):
        raise Failed(f"allowed: {TOLERANCES}, {COSINE}; seen: {worst}; {least}")


def _apart(a: Any, b: Any) -> float:
    left, right = (value if isinstance(value, list) else [value] for value in (a, b))
    return max(abs(x - y) for x, y in zip(left, right, strict=True))


def _cosine(a: list[float], b: list[float]) -> float:
    def length(vector: list[float]) -> float:
        return sum(x * x for x in vector) ** 0.5

    return float(sum(x * y for x, y in zip(a, b, strict=True)) / (length(a) * length(b)))
