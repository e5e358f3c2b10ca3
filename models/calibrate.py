"""Measure the embedder's impostor and genuine scores and write them into models.toml, where thresholds come from.

    PYTHONPATH=daemon python models/render.py OUT/tight FACES/tight --variants 3     (crops and aligned112 alike)
    PYTHONPATH=daemon python models/render.py OUT/lfw LFW/images --variants 1 --renderer masks_test
    PYTHONPATH=daemon python models/calibrate.py OUT/tight OUT/crops --lfw OUT/lfw --pairs LFW/pairs.txt [--sheet DIR]

Impostors: every two photos of different people, bare against bare and bare against masked (mask drawn, found and
aligned afresh). Most photos have no names and some show one person twice, so photos are first joined into people:
same folder in `aligned112`, or a bare score above SAME, or both joined to a third. No pair within one person counts.
A pair of one person's photos below SAME stays in and raises the thresholds: an error on the safe side. A pair of two
people above SAME would be lost, an error on the other side: so no rate is listed whose score comes within ROOM of
SAME, nor one with fewer than 10 pairs beyond its score. `--sheet` draws pairs by score, for the eye to judge SAME.
Genuine: LFW's official same-person pairs, which nothing here was tuned on; bare, and with a mask drawn on the second
photo, then on the first, by another renderer. Photos in which no face was found are left out.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crops import Crops, read
from maskgate.faces import Faces, load

HERE = Path(__file__).parent
SAME = 0.55
"""Bare score that only one person's photos reach. By eye, for SFace (MODEL_CARD.md): judge anew for another one."""
ROOM = 0.02
"""How far below SAME a listed score stays."""
PER_PERSON = 20
"""Photos taken of each person with a name."""
RATES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)
"""Rates to list. Not below 3e-6: about ten of the joined pairs might be two people alike, 1.7e-6 of all pairs."""
BINS = 40_000

Vectors = NDArray[np.float32]


def embedded(faces: Faces, crops: NDArray[np.uint8], kept: Path) -> Vectors:
    """Embeddings of an array of crops; kept in a file that names the embedder."""
    path = kept.with_name(f"{kept.name}.{faces.embedder[:8]}.npy")
    if not path.exists():
        np.save(path, np.stack([faces.embed(crop) for crop in crops]))
    vectors: Vectors = np.load(path)
    return vectors


def chosen(names: NDArray[np.str_], masked: NDArray[np.float32]) -> NDArray[np.int_]:
    """Photos that count: bare in truth, and at most PER_PERSON of a named person."""
    taken: dict[str, int] = {}
    kept = []
    for i, name in enumerate(names):
        person = Path(name).parent.name if "aligned112" in name else name
        taken[person] = taken.get(person, 0) + 1
        if masked[i] < 0.5 and taken[person] <= PER_PERSON:
            kept.append(i)
    return np.array(kept)


