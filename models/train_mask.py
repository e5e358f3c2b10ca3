"""Train the mask classifier: an aligned face in, the probability that a mask is worn out. A few minutes on two cores.

    PYTHONPATH=daemon python models/render.py OUT/tight FACES/tight --variants 3   (crops and portraits alike)
    PYTHONPATH=daemon python models/prepare.py worn.npz MASKED/web MASKED/staff
    PYTHONPATH=daemon python models/render.py OUT/lfw LFW/images --variants 1 --renderer masks_test
    python models/train_mask.py --faces OUT/tight OUT/crops OUT/portraits --worn worn.npz --lfw OUT/lfw

The first three run in the product's environment, this file in that of requirements-train.txt. Trained on `web` (really
masked), on bare faces and on the same faces with drawn masks; stopped early by a tenth of `web` and by `portraits`,
which it never trains on; `staff` (three people, really masked) and LFW (bare and drawn) are looked at once, at the end.
Writes `mask_int8.tflite`: (1, 112, 112, 3) int8, RGB less 128 -> (1, 1) int8, zero point and scale of a probability.
Bare photos that in truth show a mask are named in NOT_BARE.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

import crops

HERE = Path(__file__).parent
BATCH = 64
NOT_BARE = frozenset[str]()
"""Names in `crops`, `tight` and `portraits` that show a real mask: found by an earlier model, confirmed by eye."""

layers = tf.keras.layers


def network() -> tf.keras.Model:
    """Four convolutions, 6 million multiplications; a mask is large, so the first one takes patches of 4 x 4.

    The faces are aligned, so the last layer weighs each place of the map by itself: averaging the map away told bare
    from masked at 93 % on its own training photos.
    """
    image = tf.keras.Input((112, 112, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    for width, side, stride in ((24, 4, 4), (32, 3, 2), (48, 3, 1), (64, 3, 2)):
        x = layers.Conv2D(width, side, stride, "same", use_bias=False)(x)
        x = unit(x)
    x = layers.Dropout(0.4)(layers.Flatten()(x))
    return tf.keras.Model(image, layers.Dense(1, activation="sigmoid", name="masked")(x))


def unit(x: tf.Tensor) -> tf.Tensor:
    """Normalise and clip: ReLU6 keeps the int8 ranges narrow."""
    return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.95)(x))


def disturbed(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What cameras and detectors do to a crop: mirror, shift, light, colour, blur, noise, and black beyond the edge."""
    out = batch.copy()
    for i in range(len(out)):
        if rng.random() < 0.5:
            out[i] = out[i, :, ::-1]
        if rng.random() < 0.4:
            out[i] = blurred(out[i], int(rng.integers(16, 80)))
        out[i] = relit(np.roll(out[i], rng.integers(-5, 6, 2), (0, 1)), rng)
        blacken(out[i], rng)
    return np.clip(out + np.roll(NOISE, rng.integers(112, size=2), (0, 1)) * rng.uniform(1, 8), 0, 255)


NOISE = np.random.default_rng(9).normal(0, 1, (112, 112, 3)).astype(np.float32)


def blurred(image: np.ndarray, side: int) -> np.ndarray:
    """As seen from so far that the crop had `side` pixels."""
    small = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small.resize((112, 112), Image.Resampling.BILINEAR))


def relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another gamma, brightness and tint."""
    levels = 255 * np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.3)) * rng.uniform(0.5, 1.15)
    tinted = np.clip(levels[:, None] * rng.uniform(0.85, 1.15, 3), 0, 255).astype(np.uint8)
    return np.stack([tinted[image[..., c], c] for c in range(3)], axis=-1)


def blacken(image: np.ndarray, rng: np.random.Generator) -> None:
    """Blacken a random rim on both classes, lest it tell the tight sets from the loose ones."""
    if rng.random() < 0.4:
        top, bottom, left, right = (int(n) for n in rng.integers(0, 22, 4))
        image[:top], image[112 - bottom :], image[:, :left], image[:, 112 - right :] = 0, 0, 0, 0


def batches(
    parts: list[np.ndarray], labels: list[float], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches that draw from every part alike."""
    while True:
        which = rng.integers(len(parts), size=BATCH)
        picked = np.stack([parts[w][rng.integers(len(parts[w]))] for w in which])
        yield disturbed(picked, rng), np.array([labels[w] for w in which], np.float32)


