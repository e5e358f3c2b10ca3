"""Measure what a threshold of each camera's own would do: half of its living visits set it, the other half and all
attacks are held against it, then the halves change places.                                    (env of the product)

    PYTHONPATH=daemon:models python models/own_threshold.py SAID.json [--share 0.05]

SAID.json is ask_folds.py's or compare_minifasnet.py's, of lay_out_liveness.py's folder. A visit says the median of its
photos. The threshold is the answer below which SHARE of the first half's visits lie, bare and masked together, as
`maskgate tune` tells it of those who were let in. Both halves are of the same film, every other visit.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from maskgate import pad

Visit = tuple[str, bool, str, str]


def visits(said: dict) -> dict[Visit, list[float]]:
    """Answers by source, living or not, cover, and name of the visit: the same bare and masked."""
    found: dict[Visit, list[float]] = defaultdict(list)
    for file, one in said.items():
        source, side, cover, *within = Path(file).parts
        found[source, side == "live", cover, within[0]].append(one["live"])
    return found


def held_against(found: dict[Visit, list[float]], source: str, share: float) -> list[tuple[bool, str, bool]]:
    """(living, cover, passed) of each visit of a source, attacks once for either half."""
    names = sorted({visit[3] for visit in found if visit[:2] == (source, True)})
    passed = []
    for half in (0, 1):
        first = set(names[half::2])
        ours = (told for visit, told in found.items() if visit[:2] == (source, True) and visit[3] in first)
        known = [pad.visit(told) for told in ours]
        limit = np.quantile(known, share)
        for (whose, lives, cover, name), told in found.items():
            if whose == source and not (lives and name in first):
                passed.append((lives, cover, bool(pad.visit(told) >= limit)))
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("said", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    wanted = parser.parse_args()
    found = visits(json.loads(wanted.said.read_text()))
    both = {v[0] for v in found if v[1]} & {v[0] for v in found if not v[1]}
    kinds: dict[tuple[str, str, bool], list[bool]] = defaultdict(list)
    for source in sorted(both):
        for lives, cover, passed in held_against(found, source, wanted.share):
            kinds[source if source in ("print", "mixed") else "screens", cover, lives].append(passed)
    for (kind, cover, lives), passed in sorted(kinds.items()):
        scores = np.array(passed, float)
        told = pad.refused(scores, 0.5) if lives else pad.passed(scores, 0.5)
        many = f"{told.n}" if lives else f"{told.n // 2} visits, twice"
        print(f"{kind}, {cover}: {'refused' if lives else 'let through'} {100 * told.value:.1f} % of {many}")


if __name__ == "__main__":
    main()
