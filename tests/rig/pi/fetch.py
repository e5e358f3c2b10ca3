"""Run by the gate's own Python in a root: have pip fetch, for a Pi, what `./install` would have it install there.

    fetch.py PYTHON FOLDER      e.g. fetch.py 3.13 /root/site

The requirements are setup.cfg's, their conditions judged for aarch64 and that Python; on 3.11 without `litert`, so that
tflite-runtime, which the package itself asks for, is what runs.
"""

import configparser
import subprocess
import sys

from pip._vendor.packaging.requirements import Requirement

GLIBC = ("manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 37)))
"""All that glibc 2.36 runs, which is bookworm's; pip takes a tag for itself alone."""


def needed(python: str) -> list[str]:
    """Return what pip is to fetch."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read("/checkout/setup.cfg")
    texts = [setup["options"]["install_requires"], setup["options.extras_require"]["pins"]]
    there = {"python_version": python, "platform_machine": "aarch64"}
    lines = [line for text in texts for line in text.splitlines() if line and not line.startswith("#")]
    wanted = [need for need in map(Requirement, lines) if need.marker is None or need.marker.evaluate(there)]
    return [f"{need.name}{need.specifier}" for need in wanted]


def main(python: str, folder: str) -> None:
    """Fetch the wheels, then the package itself."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--target", folder]
    foreign = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    foreign += [word for tag in GLIBC for word in ("--platform", tag)]
    subprocess.run([*pip, *foreign, *needed(python)], check=True)
    subprocess.run(["cp", "-r", "/checkout", "/tmp/checkout"], check=True)
    subprocess.run([*pip, "--no-deps", "/tmp/checkout"], check=True)


main(*sys.argv[1:])
