"""Run in a root: write a clip's frames as the JPEG files that libcamera's virtual camera shows, one after the other.

decode.py CLIP FOLDER
"""

import sys
from pathlib import Path

import av

with av.open(sys.argv[1]) as film:
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(film.decode(video=0)):
        frame.to_image().save(folder / f"{number}.jpg", quality=95)
