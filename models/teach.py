"""Embed rendered faces, bare, with the teacher, for train.py to learn from.

    python models/teach.py SFACE.tflite FOLDER... [--classifier FACE.tflite]

Writes FOLDER/teacher.npy: (n, 128) float32 unit vectors, the mean of the face and its mirror image; zero for photos not
to learn from: no face, a mask already worn, or a copy (cosine above COPY) of an earlier photo of the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from crops import cut
from network import Net

COPY = 0.97


def taught(bare: np.ndarray, at: list[int], teacher: Net, classifier: Net) -> np.ndarray:
    """(n, 128); zero where a mask is worn or nothing was found."""
    vectors = np.zeros((len(bare), 128), np.float32)
    for n in tqdm(at):
        face = cut(bare[n])
        if classifier.seen(face)[1] < 0.5:
            vectors[n] = teacher.template(face)
    return vectors


def without_copies(vectors: np.ndarray) -> np.ndarray:
    """The same with later copies of a photo zeroed."""
    alike = np.tril(vectors @ vectors.T, -1) > COPY
    return np.where(alike.any(1)[:, None], 0, vectors).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--classifier", type=Path, default=Path(__file__).parent / "face_int8.tflite")
    parser.add_argument("folders", type=Path, nargs="+")
    wanted = parser.parse_args()
    teacher, classifier = Net(wanted.teacher), Net(wanted.classifier)
    for folder in wanted.folders:
        at = [row["at"] for row in json.loads((folder / "index.json").read_text())]
        bare = np.load(folder / "bare.npy", mmap_mode="r")
        vectors = taught(bare, at, teacher, classifier)
        kept = without_copies(vectors)
        np.save(folder / "teacher.npy", kept)
        worn, copies = len(at) - vectors.any(1).sum(), vectors.any(1).sum() - kept.any(1).sum()
        print(f"{folder}: {len(at)} faces, {worn} look masked, {copies} copies left out", flush=True)


if __name__ == "__main__":
    main()
