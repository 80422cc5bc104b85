"""What a method cannot do is told apart from what went wrong."""

import numpy as np
import pytest
import torch

from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.inference import predict_batches, run_zero_shot
from models.method import Method, ZeroShot
from shards.reader import ShardData, Triplets


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


class Brightness(Method):
    """Scores an image by its mean, times the query's length; attends to its four quarters."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))

    def zero_shot(self, images, queries):
        assert not self.training
        assert torch.is_inference_mode_enabled()
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (1, 4, 4)
        lengths = self.factor * torch.tensor([float(len(query)) for query in queries])
        quarters = torch.nn.functional.avg_pool2d(images.double(), 2) / 255
        maps = quarters * lengths[:, None, None]
        return ZeroShot(maps.mean((2, 3)).bfloat16(), maps)


def shard_data(rows):
    rng = np.random.default_rng(0)
    names = np.array([f"i{row}" for row in range(rows)], dtype=object)
    pixels = rng.integers(0, 256, (rows, 4, 4), dtype=np.uint8)
    sizes = np.full(rows, 4)
    none = Triplets(*(np.zeros(0, np.int64) for _ in Triplets._fields))
    return ShardData(names, names, names, names, names, pixels, sizes, sizes, [], [], none, {})


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_all_rows_in_order_whatever_the_batch(batch_size):
    data, seen = shard_data(7), []
    method = Brightness().train()
    output = run_zero_shot(method, data, ["ab", "abc"], batch_size, lambda *done: seen.append(done))
    assert output.scores.shape == (7, 2)
    assert output.maps.shape == (7, 2, 2, 2)
    assert output.scores.dtype == output.maps.dtype == np.float32
    means = data.pixels.mean((1, 2)) / 255
    np.testing.assert_allclose(output.scores, means[:, None] * [2, 3], rtol=1e-2)
    np.testing.assert_allclose(output.maps.mean((2, 3)), means[:, None] * [2, 3], rtol=1e-6)
    assert seen[-1] == (7, 7)
    assert len(seen) == -(-7 // batch_size)
    assert method.training


def test_an_empty_split_is_said():
    with pytest.raises(EvaluationError, match="no images to evaluate"):
        run_zero_shot(Brightness(), shard_data(0), ["a"])
