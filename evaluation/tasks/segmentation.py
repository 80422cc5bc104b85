"""Segmentation: a U-Net's decoder on the maps of the image encoder, which stays frozen (MGCA) or is tuned (MedKLIP).

The decoder is that of segmentation_models_pytorch, as in MGCA (arXiv 2210.06044, 4.2), or MedKLIP's ResUNet; the one
map of a transformer is enlarged step by step (SETR's PUP, arXiv 2012.15840). An image is scored by itself, at a
probability of 0.5 and at the size of its mask. One without a mask scores 1 if nothing is predicted, else 0;
`dice_positive` leaves such images out.

What the published codes do and this does not: splits are made over the rows of a table that has several per image, so
that a third of SIIM's positive test images are trained on (GLoRIA, MGCA); the batch norms of a frozen encoder go on
counting, and masks are resized before they are turned with their image (MGCA), while here both are moved as one at
their own size; the Dice of a test set is a mean over batches (MGCA) or lacks its last images (MedKLIP), while here it
is the mean over all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohorts.dataset import MASKS
from evaluation.errors import EvaluationError
from evaluation.metrics.values import ResultValue
from evaluation.tasks.base import BOTH, REGION_TABLE, Setting, Task
from store.settings import setting as option

if TYPE_CHECKING:
    from evaluation.predictions import Predictions

LOSSES = ("mgca", "medklip")
DECODERS = ("unet", "resunet")


@dataclass(frozen=True)
class SegmentationSettings:
    """How a decoder is trained; the defaults are MGCA's."""

    loss: str = option("mgca", "mgca: 10 x focal - log(Dice); medklip: binary cross entropy + 1 - Dice.")
    decoder: str = option(
        "unet", "unet: of segmentation_models_pytorch; resunet: MedKLIP's, whose last step reads the image (width: 64)."
    )
    width: int = option(16, "Channels of the decoder's last block; every block before it has twice as many.", least=1)
    learning_rate: float = option(2e-4, "Constant; MGCA's scripts: 5e-4.", least=0.0)
    optimizer: str = option("adamw", "adamw or adam.")
    weight_decay: float = option(0.05, "Weight decay of kernels.", least=0.0)
    batch_size: int = option(16, "Images in a step.", least=1)
    epochs: int = option(50, "Epochs at most.", least=1)
    patience: int = option(10, "Validations without a lower loss after which it ends; 0: never.", least=0)
    maximum_steps: int = option(0, "Steps at most in all; 0: as many as the epochs have.", least=0)
    validate_every: int = option(
        0, "Steps at least between two validations, for fractions whose epochs are short.", least=0
    )
    augmented: float = option(0.5, "Share of the images that are moved, together with their masks.", least=0.0)
    rotation: float = option(10.0, "Random rotation, degrees either way.", least=0.0)
    scaling: float = option(0.1, "0.1 means 0.9 to 1.1 times as large.", least=0.0)
    translation: float = option(0.0, "Random shift, share of the side either way.", least=0.0)

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise EvaluationError(f"loss is `{self.loss}`, but must be one of {', '.join(LOSSES)}.")
        if self.decoder not in DECODERS:
            raise EvaluationError(f"decoder is `{self.decoder}`, but must be one of {', '.join(DECODERS)}.")


class Segmentation(Task):
    """Regions that a U-Net finds whose encoder is the network, frozen or tuned, as in MGCA and MedKLIP."""

    name = "segmentation"
    purpose = MASKS
    only_images = "a mask lies on one image."
    leading = "dice"
    selection = "The epoch that is kept is the best on the validate split."
    learning = BOTH
    reads = (REGION_TABLE,)
    settings = SegmentationSettings

    def score(
        self, predictions: Predictions, setting: Setting, settings: SegmentationSettings
    ) -> Sequence[ResultValue]:
        """Mean Dice and IoU of all images, and mean Dice of those with a mask."""
        from evaluation.learning.annotated import MaskedImages
        from evaluation.learning.segmenter import fit_and_score

        assert setting.fraction is not None
        dataset = predictions.dataset
        train, validate, test = (
            MaskedImages(images, dataset.joined_masks(images))
            for images in dataset.splits(setting.fraction, setting.repeat)
        )
        if not len(train) or not test.masks.any():
            return []
        region = " and ".join(dataset.facts.regions)
        return fit_and_score(predictions.method, train, validate, test, region, settings, setting.repeat, setting.tuned)
