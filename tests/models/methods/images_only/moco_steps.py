"""Steps of a small MoCo: by our loop, and by a literal simulation on plain tensors, one row after another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.distributed import rank
from models.encoders.image import ImageFeatures
from models.method import Batch
from models.methods.images_only.moco import Moco, MocoConfig
from tests.golden.replay import Replay
from training.config import TrainingConfig
from training.objective import Objective
from training.parallel.processes import share
from training.parallel.rows import own_rows

STEPS, PAIRS, SIDE, WIDTH, DIM, QUEUE, SEED = 20, 8, 3, 7, 5, 21, 5
RATE, MOMENTUM, DECAY, KEYS, TEMPERATURE = 0.1, 0.9, 1e-3, 0.9, 0.2
EPS, STATISTICS = 1e-5, 0.1  # of batch norm


class Stub(nn.Module):
    """Linear, batch norm, ReLU: an encoder that takes no time."""

    dim = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(SIDE * SIDE, WIDTH), nn.BatchNorm1d(WIDTH)

    def forward(self, images: Tensor) -> ImageFeatures:
        pooled = self.norm(self.linear(images.flatten(1))).relu()
        return ImageFeatures(pooled, pooled[:, None], (1, 1))


class Small(Moco):
    """Reads the numbers of the images as they are."""

    def prepare(self, images: Tensor) -> Tensor:
        return images


class Steps(Replay):
    """A run on given batches, of which each process has its rows."""

    def __init__(self, config: TrainingConfig, method: Moco, batches: list[Batch]) -> None:
        own = [batch.part(own_rows(config.batch_size, config.micro_batches)) for batch in batches]
        super().__init__(config, method, own, per_epoch=config.max_steps)
        self.objective = Objective(method, config.micro_batches)
        self.shared = share(self.objective, config, self.device)


def small_moco() -> Small:
    """With the same random weights every time."""
    torch.manual_seed(0)
    config = MocoConfig(
        image_weights="", head="linear", dimension=DIM, queue=QUEUE, key_momentum=KEYS, temperature=TEMPERATURE
    )
    return Small(config, Stub(), SIDE).double()


def given_batches(accumulate: int) -> list[Batch]:
    """Two views each of noise."""
    noise = torch.Generator().manual_seed(1)
    shape = (2, STEPS * accumulate, PAIRS, 1, SIDE, SIDE)
    views = torch.randn(shape, generator=noise, dtype=torch.float64)
    return [Batch(first, views=second) for first, second in zip(*views, strict=True)]


def state_by_our_loop(accumulate: int, micro_batches: int) -> dict[str, Tensor]:
    """Weights, statistics and queue after all steps, on this process of however many."""
    method = small_moco()
    config = TrainingConfig(
        "moco", batch_size=PAIRS, accumulate=accumulate, micro_batches=micro_batches, max_steps=STEPS, optimizer="sgd",
        learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY, decay="all", schedule="constant", warmup_epochs=0.0,
    )  # fmt: skip
    Steps(config, method, given_batches(accumulate)).run(STEPS)
    return method.state_dict()


def state_by_the_paper(accumulate: int, micro_batches: int) -> dict[str, Tensor]:
    """The same, written out."""
    start = {name: value.clone() for name, value in small_moco().state_dict().items()}
    names = ("linear.weight", "linear.bias", "norm.weight", "norm.bias")
    queries = {f"image_encoder.{name}": start[f"image_encoder.{name}"] for name in names}
    queries |= {f"head.{name}": start[f"head.{name}"] for name in ("weight", "bias")}
    keys = {of_keys(name): value.clone() for name, value in queries.items()}
    velocity = {name: torch.zeros_like(value) for name, value in queries.items()}
    queue, place = list(start["queue.keys"]), 0
    batches = iter(given_batches(accumulate))
    for _ in range(STEPS):
        for name, value in queries.items():
            keys[of_keys(name)] = KEYS * keys[of_keys(name)] + (1 - KEYS) * value
        leaves = {name: value.clone().requires_grad_() for name, value in queries.items()}
        loss, new = torch.zeros(()), []
        for _ in range(accumulate):
            batch = next(batches)
            for piece in range(micro_batches):  # batch norm sees a part at a time
                rows = slice(piece * PAIRS // micro_batches, (piece + 1) * PAIRS // micro_batches)
                found = encode(batch.images[rows], leaves, "image_encoder", "head", start)
                wanted = encode(batch.views[rows], keys, "key_encoder", "key_head", start)
                for query, key in zip(found, wanted, strict=True):
                    logits = torch.stack([query @ other for other in [key, *queue]]) / TEMPERATURE
                    loss = loss - (logits[0] - logits.exp().sum().log()) / (PAIRS * accumulate)
                new += list(wanted)
        loss.backward()
        for name, leaf in leaves.items():
            velocity[name] = MOMENTUM * velocity[name] + leaf.grad + DECAY * queries[name]
            queries[name] = queries[name] - RATE * velocity[name]
        for key in new:
            queue[place], place = key, (place + 1) % QUEUE
    return {**start, **queries, **keys, "queue.keys": torch.stack(queue), "queue.place": torch.tensor(place)}


def shuffled_keys() -> Tensor:
    """Keys of this process's rows, batch norm being that of each process; the first process's numbers count."""
    method = small_moco().train()
    batch = given_batches(1)[0].part(own_rows(PAIRS))
    torch.manual_seed(SEED + rank())
    return method.encode(batch)["keys"]


def shuffled_keys_by_the_paper() -> Tensor:
    """Those of all rows: each half of a permutation has batch norm of its own."""
    state = {name: value.clone() for name, value in small_moco().state_dict().items()}
    views, keys = given_batches(1)[0].views, torch.empty(PAIRS, DIM, dtype=torch.float64)
    torch.manual_seed(SEED)
    for half in torch.randperm(PAIRS).chunk(2):
        keys[half] = encode(views[half], state, "key_encoder", "key_head", state)
    return keys


def of_keys(name: str) -> str:
    return name.replace("image_encoder", "key_encoder") if "encoder" in name else f"key_{name}"


def encode(rows: Tensor, weights: dict, encoder: str, head: str, statistics: dict) -> Tensor:
    """(rows, DIM) of unit length; the running `statistics` of this encoder are moved."""
    hidden = rows.flatten(1) @ weights[f"{encoder}.linear.weight"].T + weights[f"{encoder}.linear.bias"]
    mean = hidden.mean(0)
    variance = (hidden - mean).square().mean(0)
    with torch.no_grad():
        seen = {"running_mean": mean, "running_var": variance * len(rows) / (len(rows) - 1)}
        for name, value in seen.items():
            old = statistics[f"{encoder}.norm.{name}"]
            statistics[f"{encoder}.norm.{name}"] = (1 - STATISTICS) * old + STATISTICS * value
        statistics[f"{encoder}.norm.num_batches_tracked"] = statistics[f"{encoder}.norm.num_batches_tracked"] + 1
    normal = (hidden - mean) / (variance + EPS).sqrt()
    pooled = (normal * weights[f"{encoder}.norm.weight"] + weights[f"{encoder}.norm.bias"]).clamp(min=0)
    return F.normalize(pooled @ weights[f"{head}.weight"].T + weights[f"{head}.bias"], dim=-1)
