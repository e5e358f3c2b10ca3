"""Run on both machines: what the networks, run by the gate's own code, make of shipped photos. Prints a JSON line.

outputs.py RUNTIME PHOTO...      RUNTIME: ai-edge-litert, which is taken where it is there, or tflite-runtime
"""

import json
import platform
import sys

import msgspec
import numpy as np

if sys.argv[1] == "tflite-runtime":
    # As on a Pi that has no other.
    sys.modules["ai_edge_litert"] = None  # type: ignore[assignment]
from maskgate import config, faces, look
from maskgate.camera import open_camera


def main(photos: list[str]) -> None:
    """Look at every photo as at a frame, and run each network once on noise."""
    nets = faces.load(config.installed_models(), threads=1)
    noise = np.random.default_rng(7)
    raw = {
        name: [out.ravel().tolist() for out in net.run(noise.integers(0, 256, net.shapes[0][1:], dtype=np.uint8))]
        for name, net in (("refiner", nets.refiner), ("embedder", nets.network), ("liveness", nets.person))
    }
    said = {"runtime": nets.runtime, "machine": platform.machine(), "python": platform.python_version()}
    print("rig-outputs " + json.dumps(said | {"noise": raw, "photos": {name: seen(nets, name) for name in photos}}))


def seen(nets: faces.Faces, photo: str) -> dict[str, object]:
    """Return what the gate makes of a photo."""
    settings = config.defaults()
    # As fast as it is taken.
    with open_camera(msgspec.structs.replace(settings.camera, source=photo, paced=False)) as camera:
        frame = next(iter(camera.frames()))
    bounds = look.bounds_of(settings.quality)
    found = look.sight(nets, nets.gallery([]), frame.main, frame.lores, at_s=0, bounds=bounds)
    assert found is not None
    assert found.probe is not None
    return {
        "box": list(map(float, found.face.box)),
        "landmarks": np.asarray(found.face.landmarks, float).ravel().tolist(),
        "score": float(found.face.score),
        "masked": found.masked,
        "live": found.live,
        "probe": found.probe.tolist(),
    }


main(sys.argv[2:])
