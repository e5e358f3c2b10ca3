"""Measure refiners on the photos that train_refiner.py holds back: how far the eyes are off, bare and masked.

    PYTHONPATH=daemon:models python models/measure_refiner.py EYES models/refiner_int8.tflite [OTHER.tflite ...]

EYES is stage_eyes.py's. Each face is laid out wrongly and shown as another camera would, as in training; every file
sees the same pictures. Template pixels, the mean of both eyes: mean, 95th and 99th percentile over the photos; alone,
and with the mirror image's answer averaged in, as the gate does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from layouts import RIM, SIDE, UNIT, places, shown
from maskgate import align
from network import Net

TO_TEMPLATE = UNIT * (align.SIDE + 2 * RIM) / SIDE
RIGHT_FOR_LEFT = [1, 0, 2, 4, 3]


def mirrored(net: Net, image: np.ndarray) -> np.ndarray:
    """(5, 2) what the mirror image's answer says of the image."""
    there = places() + net(np.ascontiguousarray(image[:, ::-1]))[0].reshape(5, 2) * UNIT
    back = np.column_stack([SIDE - 1 - there[:, 0], there[:, 1]])[RIGHT_FOR_LEFT]
    return (back - places()) / UNIT


def off(told: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the two eyes from the truth, template pixels."""
    return float(np.linalg.norm((told - truth)[:2], axis=1).mean()) * TO_TEMPLATE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("eyes", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--photos", type=int, default=600)
    wanted = parser.parse_args()
    wide, points = np.load(wanted.eyes / "wide.npy", mmap_mode="r"), np.load(wanted.eyes / "points.npy")
    held = np.nonzero(np.arange(len(wide)) % 10 == 0)[0]
    rng = np.random.default_rng(5)
    picked = rng.permutation(held)[: wanted.photos]
    for cover, variant in (("bare", 0), ("masked", 1)):
        faces = [shown(np.asarray(wide[n, variant]), points[n], rng) for n in picked]
        rows = {"as laid out": [off(np.zeros((5, 2)), truth) for _, truth in faces]}
        for path in wanted.models:
            net = Net(path)
            alone, both = [], []
            for image, truth in faces:
                told = net(np.ascontiguousarray(image))[0].reshape(5, 2)
                alone.append(off(told, truth))
                both.append(off((told + mirrored(net, image)) / 2, truth))
            rows |= {path.name: alone, f"{path.name}, and mirrored": both}
        for name, values in rows.items():
            mean, p95, p99 = np.mean(values), *np.quantile(values, (0.95, 0.99))
            print(f"{cover}, n={len(values)}: {name}: {mean:.2f}; 95 % {p95:.2f}; 99 % {p99:.2f} px", flush=True)


if __name__ == "__main__":
    main()
