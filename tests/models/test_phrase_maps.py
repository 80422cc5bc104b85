"""Where a phrase points in its own image: every method has an answer, and no image's depends on its neighbours."""

import pytest
import torch

from models.method import Method
from models.registry import method_names
from tests.models.tiny import tiny_batch, tiny_method

PHRASES = ["left pleural effusion", "lungs are clear", "no nodule"]


WITH_MAPS = [name for name in method_names() if type(tiny_method(name)).phrase_maps is not Method.phrase_maps]


def test_the_six_of_the_papers_point():
    assert {"chexzero", "convirt", "gloria", "lrclr", "medklip", "mgca"} <= set(WITH_MAPS)


@pytest.mark.parametrize("name", WITH_MAPS)
def test_every_image_is_asked_for_its_own_phrase(name):
    method = tiny_method(name).eval()
    images = tiny_batch(method, len(PHRASES)).images
    with torch.inference_mode():
        together = method.phrase_maps(images, PHRASES)
        alone = [method.phrase_maps(images[[row]], [phrase])[0] for row, phrase in enumerate(PHRASES)]
        turned = method.phrase_maps(images, PHRASES[::-1])
    assert together.ndim == 3
    assert len(together) == len(PHRASES)
    assert (together >= 0).all()
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(together[1], turned[1], rtol=1e-4, atol=1e-6)  # whose phrase stayed
    assert not torch.equal(together[0], turned[0])
