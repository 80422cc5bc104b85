"""What a method cannot do is told apart from what went wrong."""

import numpy as np
import pytest
import torch

from evaluation.errors import NotAvailableError
from evaluation.inference import predict_batches
from models.method import Method


class Blind(Method):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))


def test_a_method_without_such_predictions_is_not_available():
    method = Blind().train()
    with pytest.raises(NotAvailableError, match="Blind has no zero-shot classification"):
        predict_batches(method, np.zeros((2, 4, 4), np.uint8), lambda images: method.zero_shot(images, ["a"]))
    assert method.training


def test_rows_stay_in_order():
    pixels = np.arange(7, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    means, rows = predict_batches(
        Blind(), pixels, lambda images: (images.float().mean((1, 2, 3)), images[:, 0]), batch_size=3
    )
    np.testing.assert_array_equal(means, np.arange(7))
    assert rows.shape == (7, 4, 4)
    assert rows.dtype == np.float32