def train(
    parts: list[np.ndarray], labels: list[float], held: tuple[np.ndarray, np.ndarray], epochs: int, steps: int
) -> tf.keras.Model:
    """Train with early stopping on `held`; return the best epoch's weights."""
    tf.keras.utils.set_random_seed(5)
    model = network()
    model.summary(print_fn=lambda line: print(line) if "params" in line else None)
    schedule = tf.keras.optimizers.schedules.CosineDecay(3e-3, epochs * steps)
    model.compile(tf.keras.optimizers.Adam(schedule), "binary_crossentropy", metrics=["accuracy"])
    stop = tf.keras.callbacks.EarlyStopping("val_loss", patience=6, restore_best_weights=True)
    rng = np.random.default_rng(5)
    model.fit(
        batches(parts, labels, rng), steps_per_epoch=steps, epochs=epochs, verbose=2, callbacks=[stop],
        validation_data=(held[0].astype(np.float32), held[1]), validation_batch_size=256,
    )  # fmt: skip
    return model


def int8_model(model: tf.keras.Model, crops: np.ndarray) -> bytes:
    """Full int8 by post-training quantisation."""
    crops = crops.astype(np.float32)
    crops[0, 0], crops[0, 1] = 0, 255  # the input's range is then exactly 0 to 255, so its scale exactly 1
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([one[None]] for one in crops)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def answers(flat: bytes, crops: np.ndarray) -> np.ndarray:
    """The int8 file's probabilities."""
    interpreter = tf.lite.Interpreter(model_content=flat)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert source["quantization"] == (1.0, -128), source["quantization"]
    scale, zero = target["quantization"]
    found = []
    for crop in crops:
        interpreter.set_tensor(source["index"], (crop ^ 0x80).view(np.int8)[None])
        interpreter.invoke()
        found.append((float(interpreter.get_tensor(target["index"]).ravel()[0]) - zero) * scale)
    return np.array(found)


def report(flat: bytes, name: str, crops: np.ndarray, masked: bool) -> float:
    """Print and return the share that is told right."""
    found = answers(flat, crops)
    right = float(((found >= 0.5) == masked).mean())
    print(f"{name}: {right * 100:.2f} % right of {len(crops)}; median P {np.median(found):.3f}")
    return right


def short(name: str) -> str:
    """The photo's folder and file name."""
    return "/".join(Path(name).parts[-2:])


def folder_is(names: np.ndarray, folder: str) -> np.ndarray:
    """Which photos lie in `folder`, at whatever depth."""
    return np.array([folder in Path(name).parts for name in names])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, nargs="+", required=True, help="bare faces and their drawn masks")
    parser.add_argument("--worn", type=Path, required=True, help="really masked faces")
    parser.add_argument("--lfw", type=Path, help="to be looked at once, at the end")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--steps", type=int, default=150, help="batches of 64 in an epoch")
    parser.add_argument("--list", action="store_true", help="name the bare training photos that look masked")
    wanted = parser.parse_args()
    faces, worn = crops.read(wanted.faces), crops.read([wanted.worn])
    clean = np.array([short(name) not in NOT_BARE for name in faces.names])
    bare, names, found = faces.bare[clean], faces.names[clean], faces.found[clean]
    drawn = faces.worn[clean]
    held = folder_is(names, "portraits")
    web = worn.bare[folder_is(worn.names, "web")]
    held_web = np.arange(len(web)) % 10 == 0
    parts, labels = [bare[~held], bare[~held], drawn[~held][found[~held]], web[~held_web]], [0.0, 0.0, 1.0, 1.0]
    check = [bare[held], drawn[held][found[held]], web[held_web]]
    truth = np.concatenate([np.full(len(c), v, np.float32) for c, v in zip(check, (0, 1, 1), strict=True)])
    model = train(parts, labels, (np.concatenate(check), truth), wanted.epochs, wanted.steps)
    flat = int8_model(model, np.concatenate([part[:100] for part in parts]))
    (HERE / "mask_int8.tflite").write_bytes(flat)
    print(f"mask_int8.tflite {len(flat)} B {hashlib.sha256(flat).hexdigest()}")
    for name, some, masked in zip(
        ("portraits bare", "portraits drawn", "web tenth"), check, (False, True, True), strict=True
    ):
        report(flat, f"stopped by: {name}", some, masked)
    staff = report(flat, "held back: staff, really masked", worn.bare[folder_is(worn.names, "staff")], True)
    if wanted.lfw:
        lfw = crops.read([wanted.lfw])
        plain = report(flat, "held back: LFW bare", lfw.bare, False)
        report(flat, "held back: LFW, drawn masks", lfw.worn[lfw.found], True)
        print(f"held back: balanced accuracy of staff and LFW bare {(staff + plain) * 50:.2f} %")
    if wanted.list:
        for i in np.nonzero(answers(flat, bare) >= 0.5)[0]:
            print("looks masked:", short(names[i]))


if __name__ == "__main__":
    main()
