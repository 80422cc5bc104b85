"""Images that stand for radiographs of different patients."""

import cv2
import numpy as np


def random_images(seed, n=40, size=128):
    """(n, size, size) uint8 smooth random pictures, which stay within 5..250."""
    coarse = np.random.default_rng(seed).random((n, 12, 12)).astype(np.float32) * 255
    fine = [cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in coarse]
    return np.stack(fine).clip(5, 250).astype(np.uint8)