def people(names: NDArray[np.str_], bare: Vectors, same: float) -> NDArray[np.int_]:
    """A person's number for each photo, by folder and by score, joined transitively."""
    parent = list(range(len(names)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, name in enumerate(names):
        if "aligned112" in name:
            parent[root(i)] = root(first.setdefault(Path(name).parent.name, i))
    for i in range(len(names)):
        for j in np.nonzero(bare[i + 1 :] @ bare[i] > same)[0] + i + 1:
            parent[root(int(j))] = root(i)
    return np.array([root(i) for i in range(len(names))])


def histogram(
    probes: Vectors, owners: NDArray[np.int_], templates: Vectors, who: NDArray[np.int_], *, once: bool
) -> NDArray[np.int_]:
    """Counts of scores between different people over BINS bins of -1 to 1.

    `owners` are the probes' people, `who` the templates'. `once` skips the templates up to the probe's own place, for
    probes and templates that are the same photos.
    """
    counts = np.zeros(BINS, np.int64)
    for i, probe in enumerate(probes):
        other = who != owners[i]
        if once:
            other[: i + 1] = False
        scores = templates[other] @ probe
        counts += np.bincount(((scores + 1) / 2 * BINS).astype(int).clip(0, BINS - 1), minlength=BINS)
    return counts


def curve(counts: NDArray[np.int_]) -> list[tuple[float, float]]:
    """(rate, score) for each of RATES that at least 10 pairs support, the score on the safe side of its bin."""
    above = counts[::-1].cumsum()[::-1]
    found = []
    for rate in RATES:
        allowed = rate * counts.sum()
        score = int(np.argmax(above <= allowed)) * 2 / BINS - 1
        if allowed >= 10 and score <= SAME - ROOM:
            found.append((rate, score))
    return found


def genuine(names: NDArray[np.str_], pairs: Path) -> list[tuple[int, int]]:
    """Index pairs of LFW's same-person pairs whose faces were both found."""
    where = {Path(name).stem: i for i, name in enumerate(names)}
    lines = [line.split() for line in pairs.read_text(encoding="utf-8").splitlines()[1:]]
    keys = [(f"{p[0]}_{int(p[1]):04d}", f"{p[0]}_{int(p[2]):04d}") for p in lines if len(p) == 3]
    return [(where[a], where[b]) for a, b in keys if a in where and b in where]


def table(cover: str, points: list[tuple[float, float]], own: Vectors, pairs: int, persons: int) -> str:
    """One [embedder.calibration.*] table."""
    score = [round(s, 4) for _, s in points]
    fnmr = [round(float((own < s).mean()), 4) for s in score]
    rates = ", ".join(f"{rate:.0e}".replace("e-0", "e-") for rate, _ in points)
    return (
        f"[embedder.calibration.{cover}]\nfmr = [{rates}]\nscore = {score}\nfnmr = {fnmr}\n"
        f"pairs = {pairs}\npeople = {persons}\ngenuine = {len(own)}\n"
    )


def sheet(out: Path, crops: NDArray[np.uint8], bare: Vectors, names: NDArray[np.str_]) -> None:
    """Draw pairs in bands of bare score, 24 a band, for the eye to tell where two people begin."""
    upper = np.triu(bare @ bare.T, 1)
    named = np.array(["aligned112" in name for name in names])
    upper[np.ix_(named, named)] = 0
    out.mkdir(parents=True, exist_ok=True)
    for low in (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70):
        first, second = np.nonzero((upper >= low) & (upper < low + 0.05))
        print(f"pairs of bare score {low:.2f} to {low + 0.05:.2f}: {len(first)}")
        picked = np.random.default_rng(0).permutation(len(first))[:24]
        tiles = [np.hstack([crops[first[k]], crops[second[k]]]) for k in picked] or [np.zeros((112, 224, 3), np.uint8)]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 6)
        rows = [np.hstack(tiles[i : i + 6]) for i in range(0, len(tiles), 6)]
        Image.fromarray(np.vstack(rows)).save(out / f"pairs_{low:.2f}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="+", help="crops of strangers, from render.py or prepare.py")
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--variants", type=int, default=1, help="drawn masks used of each face")
    parser.add_argument("--keep", type=Path, default=Path("embeddings"), help="folder for embeddings already made")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    wanted = parser.parse_args()
    wanted.keep.mkdir(parents=True, exist_ok=True)
    faces = load(wanted.models, threads=1)
    counts, persons = impostors(faces, read(wanted.faces, variants=wanted.variants), wanted.keep, wanted.sheet)
    own = residents(faces, wanted.lfw, wanted.pairs, wanted.keep)
    text = "\n".join(
        table(cover, curve(counts[cover]), own[cover], int(counts[cover].sum()), persons)
        for cover in ("bare", "masked")
    )
    print(text)
    if not wanted.dry_run:
        file = wanted.models / "models.toml"
        before = re.split(r"(?m)^\[embedder\.calibration\.bare\]$", file.read_text(encoding="utf-8"))[0]
        file.write_text(before + text, encoding="utf-8")


def impostors(faces: Faces, crops: Crops, keep: Path, out: Path | None) -> tuple[dict[str, NDArray[np.int_]], int]:
    """Histograms of strangers' scores by the probe's cover, and how many people are behind them."""
    name = f"strangers{len(crops.names)}"
    looks_masked = np.array([faces.masked(crop) for crop in crops.bare], np.float32)
    kept = chosen(crops.names, looks_masked)
    bare = embedded(faces, crops.bare, keep / f"{name}.bare")[kept]
    who = people(crops.names[kept], bare, SAME)
    print(f"{len(crops.bare)} photos, {len(kept)} kept, {len(set(who))} people")
    print(
        f"{int((looks_masked >= 0.5).sum())} photos look masked; {len(kept) - len(set(who))} photos joined to another's"
    )
    if out:
        sheet(out, crops.bare[kept], bare, crops.names[kept])
    masked = embedded(faces, crops.worn[crops.found], keep / f"{name}.worn{crops.found.shape[1]}")
    owners = np.full(len(crops.names), -1)
    owners[kept] = who
    probe_owners = np.broadcast_to(owners[:, None], crops.found.shape)[crops.found]
    use = probe_owners >= 0
    counts = {
        "bare": histogram(bare, who, bare, who, once=True),
        "masked": histogram(masked[use], probe_owners[use], bare, who, once=False),
    }
    return counts, len(set(who))


def residents(faces: Faces, lfw: Path, pairs: Path, keep: Path) -> dict[str, Vectors]:
    """Scores of LFW's same-person pairs by the probe's cover."""
    crops = read([lfw])
    own = genuine(crops.names, pairs)
    first, second = (np.array(side) for side in zip(*own, strict=True))
    needed = np.unique(np.concatenate([first, second]))
    place = np.zeros(len(crops.names), int)
    place[needed] = np.arange(len(needed))
    first, second = place[first], place[second]
    plain = embedded(faces, crops.bare[needed], keep / f"{lfw.stem}.bare")
    worn = embedded(faces, crops.worn[needed, 0], keep / f"{lfw.stem}.worn")
    found = crops.found[needed, 0]
    both = [(plain[a] * worn[b]).sum(axis=1)[found[b]] for a, b in ((first, second), (second, first))]
    return {"bare": (plain[first] * plain[second]).sum(axis=1), "masked": np.concatenate(both)}


if __name__ == "__main__":
    main()
