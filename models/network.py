"""Run one TFLite file on aligned faces, for the scripts here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class Net:
    """One TFLite file that takes (112, 112, 3) faces, float 0-255 or int8 less 128."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.net = Interpreter(str(path), num_threads=threads)
        self.net.allocate_tensors()

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Each output in floating point, without its batch axis."""
        given = self.net.get_input_details()[0]
        if given["dtype"] is np.int8:
            image = (image ^ 0x80).view(np.int8)
        self.net.set_tensor(given["index"], image[None].astype(given["dtype"]))
        self.net.invoke()
        return [self._real(out) for out in self.net.get_output_details()]

    def _real(self, out: dict) -> np.ndarray:
        values = self.net.get_tensor(out["index"])[0]
        if values.dtype == np.float32:
            return np.asarray(values)
        scale, zero = out["quantization"]
        return np.asarray((values.astype(np.float32) - zero) * scale)

    def seen(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The unit embedding, and the probability of a mask: nan where the network does not say."""
        outs = self(image)
        vector = next(v for v in outs if v.shape == (128,))
        told = next((float(v.ravel()[0]) for v in outs if v.size == 1), float("nan"))
        return unit(vector), told

    def embedding(self, image: np.ndarray) -> np.ndarray:
        """The embedding alone."""
        return self.seen(image)[0]

    def template(self, image: np.ndarray) -> np.ndarray:
        """The mean of the face's embedding and its mirror image's: what train.py's teacher says."""
        return unit(self.embedding(image) + self.embedding(mirrored(image)))


def mirrored(image: np.ndarray) -> np.ndarray:
    """Left and right changed."""
    return np.ascontiguousarray(image[:, ::-1])


def unit(vectors: np.ndarray) -> np.ndarray:
    """The same directions, of length one."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
