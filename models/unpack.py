"""Unpack `face_int8.tflite` into the arrays it was made from, as int8 rounded them: to go on from what is shipped.

    python models/unpack.py models/face_int8.tflite CHAIN.npz                    (the product's environment)

Weights and slopes are the file's whole numbers times their scales; biases likewise. The channels stay as even as
quantize.py made them. Ends with an error when the file is no masked-face network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

import chain as chains
from chain import Chain, Layer


def unpacked(path: Path) -> Chain:
    """The network of the file, in float."""
    net = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    net.allocate_tensors()
    tensors = {one["index"]: one for one in net.get_tensor_details()}
    steps = [op for op in net._get_ops_details() if op["op_name"] != "DELEGATE"]

    def real(index: int) -> np.ndarray:
        scales = tensors[index]["quantization_parameters"]
        whole = net.get_tensor(index).astype(np.float64)
        shape = [1] * whole.ndim
        if len(scales["scales"]) > 1:
            shape[scales["quantized_dimension"]] = -1
        return (whole - scales["zero_points"].reshape(shape)) * scales["scales"].astype(np.float64).reshape(shape)

    layers: list[Layer] = []
    others: list[tuple[np.ndarray, np.ndarray]] = []
    for op in steps:
        if op["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        weights, bias = real(int(op["inputs"][1])), real(int(op["inputs"][2]))
        readers = [o for o in steps if int(op["outputs"][0]) in o["inputs"] and o["op_name"] == "MUL"]
        if len(readers) != 2:
            others.append((weights, bias))
            continue
        depthwise = op["op_name"] == "DEPTHWISE_CONV_2D"
        weights = weights.transpose(3, 0, 1, 2) if depthwise else weights.transpose(0, 3, 1, 2)
        # The first of the two products is the slopes', the second that of the rectified rest.
        slopes = real(int(readers[0]["inputs"][1]))
        wide, narrow = (int(tensors[int(i)]["shape"][1]) for i in (op["inputs"][0], op["outputs"][0]))
        arrays = (weights.astype("f4"), bias.astype("f4"), slopes.astype("f4"))
        layers.append(Layer(*arrays, 2 if wide > narrow else 1, depthwise))
    first = layers[0]
    weights = first.weights * 128
    layers[0] = Layer(weights, first.bias - weights.sum((1, 2, 3)) * (0.5 / 128), first.slopes, 1, False)
    patch, told, head = (
        next(pair for pair in others if pair[0].shape[:1] + pair[0].shape[1:3] == wanted)
        for wanted in ((8, 2, 2), (1, 7, 7), (128, 7, 7))
    )
    mask = chains.Mask(
        patch[0].transpose(0, 3, 1, 2).astype("f4"),
        patch[1].astype("f4"),
        told[0][0].transpose(2, 0, 1).astype("f4"),
        told[1].reshape(()).astype("f4"),
    )
    return Chain(tuple(layers), head[0].transpose(0, 3, 1, 2).astype("f4"), head[1].astype("f4"), mask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    wanted = parser.parse_args()
    chain = unpacked(wanted.file)
    chains.save(wanted.out, chain)
    print(f"{len(chain.layers)} layers, strides {[layer.stride for layer in chain.layers if layer.stride > 1]}")


if __name__ == "__main__":
    main()
