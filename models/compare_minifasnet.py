"""Ask the two MiniFASNets about the images that `maskgate evaluate liveness` measures.             (env of training)

    PYTHONPATH=daemon:models python models/compare_minifasnet.py DIR SAID.json TEACHERS OUT.json

SAID.json is what `maskgate evaluate liveness DIR --keep SAID.json` or lay_out_liveness.py wrote, with the face found in
each image, so that both look at the same faces. The answer of the two is the mean of their probabilities, each over its
own crop: the box enlarged 2.7 and 4 times, moved into the image where it would reach beyond, and no larger than the
image, as in Silent-Face-Anti-Spoofing's own code. OUT.json goes into `maskgate evaluate liveness DIR --said OUT.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import minifasnet
from maskgate.pixels import load_photo
from maskgate.values import Box
from views import cropped

BATCH = 64


@torch.no_grad()
def answers(file: Path, span: float, faces: list[tuple[Path, Box]]) -> np.ndarray:
    """Probability of a living person in each image, by one of the two."""
    example = torch.zeros(BATCH, 3, minifasnet.SIDE, minifasnet.SIDE).contiguous(memory_format=torch.channels_last)
    net = minifasnet.load(file).to(memory_format=torch.channels_last)
    net = torch.jit.optimize_for_inference(torch.jit.trace(net, example))
    told = []
    for at in range(0, len(faces), BATCH):
        some = [cropped(load_photo(path).rgb(), box, span, minifasnet.SIDE) for path, box in faces[at : at + BATCH]]
        crops = torch.from_numpy(np.stack(some)[..., ::-1].copy()).permute(0, 3, 1, 2).float()
        told.append(net(crops.contiguous(memory_format=torch.channels_last)).softmax(1)[:, minifasnet.LIVE].numpy())
    return np.concatenate(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("folder", "said", "teachers", "out"):
        parser.add_argument(name, type=Path)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    found = {path: one for path, one in json.loads(wanted.said.read_text()).items() if one["box"] and "@" not in path}
    faces = [(wanted.folder / path, one["box"]) for path, one in found.items()]
    both = [answers(wanted.teachers / name, span, faces) for name, span in minifasnet.SPANS.items()]
    told = {
        path: one | {"live": float(live)} for (path, one), live in zip(found.items(), np.mean(both, 0), strict=True)
    }
    wanted.out.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
