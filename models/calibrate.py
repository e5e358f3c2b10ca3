"""Measure the embedder's impostor and genuine scores and write them into models.toml, where thresholds come from.

    PYTHONPATH=daemon python models/prepare.py OUT/tight FACES/tight         (crops, portraits and aligned112 alike)
    python models/teach.py SFACE.tflite OUT/tight ...
    PYTHONPATH=daemon python models/prepare.py OUT/lfw LFW/images --variants 1 --renderer masks_test
    PYTHONPATH=daemon python models/calibrate.py OUT/tight OUT/crops --lfw OUT/lfw --pairs LFW/pairs.txt [--sheet DIR]

Impostors: every two photos of different people *of one folder* that train.py held back, bare against bare and bare
against masked (mask drawn, found and aligned afresh). What comes through one camera is nearer to one another than
photos of two sets, and at a gate all of it does. Most photos have no names and some show one person twice, so photos
are first joined into people: same folder in `aligned112`, or a teacher's score above SAME, or both joined to a third.
No pair within one person counts. The same is counted on the photos that were trained on, and printed, to see whether
they differ. A pair of one person's photos below SAME stays in and raises the thresholds: an error on the safe side. A
pair of two people above SAME would be lost, an error on the other side: so no rate is listed whose score comes within
ROOM of SAME, nor one with fewer than FEWEST pairs beyond its score. `--sheet` draws pairs by score, for the eye to
judge SAME.
Genuine: LFW's official same-person pairs, which nothing here was tuned on; bare, and with a mask drawn on the second
photo, then on the first, by another renderer. Photos in which no face was found are left out.
"""

from __future__ import annotations

import argparse
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from crops import Crops, cut, read, wide
from maskgate.cohort import Cohort
from maskgate.faces import Faces, load

HERE = Path(__file__).parent
SAME = 0.55
"""Bare score by the teacher that only one person's photos reach: by eye, see MODEL_CARD.md."""
ROOM = 0.02
"""How far below SAME a listed score stays."""
PER_PERSON = 20
"""Photos taken of each person with a name."""
RATES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Rates to list, and the strictest that there is."""
FEWEST = 10
"""Pairs of photos without which nothing is said of a rate: as many of the joined ones might be two people alike."""
BINS = 40_000
TOLD_BARE = 0.995
"""Share of the bare faces held back that are to be told bare."""

Vectors = NDArray[np.float32]


def embedded(faces: Faces, crops: NDArray[np.uint8], kept: Path, *, closely: bool = False) -> Vectors:
    """Embeddings of (n, 128, 128, 3) crops as the gate makes them of probes, or `closely` of templates; kept in a file
    that names the embedder, and for probes the odds by which it looks twice."""
    how = ".thrice" if closely else f".{faces.mask_odds:.1f}"
    path = kept.with_name(f"{kept.name}{how}.{faces.embedder[:8]}.npy")
    if not path.exists():
        seen = [faces.recognise(cut(crop), partial(wide, crop), closely=closely)[0] for crop in tqdm(crops, kept.name)]
        np.save(path, np.stack(seen))
    vectors: Vectors = np.load(path)
    return vectors


def chosen(crops: Crops, *, held: bool) -> NDArray[np.int_]:
    """Photos that count, held back or not, and at most PER_PERSON of a named person."""
    taken: Counter[int] = Counter()
    kept = []
    for i in np.nonzero(crops.counts & (crops.held == held))[0]:
        taken[crops.person[i]] += 1
        if crops.person[i] < 0 or taken[crops.person[i]] <= PER_PERSON:
            kept.append(i)
    return np.array(kept, int)


def numbered(crops: Crops, kept: NDArray[np.int_], folder: int) -> NDArray[np.int_]:
    """Whose each of the kept photos is, no two folders' people alike; -1 where the folder has no names."""
    return np.where(crops.person[kept] >= 0, crops.person[kept] + 1000 * folder, -1)


def people(person: NDArray[np.int_], teacher: Vectors) -> NDArray[np.int_]:
    """A number of a person for each photo, joined transitively by name (`person` of 0 and above) and by score."""
    named = (person[:, None] == person[None, :]) & (person[:, None] >= 0)
    joined = csr_matrix(named | (teacher @ teacher.T > SAME))
    return np.asarray(connected_components(joined, directed=False)[1])


def histogram(
    cohort: Cohort,
    probes: Vectors,
    owners: NDArray[np.int_],
    templates: Vectors,
    who: NDArray[np.int_],
    *,
    once: bool,
) -> NDArray[np.int_]:
    """Counts of scores between different people of one folder over BINS bins of -1 to 1.

    `owners` are the probes' people and folders, (n, 2), `who` the templates'. `once` skips the templates up to the
    probe's own place, for probes and templates that are the same photos.
    """
    other = (who[:, None, 0] != owners[None, :, 0]) & (who[:, None, 1] == owners[None, :, 1])
    if once:
        other = np.tril(other, -1)
    scores = cohort.scores(templates, probes)[other]
    return np.bincount(((scores + 1) / 2 * BINS).astype(int).clip(0, BINS - 1), minlength=BINS)


