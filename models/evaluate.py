"""Measure embedders as shipped: verification, search and mask-or-bare, with intervals, from one command.

    PYTHONPATH=daemon python models/prepare.py LFW_CROPS LFW/images --variants 1 --renderer masks_test
    PYTHONPATH=daemon python models/prepare.py WEB MASKED/web --variants 1         (STAFF from MASKED/staff alike)
    PYTHONPATH=daemon python models/evaluate.py LFW_CROPS LFW/pairs.txt WEB STAFF models/face_int8.tflite [MORE.tflite]

Every row but the last ones is about LFW: the 3,000 genuine official pairs, and as impostors *all* pairs of photos of
different people, which is what a false match rate of 1e-4 needs. The mask is drawn by masks_test.py, whose outlines and
fabrics are not those of training. Square brackets hold 95 % intervals: a bootstrap of 1,000 draws over people with the
thresholds held still; after the first model, of the paired difference to the first. Photos without a face are left out
and counted. Some people of LFW have two names, ONE_PERSON: their pairs are no impostors; twins and look-alikes are.
Every model is looked through as the gate does (`Faces.recognise`): at bare probes once, at masked ones twice, at what
is enrolled three times; scores are set right by the shipped network's cohort, which is fair to networks that embed as
it does: its own float, its teacher. The rows "usable" leave out what the gate would not look at by its default bounds,
above all turned heads, and say how much that is: what fails to be acquired is no false non-match (ISO/IEC 19795-1).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tomllib
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from tqdm import tqdm

from crops import cut, wide
from maskgate.cohort import Cohort
from maskgate.faces import load
from network import Net, mirrored, unit

HERE = Path(__file__).parent
RATES = (1e-2, 1e-3, 1e-4)
DRAWS = 1000
GALLERIES = 10
ONE_PERSON = (
    ("Chyung_Dai-chul", "Dai_Chul_Chyung"),
    ("Cristina_Fernandez", "Cristina_Kirchner"),
    ("Felipe_De_Borbon", "Prince_Felipe"),
    ("Hasan_Wirayuda", "Hassan_Wirajuda"),
    ("John_Barnett", "John_Burnett"),
    ("John_Gruden", "Jon_Gruden"),
    ("Joseph_Blatter", "Sepp_Blatter"),
    ("Mireya_Elisa_Moscoso_Rodriguez", "Mireya_Moscoso"),
    ("Nan_Wang", "Wang_Nan"),
    ("Odai_Hussein", "Uday_Hussein"),
    ("Diana_Taurasi", "Shavon_Earp"),
    ("Gabrielle_Rose", "Martha_Bowen"),
)
"""Names of LFW that stand for one person: ten by the names themselves, the last two because a photo of the one was
filed under the other. All are among the thirty nearest pairs of photos; each pair of photos was looked at."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What one model makes of some faces, (n, 128) each, as the gate looks at them (`Faces.recognise`)."""

    plain: np.ndarray
    """Once: bare probes."""
    twice: np.ndarray
    """And, mirrored, at a smaller size: masked probes."""
    thrice: np.ndarray
    """And mirrored at its own size, too: what is enrolled."""
    told: np.ndarray
    """(n,) probability of a mask; nan when the model does not say."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one model makes of LFW."""

    bare: Looks
    worn: Looks
    kinds: np.ndarray
    """Of the drawn masks."""
    usable: tuple[np.ndarray, np.ndarray]
    """Which photos the gate would look at, bare and masked."""


