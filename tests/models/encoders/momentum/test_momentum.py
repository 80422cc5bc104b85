"""A follower is a moving average of parameters alone; a queue keeps the last keys, whatever their number."""

import pytest
import torch
from torch import nn

from models.encoders.batch_norm import share_batch_norm
from models.encoders.momentum import shuffle
from models.encoders.momentum.average import follow, follower_of
from models.encoders.momentum.queue import KeyQueue
from models.encoders.momentum.shuffle import encode_keys, encode_shuffled, has_own_statistics
from tests.models.processes import Processes


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()


def test_a_follower_starts_as_a_copy_and_averages_parameters():
    leader = network()
    follower = follower_of(leader)
    assert not any(weights.requires_grad for weights in follower.parameters())
    assert all(weights.requires_grad for weights in leader.parameters())
    expected = {name: weights.detach().clone() for name, weights in follower.named_parameters()}
    statistics = follower[1].running_mean.clone()
    for _ in range(3):
        with torch.no_grad():
            for weights in leader.parameters():
                weights.add_(torch.randn_like(weights))
        leader(torch.randn(5, 3, dtype=torch.float64))  # moves the leader's statistics
        follow(follower, leader, 0.9)
        for name, weights in leader.named_parameters():
            expected[name] = 0.9 * expected[name] + 0.1 * weights.detach()
    for name, weights in follower.named_parameters():
        torch.testing.assert_close(weights, expected[name])
    assert torch.equal(follower[1].running_mean, statistics)


def test_a_queue_begins_with_directions_and_is_in_the_state():
    queue = KeyQueue(5, 3)
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(5))
    assert set(queue.state_dict()) == {"keys", "place"}


@pytest.mark.parametrize("counts", [[2, 2, 2], [4, 4, 4], [5], [3, 7, 1], [12, 1], [1] * 9])
def test_a_queue_keeps_the_last_keys_in_the_places_of_the_oldest(counts):
    queue, given = KeyQueue(5, 1), torch.arange(100.0)[:, None]
    literal, place, number = queue.keys[:, 0].tolist(), 0, 0
    for count in counts:
        for key in given[number : number + count]:
            literal[place] = key.item()
            place = (place + 1) % 5
        queue.add(given[number : number + count])
        number += count
        queue.write()
    assert queue.keys[:, 0].tolist() == literal
    assert queue.place.item() == place


def test_keys_wait_for_the_end_of_the_step():
    queue = KeyQueue(5, 1)
    before = queue.keys.clone()
    queue.add(torch.full((2, 1), 7.0, requires_grad=True))
    queue.add(torch.full((2, 1), 8.0))
    assert torch.equal(queue.keys, before)
    queue.write()
    assert queue.keys[:4, 0].tolist() == [7, 7, 8, 8]
    assert not queue.keys.requires_grad
    queue.write()
    assert queue.place.item() == 4


def test_only_batch_norm_of_each_process_needs_a_shuffle(monkeypatch):
    norm = network()
    assert not has_own_statistics(norm)
    monkeypatch.setattr(shuffle, "world_size", lambda: 2)
    assert has_own_statistics(norm)
    assert not has_own_statistics(nn.Linear(2, 2))
    assert not has_own_statistics(norm.eval())
    norm.train()
    share_batch_norm(norm)
    assert not has_own_statistics(norm)


def test_a_shuffle_mixes_the_rows_of_processes_and_puts_them_back(monkeypatch):
    """Each process's encoder adds the mean of the rows that it sees, as batch norm would."""
    processes, seen = Processes(2), {}

    def rank():
        import threading

        return int(threading.current_thread().name)

    def broadcast(order, source):
        order.copy_(processes.gather(order)[: len(order)])

    monkeypatch.setattr(shuffle, "gather", processes.gather)
    monkeypatch.setattr(shuffle, "rank", rank)
    monkeypatch.setattr(shuffle, "world_size", lambda: 2)
    monkeypatch.setattr(shuffle.dist, "broadcast", broadcast)
    rows = torch.arange(12.0)[:, None]

    def encode(images):
        seen[rank()] = images[:, 0].tolist()
        return images + 100 * images.mean()

    torch.manual_seed(0)
    found = torch.cat(processes.run(lambda index: encode_shuffled(encode, rows[6 * index : 6 * index + 6])))
    assert sorted(seen[0] + seen[1]) == rows[:, 0].tolist()
    assert set(seen[0]) != set(range(6))
    for process in (0, 1):
        for row in seen[process]:
            assert found[int(row)].item() == row + 100 * sum(seen[process]) / 6


def test_one_process_encodes_as_it_is():
    rows = torch.arange(3.0)[:, None]
    assert torch.equal(encode_keys(network(), lambda images: images * 2, rows), rows * 2)
