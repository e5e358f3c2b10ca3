"""Laws of the network's arrays: what evens out its channels for int8 changes nothing it computes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

import chain as chains
from chain import Chain, Layer, Mask


def made(monkeypatch: pytest.MonkeyPatch) -> Chain:
    """A small network of the same build: convolutions, a depthwise one, steep and negative slopes, both heads."""
    monkeypatch.setattr(chains, "MASK_AT", 1)
    rng = np.random.default_rng(5)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    layers = (
        Layer(drawn(4, 3, 3, 3), drawn(4), np.array([0.2, 1.7, -0.4, 3.0], np.float32), 1, False),
        Layer(drawn(4, 1, 3, 3), drawn(4), np.array([1.2, 0.0, 0.9, -0.1], np.float32), 2, True),
        Layer(drawn(5, 4, 1, 1), drawn(5), np.array([0.1, 2.5, 0.3, 1.0, -0.7], np.float32), 1, False),
    )
    mask = Mask(drawn(2, 4, 2, 2), drawn(2), drawn(2, 3, 3), drawn(1)[0])
    return Chain(layers, drawn(6, 5, 7, 7), drawn(6), mask)


def convolved(x: np.ndarray, weights: np.ndarray, *, stride: int, rim: int) -> np.ndarray:
    """(out, h, w) of (in, h, w), weights (out, in, k, k)."""
    padded = np.pad(x, ((0, 0), (rim, rim), (rim, rim)))
    windows = sliding_window_view(padded, weights.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("ihwkl,oikl->ohw", windows, weights)


def computed(chain: Chain, x: np.ndarray) -> tuple[np.ndarray, float]:
    """The embedding and the mask's logit of one (3, 14, 14) image, in numpy."""
    logit = np.nan
    for number, layer in enumerate(chain.layers):
        weights = layer.weights.astype(np.float64)
        if layer.depthwise:
            weights = np.stack([np.eye(len(weights))[n][:, None, None] * w[0] for n, w in enumerate(weights)])
        x = convolved(x, weights, stride=layer.stride, rim=layer.weights.shape[2] // 2) + layer.bias[:, None, None]
        x = np.where(x > 0, x, x * layer.slopes[:, None, None])
        if chain.mask and number == chains.MASK_AT:
            patches = convolved(x, chain.mask.patch, stride=2, rim=0) + chain.mask.patch_bias[:, None, None]
            logit = float((np.maximum(patches, 0) * chain.mask.told).sum() + chain.mask.told_bias)
    return (chain.head * x[None]).sum((1, 2, 3)) + chain.head_bias, logit


def alike(one: Chain, other: Chain) -> None:
    """Hold that two networks compute the same."""
    for seed in range(5):
        image = np.random.default_rng(seed).normal(0, 1, (3, 14, 14))
        (vector, logit), (again, told) = computed(one, image), computed(other, image)
        assert np.allclose(vector, again, rtol=1e-4, atol=1e-4)
        assert logit == pytest.approx(told, rel=1e-4, abs=1e-4)


def test_taming_leaves_no_slope_over_one_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = replace(made(monkeypatch), mask=None)
    tame = chains.tamed(chain)
    assert max(layer.slopes.max() for layer in chain.layers) > 1 >= max(layer.slopes.max() for layer in tame.layers)
    for seed in range(5):
        image = np.random.default_rng(seed).normal(0, 1, (3, 14, 14))
        assert np.allclose(computed(chain, image)[0], computed(tame, image)[0], rtol=1e-4, atol=1e-4)


def test_equalising_changes_the_weights_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = made(monkeypatch)
    rng = np.random.default_rng(1)
    reach = [np.exp(rng.normal(0, 1, len(layer.weights))).astype(np.float32) for layer in chain.layers]
    even = chains.equalised(chain, reach)
    assert not np.allclose(even.layers[0].weights, chain.layers[0].weights)
    assert chain.mask is not None
    assert even.mask is not None
    assert not np.allclose(even.mask.patch, chain.mask.patch)
    alike(chain, even)


@pytest.mark.parametrize("masked", [True, False])
def test_what_is_saved_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masked: bool) -> None:
    chain = made(monkeypatch)
    chain = chain if masked else replace(chain, mask=None)
    chains.save(tmp_path / "it.npz", chain)
    again = chains.load(tmp_path / "it.npz")
    assert (again.mask is None) == (not masked)
    for one, other in zip(chain.layers, again.layers, strict=True):
        assert (one.stride, one.depthwise) == (other.stride, other.depthwise)
    if masked:
        alike(chain, again)
    assert np.array_equal(chain.head, again.head)