def embedded(model: Path, crops: np.ndarray, cache: Path) -> Looks:
    """Look at (n, 128, 128, 3) crops; kept on disk, since it takes minutes."""
    looks = " ".join(field.name for field in fields(Looks)).encode()
    some = crops[:: max(len(crops) // 50, 1)].tobytes()
    key = hashlib.sha256(looks + model.read_bytes() + some).hexdigest()[:20]
    kept = cache / f"{key}.npz"
    if not kept.exists():
        net = Net(model)
        rows = [looked(net, crop) for crop in tqdm(crops, model.name, mininterval=10)]
        plain, twice, thrice, told = (np.array(kind, np.float32) for kind in zip(*rows, strict=True))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(kept, plain=plain, twice=twice, thrice=thrice, told=told)
    with np.load(kept) as file:
        return Looks(*(file[field.name] for field in fields(Looks)))


def looked(net: Net, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A row of `Looks`."""
    face, smaller = cut(crop), wide(crop)
    plain, told = net.seen(face)
    small = net.embedding(mirrored(smaller))
    return plain, unit(plain + small), unit(plain + small + net.embedding(mirrored(face))), told


def threshold(scores: np.ndarray, rate: float) -> float:
    """The score that a share `rate` of the impostors reaches."""
    at = max(int(len(scores) * rate), 1)
    return float(np.partition(scores, len(scores) - at)[len(scores) - at])


def interval(right: np.ndarray, people: np.ndarray, rng: np.random.Generator) -> str:
    """95 % interval, in per cent, of the mean of `right` by drawing people with replacement."""
    _, who = np.unique(people, return_inverse=True)
    total, count = np.bincount(who, right), np.bincount(who)
    drawn = rng.integers(len(count), size=(DRAWS, len(count)))
    low, high = np.percentile(total[drawn].sum(1) / count[drawn].sum(1) * 100, (2.5, 97.5))
    return f"[{low:.1f}, {high:.1f}]"


class Report:
    """Prints rows, and remembers the first model's outcomes to compare the others with, pair by pair."""

    def __init__(self) -> None:
        self.first: dict[str, np.ndarray] = {}

    def row(self, name: str, right: np.ndarray, people: np.ndarray) -> None:
        """One share of successes with its interval and, from the second model on, its difference to the first."""
        right = right.astype(np.float64)
        rng = np.random.default_rng(0)
        line = f"  {name}: {right.mean() * 100:.2f} % {interval(right, people, rng)} n={len(right)}"
        if name in self.first:
            worse = self.first[name] - right
            line += f"; first less this {worse.mean() * 100:+.2f} {interval(worse, people, rng)}"
        self.first.setdefault(name, right)
        print(line, flush=True)


def under_two_names(names: np.ndarray) -> np.ndarray:
    """(n, n) which photos, by the names they are filed under, show one person of ONE_PERSON under two names."""
    first = {later: earlier for earlier, later in ONE_PERSON}
    person = np.array([first.get(name, name) for name in names])
    return (person[:, None] == person[None, :]) & (names[:, None] != names[None, :])


def pairs(file: Path, number: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) numbers of photos and whether they show one person, of the pairs whose faces were found; fold last."""
    found = []
    for i, line in enumerate(file.read_text().splitlines()[1:]):
        words = line.split()
        left, right = (words[0], words[1]), (words[0] if len(words) == 3 else words[2], words[-1])
        names = [f"{name}_{int(n):04d}" for name, n in (left, right)]
        if all(name in number for name in names):
            found.append((number[names[0]], number[names[1]], len(words) == 3, i // 600))
    array = np.array(found)
    return array[:, :2], array[:, 2:]


def accuracy(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Which pairs are told right with the threshold that was best on the other nine folds."""
    right = np.zeros(len(scores), bool)
    for f in range(10):
        others = np.sort(scores[fold != f])[::5]
        best = max(others, key=lambda t: float(((scores[fold != f] >= t) == same[fold != f]).mean()))
        right[fold == f] = (scores[fold == f] >= best) == same[fold == f]
    return right


def verification(
    report: Report, seen: Seen, cohort: Cohort, at: np.ndarray, kind: np.ndarray, who: np.ndarray, other: np.ndarray
) -> None:
    """Rows of accuracy and of true matches at fixed false match rates, for the three pairs of covers."""
    same = kind[:, 0] == 1
    genuine = at[same]
    bare, worn = seen.usable
    for name, left, right, sides in (
        ("bare, bare", seen.bare.thrice, seen.bare.plain, (bare, bare)),
        ("bare, masked", seen.bare.thrice, seen.worn.twice, (bare, worn)),
        ("masked, masked", seen.worn.thrice, seen.worn.twice, (worn, worn)),
    ):
        every = cohort.scores(left, right)
        scores = every[at[:, 0], at[:, 1]]
        report.row(f"{name}: accuracy", accuracy(scores, same, kind[:, 1]), who[at[:, 0]])
        impostor = every[other]
        for rate in RATES:
            limit = threshold(impostor, rate)
            report.row(f"{name}: TAR at FAR {rate:.0e}", scores[same] >= limit, who[genuine[:, 0]])
        if name == "bare, masked":
            for drawn in np.unique(seen.kinds):
                mine = seen.kinds[genuine[:, 1]] == drawn
                report.row(
                    f"{name}: TAR at FAR {rate:.0e}, {drawn}", scores[same][mine] >= limit, who[genuine[mine, 0]]
                )
        good = sides[0][genuine[:, 0]] & sides[1][genuine[:, 1]]
        strangers = every[np.ix_(*sides)][other[np.ix_(*sides)]]
        for rate in RATES[1:]:
            limit = threshold(strangers, rate)
            report.row(f"{name}: usable: TAR at FAR {rate:.0e}", scores[same][good] >= limit, who[genuine[good, 0]])
        if name == "bare, bare":
            policy = threshold(impostor, 1e-3)
        print(f"  {name}: FMR at bare-bare's 1e-3 score {policy:.3f}: {(impostor >= policy).mean():.2e}", flush=True)


def search(report: Report, every: np.ndarray, who: np.ndarray, size: int, cover: str, twice: np.ndarray) -> None:
    """Rows of misses in an open-set search: one bare photo enrolled each, one probe each, GALLERIES galleries.

    `every` is (n, n), the score of each photo enrolled with each as a probe; `twice` tells who is one person after all.
    """
    people, count = np.unique(who, return_counts=True)
    several = people[count > 1]
    missed: dict[float, list[np.ndarray]] = {1e-2: [], 1e-3: []}
    mated: list[np.ndarray] = []
    for draw in range(GALLERIES):
        rng = np.random.default_rng(draw)
        enrolled = rng.permutation(several)[:size]
        photos = [rng.permutation(np.nonzero(who == person)[0])[:2] for person in enrolled]
        gallery, own = (np.array([p[i] for p in photos]) for i in (0, 1))
        strangers = np.nonzero(~np.isin(who, enrolled))[0]
        scores = every[np.ix_(gallery, strangers)].T
        scores[twice[np.ix_(strangers, gallery)]] = -1
        best = scores.max(1)
        hit = every[np.ix_(gallery, own)].T
        rank1 = hit.argmax(1) == np.arange(size)
        for rate in missed:
            missed[rate].append(~(rank1 & (hit[np.arange(size), np.arange(size)] >= threshold(best, rate))))
        mated.append(enrolled)
    for rate, each in missed.items():
        report.row(f"{cover} probe, N={size}: FNIR at FPIR {rate:.1%}", np.concatenate(each), np.concatenate(mated))


def really_worn(folder: Path) -> list[dict]:
    """The photos of a folder of prepare.py's in which a face was found."""
    return list(json.loads((folder / "index.json").read_text()))


def faces(folder: Path, rows: list[dict]) -> np.ndarray:
    """Their crops."""
    return np.load(folder / "bare.npy", mmap_mode="r")[[row["at"] for row in rows]]


def classifier(
    report: Report, model: Path, seen: Seen, worn: list[Path], people: np.ndarray, cache: Path, odds: float
) -> None:
    """Rows of mask or bare, on what its training never saw; nothing for a model that does not tell."""
    if np.isnan(seen.bare.told).any():
        return
    web = [row for row in really_worn(worn[0]) if row["at"] % 10 == 0]
    staff = really_worn(worn[1])
    told_web, told_staff = (
        embedded(model, faces(folder, rows), cache).told for folder, rows in zip(worn, (web, staff), strict=True)
    )
    staff_of = np.array([Path(row["name"]).parent.name for row in staff])
    # As the gate weighs it: odds times mask_odds are even.
    even = 1 / (1 + odds)
    report.row("told bare: LFW", seen.bare.told < even, people)
    report.row("told masked: LFW, drawn", seen.worn.told >= even, people)
    report.row("told masked: web, tenth not trained on", told_web >= even, np.arange(len(told_web)))
    report.row("told masked: staff (3 people)", told_staff >= even, staff_of)
    real, bare = np.concatenate([told_web, told_staff]) >= even, seen.bare.told < even
    print(f"  balanced accuracy, really worn against LFW bare: {(real.mean() + bare.mean()) * 50:.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("web", type=Path)
    parser.add_argument("staff", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    shipped = tomllib.loads((HERE / "models.toml").read_text(encoding="utf-8"))["embedder"]["mask_odds"]
    parser.add_argument("--mask-odds", type=float, default=shipped, help="as models.toml says of the models measured")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/maskgate-embeddings"))
    wanted = parser.parse_args()
    rows = json.loads((wanted.crops / "index.json").read_text())
    found = [row for row in rows if row["kinds"][0] != "lost"]
    print(
        f"LFW: {len(rows)} photos with a face, {len(rows) - len(found)} of them lost under the drawn mask and left out"
    )
    at = np.array([row["at"] for row in found])
    bare = np.load(wanted.crops / "bare.npy", mmap_mode="r")[at]
    worn = np.load(wanted.crops / "worn.npy", mmap_mode="r")[at, 0]
    who = np.array([Path(row["name"]).parent.name for row in found])
    kinds = np.array([row["kinds"][0] for row in found])
    number = {Path(row["name"]).stem: i for i, row in enumerate(found)}
    chosen, kind = pairs(wanted.pairs, number)
    usable = tuple(np.array([not row["faults"][i] for row in found]) for i in (0, 1))
    for i, cover in enumerate(("bare", "masked")):
        told = Counter(fault for row in found for fault in row["faults"][i])
        faults = ", ".join(f"{fault} {n}" for fault, n in told.most_common())
        print(f"  {cover}: the gate would not look at {(~usable[i]).mean() * 100:.1f} % of the photos: {faults}")
    cohort = load(HERE, threads=1).cohort
    report, twice = Report(), under_two_names(who)
    other = np.triu((who[:, None] != who[None, :]) & ~twice, 1)
    print(f"  {int(twice.sum()) // 2} pairs of photos show one person under two names: no impostors")
    for model in wanted.models:
        print(f"{model.name} {hashlib.sha256(model.read_bytes()).hexdigest()[:16]}", flush=True)
        seen = Seen(*(embedded(model, crops, wanted.cache) for crops in (bare, worn)), kinds, usable)
        verification(report, seen, cohort, chosen, kind, who, other)
        probes = {"bare": seen.bare.plain, "masked": seen.worn.twice}
        every = {cover: cohort.scores(seen.bare.thrice, shown) for cover, shown in probes.items()}
        for size in (100, 1000):
            for cover in probes:
                search(report, every[cover], who, size, cover, twice)
        classifier(report, model, seen, [wanted.web, wanted.staff], who, wanted.cache, wanted.mask_odds)


if __name__ == "__main__":
    main()
