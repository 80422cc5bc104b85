"""Whole trainings by our loop are those of the authors' code: losses, rates, gradients and the weights at the end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

import models.methods.medklip.network as medklip
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.method import Batch, Method, Tokens
from models.methods.chexzero.config import ChexzeroConfig
from models.methods.chexzero.network import Chexzero
from models.methods.gloria.config import GloriaConfig
from models.methods.gloria.network import Gloria
from models.methods.medklip.config import MedklipConfig
from models.methods.medklip.network import FrozenTexts, Medklip
from models.methods.mgca.config import MgcaConfig
from models.methods.mgca.network import Mgca
from models.text.tokenizer import WordPieceTokenizer
from tests.golden.conftest import golden_files, load
from tests.golden.replay import Replay, images_of, tokens_of, variant_of
from tests.golden.test_chexzero import Vocabulary
from tests.golden.test_mgca import our_name as mgca_name
from training.config import TrainingConfig

DTYPE = {"32": torch.float32, "64": torch.float64}
# Relative tolerance of float64 by how far float32 drifts from it: where that is far, rounding is amplified.
EXACT = 1e-8
AMPLIFIED = ((1e-2, EXACT), (1e-1, 1e-6), (float("inf"), 1e-5))
FIRST, FEWER, SINGLE, STEADY = 5, 3, 1e-4, 1e-3  # steps of float32 that are compared, and how
DIGEST = 1e-7  # absolute, of weights at the end
FACTS = {"learning_rate": "lr", "train/loss": "loss", "gradient_norm": "grad_norm"}  # ours -> theirs

Arrays = dict[str, np.ndarray]


class Stages(nn.Module):
    """The small residual network of the files, with the interface of timm's."""

    def __init__(self, widths: list[int], channels: int, stages: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 7, 2, 3, bias=False)
        self.bn1, self.stages = nn.BatchNorm2d(widths[0]), stages
        for number in range(1, stages + 1):
            before, width, stride = widths[number - 1], widths[number], 1 if number == 1 else 2
            beside = None
            if before != width or stride > 1:
                beside = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            self.add_module(f"layer{number}", nn.Sequential(BasicBlock(before, width, stride, beside)))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = [self.bn1(self.conv1(images)).relu()]
        hidden = F.max_pool2d(maps[0], 3, 2, 1)
        for number in range(1, self.stages + 1):
            hidden = self.get_submodule(f"layer{number}")(hidden)
            maps.append(hidden)
        return maps

    def forward_intermediates(
        self, images: torch.Tensor, indices: list[int]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        maps = self(images)
        return maps[-1], [maps[index] for index in indices]


class Trunk(ImageEncoder):
    """An image encoder with these stages, in the place of ResNet-50; local features are those of the third."""

    def __init__(self, arrays: Arrays, stops: bool) -> None:
        nn.Module.__init__(self)
        widths, channels = arrays["hp.trunk_widths"].tolist(), arrays["hp.channels"].item()
        self.network = Stages(widths, channels, 3 if stops else 4)
        self.transformer, self.stops, self.stage = False, stops, 3
        self.local_dim, self.dim = widths[3], widths[3] if stops else widths[4]


class FirstChannel(nn.Conv2d):
    """A convolution of one channel behind an encoder that repeats it in three."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images[:, :1])


def hyper(arrays: Arrays, *names: str) -> list:
    return [arrays[f"hp.{name}"].item() for name in names]


def small_bert(arrays: Arrays, positions: bool = True) -> TextEncoder:
    layers, width = hyper(arrays, "text_layers", "text_width")
    return TextEncoder(f"bert/{layers}x{width}", positions=positions)


def build_mgca(arrays: Arrays) -> Mgca:
    is_vit = "hp.vision_layers" in arrays
    length, dim, hidden, prototypes, tau_1, tau_2, tau_3, epsilon, iterations = hyper(
        arrays, "text_length", "dim", "hidden", "prototypes", "temperature_ita", "temperature_local",
        "temperature_proto", "epsilon", "sinkhorn_iterations",
    )  # fmt: skip
    frozen, positions, both, channels = hyper(
        arrays, "freeze_prototypes_epochs", "positions", "bidirectional", "channels"
    )
    config = MgcaConfig(
        directions="sum", attention_heads=0, token_weights="clipped", words="shifted", padding="negatives",
        normalised_words=not is_vit, text_length=length, dim=dim, hidden=hidden, prototypes=prototypes,
        instance_temperature=tau_1, token_temperature=tau_2, attention_temperature=tau_2, prototype_temperature=tau_3,
        epsilon=epsilon, sinkhorn_iterations=iterations, frozen_prototype_epochs=frozen, bidirectional=bool(both),
        channels=channels, token_positions=bool(positions), upsampled=0 if is_vit else arrays["hp.upsampled"].item(),
    )  # fmt: skip
    size = arrays["in.images"].shape[-1]
    if is_vit:
        layers, width, patch = hyper(arrays, "vision_layers", "vision_width", "patch")
        images = ImageEncoder(f"vit/{layers}x{width}p{patch}", size, channels=channels)
    else:
        images = Trunk(arrays, stops=False)
    texts = small_bert(arrays, bool(positions))
    types = texts.bert.embeddings.token_type_embeddings.weight.requires_grad_(False)
    types.zero_()  # the code has none
    return Mgca(config, images, texts, WordPieceTokenizer("all-MiniLM-L6-v2", length), size)


def name_of_mgca(theirs: str) -> str:
    theirs = mgca_name(theirs).replace("text_encoder_q.model.", "text_encoder.bert.")
    return theirs.replace("img_encoder_q.model.", "image_encoder.network.")


def build_chexzero(arrays: Arrays) -> Chexzero:
    layers, width, patch, dim, length, text_width, heads, text_layers, channels = hyper(
        arrays, "vision_layers", "vision_width", "patch", "embed_dim", "context_length", "text_width", "text_heads",
        "text_layers", "channels",
    )  # fmt: skip
    config = ChexzeroConfig(
        vision_layers=layers, vision_width=width, vision_heads=width // 64, patch=patch, text_layers=text_layers,
        text_width=text_width, text_heads=heads, embedding=dim, max_logit_scale=0,
    )  # fmt: skip
    vocabulary = len(arrays["param.token_embedding.weight"])
    model = Chexzero(config, arrays["in.images"].shape[-1], Vocabulary(vocabulary, length))
    model.grey_mean, model.grey_std = hyper(arrays, "grey_mean", "grey_std")
    if channels == 1:
        model.visual.conv1 = FirstChannel(1, width, patch, patch, bias=False)
    return model


def name_of_chexzero(theirs: str) -> str:
    return theirs if theirs.startswith("visual.") or theirs == "logit_scale" else f"text.{theirs}"


def build_gloria(arrays: Arrays) -> Gloria:
    length, layers, upsampled, tau_1, tau_2, tau_3, aggregation, channels = hyper(
        arrays, "text_length", "text_layers", "upsampled", "temp1", "temp2", "temp3", "aggregate", "channels"
    )
    config = GloriaConfig(
        attention="words_regions", sentence_pooling="positions", cls_in_training=True, text_length=length,
        text_layers=4, upsampled=upsampled, attention_temperature=1 / tau_1, word_temperature=1 / tau_2,
        temperature=1 / tau_3, word_aggregation=aggregation, channels=channels,
    )  # fmt: skip
    assert layers == 4
    images = Trunk(arrays, stops=False)
    tokenizer = WordPieceTokenizer("all-MiniLM-L6-v2", length)
    return Gloria(config, images, small_bert(arrays), tokenizer, arrays["in.images"].shape[-1])


def name_of_gloria(theirs: str) -> str:
    for official, ours in {
        "text_encoder.model.": "text_encoder.bert.",
        "img_encoder.model.": "image_encoder.network.",
        "img_encoder.global_embedder.": "project_pooled.",
        "img_encoder.local_embedder.": "project_regions.",
    }.items():
        theirs = theirs.replace(official, ours)
    return theirs


def build_medklip(arrays: Arrays) -> Medklip:
    layers, heads, width, feed_forward, channels = hyper(
        arrays, "layers", "heads", "d_model", "feed_forward", "channels"
    )
    options = {}
    if arrays["hp.exclude_class"]:
        left_out = np.setdiff1d(np.arange(arrays["in.labels"].shape[1]), arrays["hp.keep_class_dim"])
        options["excluded_entities"] = ",".join(map(str, left_out))
    if arrays["hp.no_cl"]:
        options["position_weight"] = 0.0
    config = MedklipConfig(
        layers=layers, heads=heads, width=width, feed_forward=feed_forward, dropout=0.0, existence_head="softmax",
        channels=channels, **options,
    )  # fmt: skip
    books = [torch.from_numpy(arrays[f"in.{name}"]) for name in ("disease_book", "ana_book")]
    names = [str(index) for index in range(len(books[0]))]
    trunk = Trunk(arrays, stops=True)
    model = Medklip(
        config, trunk, trunk.local_dim, names, *books, FrozenTexts(config, names), arrays["in.images"].shape[-1]
    )
    model.grey_mean, model.grey_std = (255 * arrays[f"hp.{name}"][0] for name in ("mean", "std"))
    model.colours = tuple(tuple(255 * arrays[f"hp.{name}"]) for name in ("mean", "std"))
    return model


def name_of_medklip(theirs: str) -> str:
    parts = {"0.": "conv1.", "1.": "bn1.", "4.": "layer1.", "5.": "layer2.", "6.": "layer3."}
    for number, part in parts.items():
        if theirs.startswith(f"res_features.{number}"):
            return f"backbone.network.{part}{theirs.removeprefix(f'res_features.{number}')}"
    return theirs


METHODS: dict[str, tuple[Callable[[Arrays], Method], Callable[[str], str]]] = {
    "trajectory_mgca_vit": (build_mgca, name_of_mgca),
    "trajectory_mgca_resnet": (build_mgca, name_of_mgca),
    "trajectory_chexzero": (build_chexzero, name_of_chexzero),
    "trajectory_gloria": (build_gloria, name_of_gloria),
    "trajectory_medklip": (build_medklip, name_of_medklip),
}


def load_theirs(model: Method, arrays: Arrays, rename: Callable[[str], str]) -> dict[str, str]:
    """Fill the network with their weights; returns our names by theirs. What theirs lacks is not trained."""
    state, names = model.state_dict(), {}
    for key in [key for key in arrays if key.startswith("param.")]:
        theirs = key.removeprefix("param.")
        ours = rename(theirs)
        if ours not in state:
            assert any(word in theirs for word in UNUSED), theirs
            continue
        value, wanted = torch.from_numpy(arrays[key]), state[ours]
        if "position_embeddings" in ours:  # as many as the longest text has
            wanted[: len(value)] = value
        else:
            state[ours] = value.view(wanted.shape).to(wanted.dtype)
        names[theirs] = ours
    given = set(names.values())
    for name, parameter in model.named_parameters():
        assert name in given or not parameter.requires_grad, name
    model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return names


# In the code without any use: attention layers, the pooler of BERT, ids of places.
UNUSED = ("crossattention", "local_atten_layer", "pooler", "position_ids", "layer4", "res_features.7")


def settings_of(arrays: Arrays, name: str, steps: int) -> TrainingConfig:
    rate, batch = hyper(arrays, "lr", "batch")
    kind = arrays["hp.optimizer"].item().lower()
    decay = arrays["hp.weight_decay"]
    axes = np.array([arrays[f"param.{one}"].ndim for one in arrays["hp.param_names"].tolist()])
    common = {
        "method_config": {}, "optimizer": kind, "learning_rate": rate, "batch_size": batch, "max_steps": steps,
        "weight_decay": float(decay.max()), "decay": "all" if (decay > 0)[axes < 2].any() else "matrices",
        "clip_norm": arrays["hp.clip_norm"].item() if "hp.clip_norm" in arrays else 0.0, "precision": "fp32",
        "schedule": "constant", "warmup_epochs": 0.0,
    }  # fmt: skip
    if kind == "sgd":
        common["momentum"] = arrays["hp.momentum"].item()
    else:
        common |= {"beta1": arrays["hp.beta1"].item(), "beta2": arrays["hp.beta2"].item()}
    if "mgca" in name:
        lowest, warmup, per_epoch = hyper(arrays, "min_lr", "warmup_steps", "steps_per_epoch")
        common |= {
            "schedule": "cosine", "final_learning_rate": lowest, "warmup_start": lowest / rate,
            "warmup_epochs": warmup / per_epoch,
        }  # fmt: skip
    if "medklip" in name:
        lowest, first, stairs, size = hyper(arrays, "min_lr", "warmup_lr", "warmup_epochs", "step_size")
        common |= {
            "schedule": "staircase", "final_learning_rate": lowest, "warmup_start": first / rate, "stairs": stairs,
            "stair_steps": size,
        }  # fmt: skip
    if arrays.get("hp.scheduler_stepped"):
        factor, patience = hyper(arrays, "scheduler_factor", "scheduler_patience")
        common |= {"schedule": "plateau", "plateau_factor": factor, "plateau_patience": patience}
        common |= {"final_learning_rate": 0.0}
    return TrainingConfig("toy", **common)


def batches_of(arrays: Arrays, name: str) -> list[Batch]:
    rows = [order[order >= 0].astype(int) for order in arrays["in.order"]]
    if "medklip" in name:
        targets = torch.from_numpy(arrays["in.targets"])
        return [Batch(images_of(arrays, one), targets=targets[one]) for one in rows]
    if "chexzero" in name:
        ids = torch.from_numpy(arrays["in.ids"]).long()
        mask = torch.arange(ids.shape[1]) <= ids.argmax(1, keepdim=True)
        return [Batch(images_of(arrays, one), Tokens(ids[one], mask[one])) for one in rows]
    return [Batch(images_of(arrays, one), tokens_of(arrays, one)) for one in rows]


def variants() -> list:
    found = []
    for parameter in golden_files("trajectory_*.npz"):
        path = parameter.values[0]
        names = {key.split(".")[0] for key in (np.load(path).files if path else ()) if ".in.order" in key}
        found += (
            [pytest.param(path, name, id=f"{path.stem}-{name}") for name in sorted(names)]
            if path
            else [pytest.param(None, "", marks=parameter.marks)]
        )
    return found


@pytest.mark.parametrize("precision", ["64", "32"])
@pytest.mark.parametrize(("path", "variant"), variants())
def test_a_training(path, variant, precision, monkeypatch):
    arrays = variant_of(load(path), variant)
    build, rename = METHODS[path.stem]
    torch.manual_seed(0)
    model = build(arrays)
    names = load_theirs(model, arrays, rename)
    batches, drift = batches_of(arrays, path.stem), arrays["note.float32_drift"].item()
    config = settings_of(arrays, path.stem, len(batches))
    if precision == "32":
        compared, tolerance = FIRST if drift < STEADY else FEWER, SINGLE
    else:
        compared, tolerance = len(batches), next(value for largest, value in AMPLIFIED if drift < largest)
    replay = Replay(config, model.to(DTYPE[precision]), batches, arrays["hp.steps_per_epoch"].item())
    if "in.candidates" in arrays:
        give_candidates(arrays, replay, monkeypatch)
    if config.schedule == "plateau":
        replay.validated = arrays[f"out{precision}.validation_loss"].tolist()
    found = replay.run(compared)
    for ours, theirs in FACTS.items():
        wanted = arrays[f"out{precision}.{theirs}"][:compared]
        np.testing.assert_allclose(found[ours], wanted, rtol=tolerance, err_msg=ours)
    if precision == "64":
        compare_weights(model, arrays, names, rename, DIGEST if tolerance == EXACT else 1e-4)


def give_candidates(arrays: Arrays, replay: Replay, monkeypatch) -> None:
    """The positions that the authors' code has drawn in each step."""
    drawn = torch.from_numpy(arrays["in.candidates"]).long()

    def given(targets, negatives, scope):
        where = (targets == 1).any(1).nonzero()
        return where, drawn[replay.step][where[:, 0], where[:, 1]]

    monkeypatch.setattr(medklip, "sample_positions", given)


def compare_weights(model: Method, arrays: Arrays, names: dict[str, str], rename, tolerance: float) -> None:
    state, compared = model.state_dict(), 0
    for theirs, norm, head in zip(
        arrays["hp.digest_names"].tolist(), arrays["out64.final_norm"], arrays["out64.final_head"], strict=True
    ):
        ours = rename(theirs)
        if ours not in state:
            continue
        tensor = state[ours].double()
        if "word_embeddings" in theirs or "token_embedding" in theirs:
            tensor = tensor[torch.from_numpy(arrays["in.used_ids"]).long()]
        if "position_embeddings" in theirs:
            tensor = tensor[: len(arrays[f"param.{theirs}"])]
        flat = tensor.flatten()
        expected = head[: min(16, len(flat))]
        np.testing.assert_allclose(flat[:16].numpy(), expected, rtol=0, atol=tolerance, err_msg=theirs)
        np.testing.assert_allclose(flat.norm().item(), norm, rtol=0, atol=tolerance * max(1, norm), err_msg=theirs)
        compared += 1
    assert compared > len(names) // 2
