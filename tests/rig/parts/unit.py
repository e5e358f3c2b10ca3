"""The units as shipped: understood by systemd without a word, the gate exposed no more than 1.0 of 10."""

from __future__ import annotations

import re
import shutil

from rig.report import Failed, Report
from rig.roots import CHECKOUT, WORK
from rig.shell import outcome

NEEDS = ("systemd-analyze",)
UNITS = CHECKOUT / "systemd"
GATE = (UNITS / "maskgate.service").read_text()
MOST_EXPOSED = {"maskgate.service": 1.0, "maskgate-hooks.service": 1.5}
"""A network is what hooks are for, and the half that they have more."""


def run(report: Report) -> None:
    """Verify the units, judge their sandboxes, and see both find what is wrong."""
    with report.check("systemd-analyze verify is silent"):
        said = _verified(GATE)
        if said:
            raise Failed(said)
    with report.check("and is not when a directive is misspelt"):
        assert "PrivateNetwrk" in _verified(GATE.replace("PrivateNetwork=", "PrivateNetwrk="))
    for name, most in MOST_EXPOSED.items():
        with report.check(f"systemd-analyze security of {name} is at most {most}"):
            exposed, table = _exposure((UNITS / name).read_text())
            report.say(f"{name}: exposure {exposed} of 10")
            if exposed > most:
                raise Failed(table)
    with report.check("and is more when the network is let in"):
        assert (
            _exposure(GATE.replace("PrivateNetwork=yes\nIPAddressDeny=any", ""))[0] > MOST_EXPOSED["maskgate.service"]
        )


def _verified(gate: str) -> str:
    """Return what systemd says of the units, the gate's in these words; it exits with 0 whatever it finds."""
    folder = WORK / "units"
    folder.mkdir(exist_ok=True)
    for path in UNITS.glob("*.s[eo]*"):
        text = gate if path.name == "maskgate.service" else path.read_text()
        # Nothing is installed here: the command is another one that exists.
        (folder / path.name).write_text(text.replace("/opt/maskgate/bin/maskgate", shutil.which("true") or "/bin/true"))
    done = outcome("systemd-analyze", "verify", "--man=no", *folder.iterdir())
    # What is wrong with units of this machine is not the gate's.
    lines = [line for line in done.stdout.splitlines() if "maskgate" in line]
    return "\n".join(lines) or (done.stdout if done.returncode else "")


def _exposure(text: str) -> tuple[float, str]:
    """Return the exposure, 0 to 10, and the table that it is counted from."""
    unit = WORK / "maskgate.service"
    unit.write_text(text)
    said = outcome("systemd-analyze", "--no-pager", "security", "--offline=true", unit).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    if not found:
        raise Failed(said)
    bad = [line for line in said.splitlines() if line.startswith("✗")]
    return float(found[1]), "\n".join([*bad, found[0]])
