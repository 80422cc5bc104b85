"""What a picture shows."""

import io

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image


def picture(content):
    """(height, width, 3) int."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def of_colour(content, colour, tolerance=12):
    """How many pixels have a colour, as matplotlib names them."""
    wanted = np.round(np.array(to_rgb(colour)) * 255)
    return int((abs(picture(content) - wanted) <= tolerance).all(axis=2).sum())
