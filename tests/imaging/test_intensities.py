"""Changes of grey levels are those of Pillow and SciPy, sample by sample."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter

from imaging.intensities import adjust_brightness, adjust_contrast, adjust_sharpness, blur, equalise, stretch_contrast

GENERATOR = torch.Generator().manual_seed(0)
LEVELS = torch.randint(30, 200, (4, 1, 24, 24), dtype=torch.uint8, generator=GENERATOR)
LEVELS[1] = 77  # an even image
LEVELS[2, :, :12] = 0


def pillow(change) -> torch.Tensor:
    images = [change(Image.fromarray(image[0].numpy())) for image in LEVELS]
    return torch.from_numpy(np.stack([np.asarray(image) for image in images]))[:, None].float()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (equalise, ImageOps.equalize),
        (stretch_contrast, ImageOps.autocontrast),
        (lambda images: adjust_brightness(images, 1.36), lambda image: ImageEnhance.Brightness(image).enhance(1.36)),
        (lambda images: adjust_contrast(images, 0.6), lambda image: ImageEnhance.Contrast(image).enhance(0.6)),
        (lambda images: adjust_sharpness(images, 1.36), lambda image: ImageEnhance.Sharpness(image).enhance(1.36)),
    ],
)
def test_what_pillow_does(ours, theirs):
    assert (ours(LEVELS.float()) - pillow(theirs)).abs().max() < 1.4  # Pillow rounds, some of it twice


def test_equalising_is_exact():
    assert torch.equal(equalise(LEVELS.float()), pillow(ImageOps.equalize))


def test_every_sample_is_blurred_by_its_own_deviation():
    images, sigma = torch.rand(3, 1, 32, 32, generator=GENERATOR) * 255, torch.tensor([0.1, 1.0, 3.0])
    expected = np.stack(
        [gaussian_filter(image[0].numpy(), float(s), truncate=10) for image, s in zip(images, sigma, strict=True)]
    )
    inner = (..., slice(14, 18), slice(14, 18))  # borders are continued in another way
    np.testing.assert_allclose(blur(images, sigma)[:, 0].numpy()[inner], expected[inner], atol=1e-2)
    assert torch.allclose(blur(torch.full((3, 1, 32, 32), 9.0), sigma), torch.tensor(9.0))


def test_samples_take_their_own_factors():
    images = LEVELS[:1].repeat(2, 1, 1, 1).float()
    factor = torch.tensor([0.5, 1.0])[:, None, None, None]
    assert torch.allclose(adjust_brightness(images, factor)[0], images[0] / 2)
    assert torch.allclose(adjust_contrast(images, factor)[1], images[1])
    assert adjust_contrast(images, factor)[0].std() == pytest.approx(float(images[0].std()) / 2)
