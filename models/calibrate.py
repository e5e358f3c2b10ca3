"""Measure the embedder's impostor and genuine scores and write them into models.toml, where thresholds come from.

    PYTHONPATH=daemon python models/prepare.py faces.npz FACES/crops FACES/tight FACES/portraits FACES/aligned112 --draw
    PYTHONPATH=daemon python models/prepare.py lfw.npz LFW/images --draw
    PYTHONPATH=daemon python models/calibrate.py faces.npz lfw.npz LFW/pairs.txt [--sheet DIR] [--dry-run]

Impostors: every two photos of different people in faces.npz, bare against bare and bare against masked (mask drawn,
found and aligned afresh). Most of those photos have no names and some show one person twice, so photos are first joined
into people: same folder in `aligned112`, or a bare score above SAME, or both joined to a third. No pair within one
person counts. A same-person pair below SAME stays in and raises the thresholds: an error on the safe side; `--sheet`
draws the pairs around SAME, for the eye to judge it. A false match rate is listed only with at least 10 pairs beyond
its score. Genuine: LFW's official same-person pairs, which nothing here was tuned on; masks drawn on the second photo,
then on the first. Photos in which no face was found are left out and counted.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskgate.faces import Faces, load

HERE = Path(__file__).parent
SAME = 0.60
"""Bare score that only one person's photos reach; by eye, see MODEL_CARD.md."""
PER_PERSON = 20
"""Photos taken of each person with a name."""
RATES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7)
BINS = 40_000

Vectors = NDArray[np.float32]


def embedded(faces: Faces, source: Path, which: str) -> Vectors:
    """Embeddings of one array of crops; kept beside it, by embedder."""
    kept = source.with_name(f"{source.stem}.{which}.{faces.embedder[:8]}.npy")
    if not kept.exists():
        np.save(kept, np.stack([faces.embed(crop) for crop in np.load(source)[which]]))
    vectors: Vectors = np.load(kept)
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
        if allowed >= 10:
            edge = int(np.argmax(above <= allowed))
            found.append((rate, edge * 2 / BINS - 1))
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
    parser.add_argument("faces", type=Path)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--same", type=float, default=SAME)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    wanted = parser.parse_args()
    faces = load(wanted.models, threads=1)
    impostors, lfw = np.load(wanted.faces), np.load(wanted.lfw)
    worn = np.array([faces.masked(crop) for crop in impostors["bare"]], np.float32)
    kept = chosen(impostors["names"], worn)
    bare = embedded(faces, wanted.faces, "bare")[kept]
    masked, found = embedded(faces, wanted.faces, "masked")[kept], impostors["masked_found"][kept]
    who = people(impostors["names"][kept], bare, wanted.same)
    print(f"{len(worn)} photos, {int((worn >= 0.5).sum())} look masked, {len(kept)} kept, {len(set(who))} people")
    if wanted.sheet:
        sheet(wanted.sheet, impostors["bare"][kept], bare, impostors["names"][kept])
    own = genuine(lfw["names"], wanted.pairs)
    first, second = (np.array(side) for side in zip(*own, strict=True))
    plain, worn_lfw = embedded(faces, wanted.lfw, "bare"), embedded(faces, wanted.lfw, "masked")
    ok = lfw["masked_found"]
    scores = {
        "bare": (plain[first] * plain[second]).sum(axis=1),
        "masked": np.concatenate(
            [(plain[a] * worn_lfw[b]).sum(axis=1)[ok[b]] for a, b in ((first, second), (second, first))]
        ),
    }
    counts = {
        "bare": histogram(bare, who, bare, who, once=True),
        "masked": histogram(masked[found], who[found], bare, who, once=False),
    }
    text = "\n".join(
        table(cover, curve(counts[cover]), scores[cover], int(counts[cover].sum()), len(set(who)))
        for cover in ("bare", "masked")
    )
    print(text)
    if not wanted.dry_run:
        file = wanted.models / "models.toml"
        before = re.split(r"(?m)^\[embedder\.calibration\.bare\]$", file.read_text(encoding="utf-8"))[0]
        file.write_text(before + text, encoding="utf-8")


if __name__ == "__main__":
    main()