def curve(counts: NDArray[np.int_], orders: int) -> list[tuple[float, float]]:
    """(rate, score) for each of RATES that enough pairs support, and the strictest score with what it promises.

    That is where FEWEST comparisons are left. It promises no less than FEWEST pairs would make that are not among those
    counted, each in so many `orders`. Scores are on the safe side of their bins.
    """
    above = counts[::-1].cumsum()[::-1]
    least = FEWEST * orders / counts.sum()

    def asked(rate: float) -> float:
        return int(np.argmax(above <= rate * counts.sum())) * 2 / BINS - 1

    found = [(rate, asked(rate)) for rate in RATES if rate >= least]
    found = [(rate, score) for rate, score in found if score <= SAME - ROOM]
    last = min(asked(FEWEST / counts.sum()), SAME - ROOM)
    strictest = math.ceil(max(beyond(counts, last), least) * 1e7) / 1e7
    return [*found, (strictest, last)] if strictest < found[-1][0] else found


def genuine(names: NDArray[np.str_], pairs: Path) -> list[tuple[int, int]]:
    """Index pairs of LFW's same-person pairs whose faces were both found."""
    where = {Path(name).stem: i for i, name in enumerate(names)}
    lines = [line.split() for line in pairs.read_text(encoding="utf-8").splitlines()[1:]]
    keys = [(f"{p[0]}_{int(p[1]):04d}", f"{p[0]}_{int(p[2]):04d}") for p in lines if len(p) == 3]
    return [(where[a], where[b]) for a, b in keys if a in where and b in where]


def short(rate: float) -> str:
    """A rate to two digits, as 6.6e-6 or 1e-5."""
    return f"{rate:.1e}".replace(".0e", "e").replace("e-0", "e-")


def table(cover: str, points: list[tuple[float, float]], own: Vectors, pairs: int, persons: int) -> str:
    """One [embedder.calibration.*] table."""
    score = [round(s, 4) for _, s in points]
    fnmr = [round(float((own < s).mean()), 4) for s in score]
    rates = ", ".join(short(rate) for rate, _ in points)
    return (
        f"[embedder.calibration.{cover}]\nfmr = [{rates}]\nscore = {score}\nfnmr = {fnmr}\n"
        f"pairs = {pairs}\npeople = {persons}\ngenuine = {len(own)}\n"
    )


def sheet(out: Path, crops: NDArray[np.uint8], teacher: Vectors, person: NDArray[np.int_]) -> None:
    """Draw pairs in bands of the teacher's score, 24 a band, for the eye to tell where two people begin."""
    upper = np.triu(teacher @ teacher.T, 1)
    upper[(person[:, None] >= 0) & (person[None, :] >= 0)] = 0
    out.mkdir(parents=True, exist_ok=True)
    for low in (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70):
        first, second = np.nonzero((upper >= low) & (upper < low + 0.05))
        print(f"pairs of the teacher's score {low:.2f} to {low + 0.05:.2f}: {len(first)}")
        picked = np.random.default_rng(0).permutation(len(first))[:24]
        tiles = [np.hstack([crops[first[k]], crops[second[k]]]) for k in picked] or [np.zeros((112, 224, 3), np.uint8)]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 6)
        rows = [np.hstack(tiles[i : i + 6]) for i in range(0, len(tiles), 6)]
        Image.fromarray(np.vstack(rows)).save(out / f"pairs_{low:.2f}.png")


@dataclass(frozen=True, slots=True, eq=False)
class Strangers:
    """Photos to compare with one another."""

    enrolled: Vectors
    bare: Vectors
    masked: Vectors
    masked_enrolled: Vectors
    who: NDArray[np.int_]
    """(n, 2) person and folder of each bare vector."""
    masked_who: NDArray[np.int_]


def strangers(faces: Faces, folders: list[Path], keep: Path, out: Path | None, *, held: bool) -> Strangers:
    """Embed the photos of the folders that train.py held back, or those it learnt from."""
    parts = []
    for number, folder in enumerate(folders):
        crops = read(folder)
        kept = chosen(crops, held=held)
        person, source = numbered(crops, kept, number), np.full(len(kept), number)
        parts.append((crops.bare[kept], crops.worn[kept, 0], crops.found[kept, 0], crops.teacher[kept], person, source))
    bare, worn, found, teacher, person, source = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    who = np.column_stack([people(person, teacher), source])
    print(f"{'held back' if held else 'learnt from'}: {len(bare)} photos, {len(set(who[:, 0]))} people")
    if out:
        sheet(out, cut(bare), teacher, person)
    name = f"{'held' if held else 'learnt'}{len(bare)}"
    covered, masked = (
        embedded(faces, worn[found], keep / f"{name}.worn", closely=closely) for closely in (True, False)
    )
    enrolled, plain = (embedded(faces, bare, keep / f"{name}.bare", closely=closely) for closely in (True, False))
    return Strangers(enrolled, plain, masked, covered, who, who[found])


