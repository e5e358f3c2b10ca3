"""Cut the people out of their photos: write PHOTO.matte.png beside the photos that visits are made from.

Run once by hand, with OpenCV installed (the project itself does not need it), then look at the mattes:
`python tests/data/make_mattes.py`. GrabCut starts from an ellipse around the head and a trapezium below it, whose
places are noted here: middle and height of the face in the photo.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

PEOPLE = Path(__file__).parent / "people"
FACES = {
    "Obama/speech.jpg": (251, 322, 304),
    "Obama/blue_room.jpg": (502, 280, 228),
    "Biden/blue_room.jpg": (410, 267, 280),
    "Collins/portrait.jpg": (223, 120, 114),
    "Noah/close.jpg": (215, 168, 149),
}
"""Photo to the middle (x, y) of the face and its height, pixels."""
CROWNS = {
    "Obama/speech.jpg": (262, 212, 80, 76),
    "Collins/portrait.jpg": (228, 72, 62, 54),
}
"""Hair or hat that surely belongs to the person: middle (x, y), half width and half height of an ellipse, pixels."""


def matte(photo: np.ndarray, x: float, y: float, height: float, crown: tuple[int, ...] = ()) -> np.ndarray:
    """(h, w) uint8, 255 where the person is."""
    labels = np.full(photo.shape[:2], cv2.GC_BGD, np.uint8)
    paint(labels, x, y, height, 1.35, cv2.GC_PR_BGD)
    paint(labels, x, y, height, 1.1, cv2.GC_PR_FGD)
    paint(labels, x, y, height, 0.72, cv2.GC_FGD)
    if crown:
        cv2.ellipse(labels, crown[:2], (crown[2] + 12, crown[3] + 12), 0, 0, 360, cv2.GC_PR_FGD, -1)
        cv2.ellipse(labels, crown[:2], crown[2:], 0, 0, 360, cv2.GC_FGD, -1)
    cv2.setRNGSeed(2)
    cv2.grabCut(photo, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 8, cv2.GC_INIT_WITH_MASK)
    person = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(height / 40) + 1,) * 2)
    person = cv2.morphologyEx(cv2.morphologyEx(person, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel)
    _, parts = cv2.connectedComponents(person)
    only = (parts == parts[round(y), round(x)]).astype(np.float32)
    soft = cv2.GaussianBlur(only, (0, 0), max(0.8, height / 110))
    return (np.clip(soft * 1.6 - 0.6, 0, 1) * 255).astype(np.uint8)


def paint(labels: np.ndarray, x: float, y: float, height: float, grow: float, label: int) -> None:
    """Mark head, neck and trunk, `grow` times their usual width."""
    head = (round(height * 0.42 * grow), round(height * 0.60 * grow))
    cv2.ellipse(labels, (round(x), round(y - 0.06 * height)), head, 0, 0, 360, label, -1)
    bottom, chin = labels.shape[0], y + 0.42 * height
    neck, shoulders = 0.24 * grow * height, 1.15 * grow * height
    rows = [(-neck, chin), (-shoulders, chin + 0.55 * height / grow), (-shoulders, bottom)]
    trunk = rows + [(-dx, at) for dx, at in reversed(rows)]
    cv2.fillPoly(labels, [np.array([(x + dx, at) for dx, at in trunk], np.int32)], label)


def main() -> None:
    """Make every matte."""
    for name, (x, y, height) in FACES.items():
        path = PEOPLE / name
        cv2.imwrite(
            str(path.with_suffix(".matte.png")), matte(cv2.imread(str(path)), x, y, height, CROWNS.get(name, ()))
        )


if __name__ == "__main__":
    main()
