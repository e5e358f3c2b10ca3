"""Loaded into every Python of a root with a virtual camera (by a .pth file): what an unmodified Picamera2 lacks there.

libcamera's virtual camera has no raw stream, writes NV12 into two planes, makes frames as fast as it is asked for them,
and is nobody's alone. Picamera2, once imported, is told of the first two; buffers are given back to the camera at its
frame rate; and the last, with what an owner's hands do to a cable, are files in /run/rig-camera:
    taken     held locked by whoever has the camera, as the kernel does with a real one
    pulled    while it is there, the camera delivers nothing
Stand-ins are made for two modules that Picamera2 imports and a headless gate never uses: pykms draws previews by DRM,
pidng writes raw files.
"""

import fcntl
import importlib.util
import os
import sys
import threading
import time
import types
from importlib.abc import MetaPathFinder
from pathlib import Path

FOLDER = Path("/run/rig-camera")
PERIOD_S = 1 / 15


class _Names(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name


def _stand_ins():
    """Put the two modules where an import finds them."""
    for name, *names in (
        ("pykms", "PixelFormat"),
        ("pidng",),
        ("pidng.camdefs", "Picamera2Camera"),
        ("pidng.core", "PICAM2DNG"),
    ):
        module = types.ModuleType(name)
        module.__path__ = []
        for word in names:
            setattr(module, word, _Names(word, (), {}))
        sys.modules.setdefault(name, module)


class _AfterPicamera2(MetaPathFinder):
    """Waits for the import of picamera2, and adapts it when it is done."""

    def find_spec(self, name, path=None, target=None):
        if name != "picamera2":
            return None
        sys.meta_path.remove(self)
        _stand_ins()
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            _adapt(module)

        spec.loader.exec_module = exec_module
        return spec


def _adapt(package):
    """Tell Picamera2 of a camera that is not a sensor's."""
    import libcamera
    from picamera2.allocators import LibcameraAllocator

    main = sys.modules["picamera2.picamera2"]
    picamera2 = package.Picamera2
    request = sys.modules["picamera2.request"].CompletedRequest
    raw_modes, opened, closed, released = (
        picamera2._get_raw_modes, picamera2._open_camera, picamera2.close, request.release
    )  # fmt: skip

    def _get_raw_modes(self):
        if "ColorFilterArrangement" in self.camera_properties:
            return raw_modes(self)
        formats = self.camera.generate_configuration([libcamera.StreamRole.Viewfinder]).at(0).formats
        return [
            {"format": str(pixel), "size": (size.width, size.height)}
            for pixel in formats.pixel_formats
            for size in formats.sizes(pixel)
        ]

    def _open_camera(self):
        if (FOLDER / "pulled").exists():
            raise RuntimeError("Failed to initialize camera")
        self.rig_lock = _taken()
        try:
            opened(self)
        except BaseException:
            os.close(self.rig_lock)
            raise
        # Picamera2's own allocator makes one plane of a buffer; the virtual camera wants two.
        main.DmaAllocator = lambda: LibcameraAllocator(self.camera)
        threading.Thread(target=_pull, args=(self,), daemon=True).start()

    def release(self):
        """Give a buffer back no sooner than a frame's time after the one before."""
        now_s = time.monotonic()
        self.picam2.rig_next_s = max(now_s, getattr(self.picam2, "rig_next_s", 0.0) + PERIOD_S)
        timer = threading.Timer(self.picam2.rig_next_s - now_s, released, (self,))
        timer.daemon = True
        timer.start()

    def close(self):
        closed(self)
        if getattr(self, "rig_lock", None) is not None:
            os.close(self.rig_lock)
            self.rig_lock = None

    picamera2._get_raw_modes, picamera2._open_camera, picamera2.close = _get_raw_modes, _open_camera, close
    request.release = release


def _taken():
    """Take the camera; RuntimeError, as libcamera's, when another process has it."""
    lock = os.open(FOLDER / "taken", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise RuntimeError("Failed to acquire camera: Device or resource busy") from None
    return lock


def _pull(picam2):
    """Stop the camera under Picamera2's feet when the cable is pulled."""
    while getattr(picam2, "rig_lock", None) is not None:
        if (FOLDER / "pulled").exists():
            picam2.camera.stop()
            return
        time.sleep(0.1)


sys.meta_path.insert(0, _AfterPicamera2())