def impostors(cohort: Cohort, one: Strangers) -> dict[str, NDArray[np.int_]]:
    """Histograms of scores between different people, by cover."""
    return {
        "bare": histogram(cohort, one.bare, one.who, one.enrolled, one.who, once=True),
        "masked": histogram(cohort, one.masked, one.masked_who, one.enrolled, one.who, once=False),
        "both": histogram(cohort, one.masked, one.masked_who, one.masked_enrolled, one.masked_who, once=True),
    }


def residents(faces: Faces, lfw: Path, pairs: Path, keep: Path) -> dict[str, Vectors]:
    """Scores of LFW's same-person pairs, by cover."""
    crops = read(lfw)
    first, second = (np.array(side) for side in zip(*genuine(crops.names, pairs), strict=True))
    needed, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    first, second = place[: len(first)], place[len(first) :]
    plain, enrolled = (
        embedded(faces, crops.bare[needed], keep / "lfw.bare", closely=closely) for closely in (False, True)
    )
    worn, covered = (
        embedded(faces, crops.worn[needed, 0], keep / "lfw.worn", closely=closely) for closely in (False, True)
    )
    found = crops.found[needed, 0]
    one = [paired(faces.cohort, enrolled[a], worn[b])[found[b]] for a, b in ((first, second), (second, first))]
    both = paired(faces.cohort, covered[first], worn[second])[found[first] & found[second]]
    bare = paired(faces.cohort, enrolled[first], plain[second])
    return {"bare": bare, "masked": np.concatenate(one), "both": both}


def paired(cohort: Cohort, templates: Vectors, probes: Vectors) -> Vectors:
    """The (n,) scores of each of (n, d) templates with the probe of the same place."""
    return np.asarray((templates * probes).sum(axis=1) - cohort.excess(templates) - cohort.excess(probes))


def mask_odds(faces: Faces, folders: list[Path]) -> float:
    """What the odds of a mask are to be multiplied by, so that TOLD_BARE of the bare faces held back are told bare."""
    parts = (read(folder) for folder in folders)
    crops = np.concatenate([cut(one.bare[one.counts & one.held]) for one in parts])
    told = np.sort([faces.network.run(crop)[1][0] for crop in tqdm(crops, "masks")])
    # The network tells steps of 1/256: halfway to the next one.
    limit = float(told[int(len(told) * TOLD_BARE)]) + 0.5 / 256
    odds = round((1 - limit) / limit, 1)
    print(f"mask_odds = {odds}, of {len(told)} bare faces held back")
    return odds


def beyond(counts: NDArray[np.int_], score: float) -> float:
    """Share of the pairs at `score` or above."""
    return float(counts[int((score + 1) / 2 * BINS) :].sum() / counts.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="+", help="folders of prepare.py")
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--keep", type=Path, default=Path("embeddings"), help="folder for embeddings already made")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    wanted = parser.parse_args()
    wanted.keep.mkdir(parents=True, exist_ok=True)
    faces = load(wanted.models, threads=1)
    faces = replace(faces, mask_odds=mask_odds(faces, wanted.faces))
    ours = strangers(faces, wanted.faces, wanted.keep, wanted.sheet, held=True)
    counts, persons = impostors(faces.cohort, ours), len(set(ours.who[:, 0]))
    own = residents(faces, wanted.lfw, wanted.pairs, wanted.keep)
    # Masked against bare, both orders of a pair are counted.
    curves = {cover: curve(counts[cover], 1 + (cover == "masked")) for cover in counts}
    text = "\n".join(table(cover, curves[cover], own[cover], int(counts[cover].sum()), persons) for cover in counts)
    print(text)
    seen = impostors(faces.cohort, strangers(faces, wanted.faces, wanted.keep, None, held=False))
    for cover, points in curves.items():
        rates = ", ".join(f"{short(rate)}: {beyond(seen[cover], score):.1e}" for rate, score in points)
        print(f"{cover}: the same scores on photos learnt from: {rates}")
    if not wanted.dry_run:
        file = wanted.models / "models.toml"
        before = re.split(r"(?m)^\[embedder\.calibration\.bare\]$", file.read_text(encoding="utf-8"))[0]
        before = re.sub(r"(?m)^mask_odds = .*$", f"mask_odds = {faces.mask_odds}", before)
        file.write_text(before + text, encoding="utf-8")


if __name__ == "__main__":
    main()
