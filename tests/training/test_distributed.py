"""Two processes with half a batch each do what one does with the whole: losses and gradients, for every method."""

import pytest
import torch
import torch.multiprocessing as multiprocessing

from models.registry import method_names
from tests.training.two_processes import TYPES, losses_and_gradients, work
from training.config import TrainingConfig
from training.distributed import share
from training.errors import TrainingError
from training.objective import Objective

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
SMALL = 1e-3  # of the whole gradient: what is smaller is compared with this share of it


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(work, (folder,), nprocs=2)
    return folder


def difference(found: dict, expected: dict) -> float:
    """The largest relative difference of a loss term or of a parameter's gradient."""
    assert found.keys() == expected.keys()
    whole = torch.stack([value.norm() for key, value in expected.items() if key.startswith("gradient")]).norm()
    scale = {
        key: max(value.norm(), SMALL * whole) if "gradient" in key else value.abs() for key, value in expected.items()
    }
    return max(float((found[key] - expected[key]).norm() / scale[key]) for key in expected)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", method_names())
def test_two_processes_are_one(results, name, dtype):
    expected = losses_and_gradients(name, dtype)
    for process in (0, 1):
        assert difference(torch.load(results / f"{name} {dtype} {process}"), expected) < TOLERANCE[dtype]


def test_a_gather_without_gradient_would_be_noticed(results):
    expected, found = losses_and_gradients("convirt", torch.float64), torch.load(results / "without gradient 0")
    torch.testing.assert_close(found["loss contrast"], expected["loss contrast"], rtol=1e-12, atol=0)
    assert difference(found, expected) > 0.4


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", method_names())
def test_chunks_give_the_gradients_of_the_whole_batch(name, dtype):
    expected, found = losses_and_gradients(name, dtype), losses_and_gradients(name, dtype, chunks=4)
    assert difference(found, expected) < TOLERANCE[dtype]


def test_a_batch_is_cut_evenly(monkeypatch):
    monkeypatch.setattr("training.distributed.world_size", lambda: 3)
    with pytest.raises(TrainingError, match="multiple of processes times chunks, 3 x 2"):
        share(Objective.__new__(Objective), TrainingConfig("toy", batch_size=8, chunks=2), torch.device("cpu"))
