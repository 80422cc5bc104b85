"""Several networks answer with one voice."""

import pytest
import torch

from models.ensemble import Ensemble
from models.method import Method, ZeroShot


class Says(Method):
    """Answers everything with one number."""

    def __init__(self, value: float, grid: int = 3, kind: str = "label") -> None:
        super().__init__()
        self.value, self.grid, self.query_kind = value, grid, kind

    def zero_shot(self, images, queries):
        shape = (len(images), len(queries))
        return ZeroShot(torch.full(shape, self.value), torch.full((*shape, self.grid, self.grid), self.value))

    def similarity(self, images, texts):
        return torch.full((len(images), len(texts)), self.value)

    def image_features(self, images):
        return torch.full((len(images), self.grid), self.value)


def test_answers_are_averaged_and_features_stand_side_by_side():
    ensemble, images = Ensemble([Says(0.1), Says(0.5)]), torch.zeros(2, 1, 8, 8)
    answer = ensemble.zero_shot(images, ["Edema"])
    torch.testing.assert_close(answer.scores, torch.full((2, 1), 0.3))
    torch.testing.assert_close(answer.maps, torch.full((2, 1, 3, 3), 0.3))
    torch.testing.assert_close(ensemble.similarity(images, ["a", "b"]), torch.full((2, 2), 0.3))
    assert ensemble.image_features(images).tolist() == [pytest.approx([0.1] * 3 + [0.5] * 3)] * 2


def test_networks_that_do_not_fit_are_one_sentence():
    with pytest.raises(ValueError, match="at least one"):
        Ensemble([])
    with pytest.raises(ValueError, match="the same kind of query"):
        Ensemble([Says(0.1), Says(0.1, kind="entity")])
    with pytest.raises(ValueError, match="maps are of one size"):
        Ensemble([Says(0.1), Says(0.1, grid=5)]).zero_shot(torch.zeros(1, 1, 8, 8), ["Edema"])
