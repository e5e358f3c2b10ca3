"""The unit as shipped: understood by systemd without a word, and exposed no more than 1.0 of 10."""

from __future__ import annotations

import re
import shutil

from rig.report import Failed, Report
from rig.roots import CHECKOUT, WORK
from rig.shell import outcome

NEEDS = ("systemd-analyze",)
UNIT = CHECKOUT / "systemd" / "maskgate.service"
MOST_EXPOSED = 1.0


def run(report: Report) -> None:
    """Verify the unit, judge its sandbox, and see both find what is wrong."""
    with report.check("systemd-analyze verify is silent"):
        said = _verified(UNIT.read_text())
        if said:
            raise Failed(said)
    with report.check("and is not when a directive is misspelt"):
        assert "PrivateNetwrk" in _verified(UNIT.read_text().replace("PrivateNetwork=", "PrivateNetwrk="))
    with report.check(f"systemd-analyze security is at most {MOST_EXPOSED}"):
        exposed, table = _exposure(UNIT.read_text())
        if exposed > MOST_EXPOSED:
            raise Failed(table)
        report.say(f"exposure {exposed} of 10")
    with report.check("and is more when the network is let in"):
        assert _exposure(UNIT.read_text().replace("PrivateNetwork=yes\nIPAddressDeny=any", ""))[0] > MOST_EXPOSED


def _verified(text: str) -> str:
    """Return what systemd says of a unit, which exits with 0 even on words that it does not know."""
    unit = WORK / "maskgate.service"
    # Nothing is installed here: the command is another one that exists.
    unit.write_text(text.replace("/opt/maskgate/bin/maskgate", shutil.which("true") or "/bin/true"))
    done = outcome("systemd-analyze", "verify", "--man=no", unit)
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
