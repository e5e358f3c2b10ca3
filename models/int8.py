"""Turn a Keras network into TFLite with int8 throughout.                                        (env of conversion)"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf


def converted(model: tf.keras.Model, shown: Iterable[np.ndarray], *, answer: tf.DType = tf.float32) -> bytes:
    """Weights, activations and input as int8, per channel; what comes out as `answer`.

    Ranges are measured on `shown`, each as the network takes it less the first axis. An input whose range is exactly 0
    to 255 there has a scale of exactly 1.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([one[None].astype(np.float32)] for one in shown)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.int8, answer
    return bytes(converter.convert())
