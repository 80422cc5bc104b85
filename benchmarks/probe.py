"""`python -m benchmarks.probe [--images N] [--epochs N] [--json]`: a linear probe on features that are computed once.

MGCA's probe (AdamW 5e-4, weight decay 1e-6, 48 images a step, 50 epochs, validation after each) is trained twice in one
run, in CPU time of one core: with the frozen encoder asked for every image in every epoch, as the published codes do,
and on features that were computed once, whose time is counted too. Both start from the same layer and see the images in
the same order, so that their scores must be equal. The images are noise, brighter in the middle for one label, striped
for the other; the encoder is a ResNet-18 with random weights. What scikit-learn needs for the same classifier on the
same features, as our tables do it, is shown beside.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from evaluation.learning.fitting import FitOptions, fit, image_tensor, seeded
from evaluation.tasks.linear_probe import Labelled, predict
from models.encoders.image import ImageEncoder

SIZE = 64  # pixels
BAR = 20.0
EQUAL = 1e-4  # logits of both ways may differ by this much: a batch of another size adds up in another order
PROBE = FitOptions(learning_rate=5e-4, weight_decay=1e-6, batch_size=48, epochs=50, patience=0)  # MGCA 4.2
CPU = torch.device("cpu")


def draw(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, SIZE, SIZE) of noise and their labels (n, 2): bright in the middle, striped."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 160, (images, SIZE, SIZE)).astype(np.uint8)
    labels = rng.integers(0, 2, (images, 2)).astype(np.float32)
    pixels[labels[:, 0] == 1, 16:48, 16:48] += 20
    pixels[labels[:, 1] == 1, :, ::4] += 20
    return pixels, labels


def encode(encoder: ImageEncoder, pixels: np.ndarray) -> Tensor:
    """(n, dim) features of `pixels`."""
    with torch.no_grad():
        images = image_tensor(pixels, np.arange(len(pixels)), CPU).float()
        return encoder((images - 128) / 64).pooled


def train(
    features: Callable[[np.ndarray], Tensor],
    held_out: Callable[[], Tensor],
    labels: np.ndarray,
    held_out_labels: np.ndarray,
    dim: int,
    options: FitOptions,
) -> nn.Linear:
    """A linear layer on what `features` gives of the rows it is asked for."""
    targets = torch.from_numpy(labels)
    with seeded(0, CPU):
        head = nn.Linear(dim, labels.shape[1])

        def validate() -> float:
            with torch.no_grad():
                return float(roc_auc_score(held_out_labels, head(held_out()).numpy()))

        def loss_of(rows: np.ndarray) -> Tensor:
            return F.binary_cross_entropy_with_logits(head(features(rows)), targets[rows])

        fit(head, loss_of, len(labels), validate, options, seed=0)
    return head


def in_blocks(encoder: ImageEncoder, pixels: np.ndarray, size: int) -> Tensor:
    """The features of all images, some at a time."""
    parts = [encode(encoder, pixels[start : start + size]) for start in range(0, len(pixels), size)]
    return torch.cat(parts)


def measure(images: int, epochs: int) -> dict[str, float]:
    """Seconds of both ways and of scikit-learn, their AUROC on images that neither has seen, and their difference."""
    encoder = ImageEncoder("resnet18", SIZE, "").eval()
    options = FitOptions(**{**vars(PROBE), "epochs": epochs})
    (seen, labels), (held, held_labels), (test, truth) = draw(images, 0), draw(images // 4, 1), draw(images // 2, 2)
    block = options.batch_size
    test_features = in_blocks(encoder, test, block)

    begun = time.process_time()
    kept, kept_held = in_blocks(encoder, seen, block), in_blocks(encoder, held, block)
    once = time.process_time() - begun
    cached = train(lambda rows: kept[rows], lambda: kept_held, labels, held_labels, encoder.dim, options)
    cached_seconds = time.process_time() - begun

    begun = time.process_time()
    encoded = train(
        lambda rows: encode(encoder, seen[rows]),
        lambda: in_blocks(encoder, held, block),
        labels,
        held_labels,
        encoder.dim,
        options,
    )
    encoded_seconds = time.process_time() - begun

    begun = time.process_time()
    subjects = np.arange(images)
    ours = predict(
        Labelled(kept.numpy(), labels, subjects),
        Labelled(kept_held.numpy(), held_labels, subjects[: len(held)]),
        test_features.numpy(),
    )
    with torch.no_grad():
        logits = [head(test_features).numpy() for head in (cached, encoded)]
    return {
        "images": images,
        "epochs": epochs,
        "encoding every epoch, s": encoded_seconds,
        "cached, s": cached_seconds,
        "of which encoding once, s": once,
        "scikit-learn on cached features, s": time.process_time() - begun,
        "times faster": encoded_seconds / cached_seconds,
        "largest difference of logits": float(np.abs(logits[0] - logits[1]).max()),
        "AUROC encoding every epoch": float(roc_auc_score(truth, logits[1])),
        "AUROC cached": float(roc_auc_score(truth, logits[0])),
        "AUROC scikit-learn": float(roc_auc_score(truth, ours)),
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the measurement; the exit status says whether the bar is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe", description=__doc__)
    parser.add_argument("--images", type=int, default=480, help="to learn from")
    parser.add_argument("--epochs", type=int, default=PROBE.epochs)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found: dict[str, Any] = measure(options.images, options.epochs)
    passed = found["times faster"] >= BAR and found["largest difference of logits"] <= EQUAL
    lines = [f"{name:36} {value:10.4g}" for name, value in found.items()]
    verdict = f"{'met' if passed else 'NOT MET'}: at least {BAR:g} times faster, logits equal to {EQUAL:g}"
    sys.stdout.write(json.dumps({**found, "passed": passed}) if options.json else "\n".join([*lines, verdict]))
    sys.stdout.write("\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
