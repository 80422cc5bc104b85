"""Our LoVT, set to the authors' code, gives the numbers of the authors' code."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from models.losses.contrast.global_contrast import global_contrast
from models.losses.contrast.local_contrast import local_contrast, near_positions
from models.methods.contrast.lovt import Lovt, LovtConfig
from tests.golden.conftest import golden_files, load

DTYPE = {"32": torch.float32, "64": torch.float64}
TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
REGIONS = {"32": TOLERANCE["32"], "64": {"rtol": 2e-7, "atol": 2e-7}}  # the code keeps distances in float32


def variants(pattern: str) -> list:
    """A parameter per variant of each file, which is a prefix of its hyper-parameters."""
    found = []
    for parameter in golden_files(pattern):
        path = parameter.values[0]
        names = sorted({key.split(".hp.")[0] for key in np.load(path).files if ".hp." in key}) if path else [""]
        found += [pytest.param(path, name, id=name, marks=parameter.marks) for name in names]
    return found


def hyper(arrays: dict[str, np.ndarray], prefix: str) -> dict:
    start = f"{prefix}hp."
    return {key[len(start) :]: value.item() for key, value in arrays.items() if key.startswith(start)}


def leaf(array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(array).to(dtype).requires_grad_()


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize(("path", "variant"), variants("lovt_global.npz"))
def test_global_loss(path, variant, precision):
    arrays = load(path)
    options = hyper(arrays, f"{variant}.")
    sides = {name: leaf(arrays[f"in.{name}"], DTYPE[precision]) for name in ("scan", "report")}
    same = options["negatives_from_same_modality"]
    found = dict(zip(("a2b", "b2a"), global_contrast(*sides.values(), options["temperature"], same), strict=True))
    found["total"] = LovtConfig.image_weight * found["a2b"] + LovtConfig.report_weight * found["b2a"]
    found["total"].backward()
    for name, value in found.items():
        np.testing.assert_allclose(value.item(), arrays[f"{variant}.out{precision}.{name}"], **TOLERANCE[precision])
    for name, side in sides.items():
        np.testing.assert_allclose(side.grad, arrays[f"{variant}.grad{precision}.{name}"], **TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize(("path", "variant"), variants("lovt_local.npz"))
def test_local_losses(path, variant, precision):
    arrays, dtype = load(path), DTYPE[precision]
    options = hyper(arrays, f"{variant}.")
    kind = "regions" if f"{variant}.grad{precision}.regions" in arrays else "sentences"
    sides = {name: leaf(arrays[f"in.{name}"], dtype) for name in (kind, f"attended_{kind}")}
    weights = torch.from_numpy(arrays[f"in.{kind[:-1]}_weights"]).to(dtype)
    mask = torch.from_numpy(arrays["in.sentence_mask"]) if kind == "sentences" else torch.ones_like(weights).bool()
    if variant.endswith("noweights"):
        weights = torch.ones_like(weights)
    near = {
        "threshold": options["distance_threshold"],
        "relative": options["threshold_type"] == "relative",
        "decay": options["smooth_lambda"] if options["smooth_weights"] else None,
    }
    grid = tuple(arrays["in.grid"].tolist()) if kind == "regions" else (1, weights.shape[1])
    positives = near_positions(grid, **near)
    found = local_contrast(
        *sides.values(), positives, weights, mask, options["similarity_temperature"],
        options["negatives_from_same_modality"],
        offset=arrays["hp.max_sentences"].item() if options["normalize_by_num_negatives"] else 0,
    )  # fmt: skip
    (found[0].mean() + found[1].mean()).backward()
    tolerance = (REGIONS if kind == "regions" else TOLERANCE)[precision]
    for name, losses in zip(("l2att", "att2l"), found, strict=True):
        np.testing.assert_allclose(losses.mean().item(), arrays[f"{variant}.out{precision}.{name}"], **tolerance)
    for name, side in sides.items():
        np.testing.assert_allclose(side.grad, arrays[f"{variant}.grad{precision}.{name}"], **tolerance)
    if (key := f"{variant}.out{precision}.positive_weights") in arrays:
        table = arrays[key]
        whole = grid if kind == "regions" else (1, len(table))
        np.testing.assert_allclose(near_positions(whole, **near).reshape(table.shape), table, **REGIONS[precision])


HEAD = {"projection_before": "hidden", "norm": "hidden_norm.norm", "projection_after": "output"}
OURS = {
    "model_a.encoder.global_aggregator": "image_pooling",
    "model_b.encoder.global_aggregator": "report_pooling",
    **{
        f"model_{side}.project_{kind}.{theirs}": f"{ours}.{part}"
        for side, kind, ours in (
            ("a", "local", "region_head"), ("b", "local", "sentence_head"),
            ("a", "global", "image_head"), ("b", "global", "report_head"),
        )
        for theirs, part in HEAD.items()
    },
    "ll_attention.key_projection": "look.key",
    "ll_attention.value_projection": "look.value",
    "ll_attention.output_projection": "look.output",
    "ll_attention.norm": "look.norm.norm",
}  # fmt: skip


def our_name(theirs: str) -> str:
    (prefix,) = [name for name in OURS if theirs.startswith(f"{name}.")]
    return theirs.replace(prefix, OURS[prefix], 1)


class Encoder(nn.Module):
    """An encoder of which only the width is asked."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim = self.local_dim = width


def network(arrays: dict[str, np.ndarray], dtype: torch.dtype) -> Lovt:
    weight = {key[len("weight.hp.") :]: arrays[key].item() for key in arrays if key.startswith("weight.hp.")}
    assert weight["local_a_l2att"] == weight["local_a_att2l"]
    assert weight["local_b_l2att"] == weight["local_b_att2l"]
    hidden, width = arrays["param.model_a.project_global.projection_before.weight"].shape
    config = LovtConfig(
        missing_sentences="zeros",
        sentence_pooling=arrays["hp.sentence_aggregator"].item(),
        heads=arrays["hp.attention_heads"].item(),
        hidden=hidden,
        dimension=len(arrays["param.ll_attention.key_projection.weight"]),
        image_weight=weight["global_a2b"],
        report_weight=weight["global_b2a"],
        region_weight=weight["local_a_l2att"],
        sentence_weight=weight["local_b_l2att"],
    )
    model = Lovt(config, Encoder(width), Encoder(arrays["in.token_states"].shape[2]), SimpleNamespace()).to(dtype)
    state = {our_name(key[len("param.") :]): arrays[key] for key in arrays if key.startswith("param.")}
    wanted = model.state_dict()
    assert wanted.keys() == state.keys()
    model.load_state_dict({name: torch.from_numpy(value).view(wanted[name].shape) for name, value in state.items()})
    return model.train()


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("lovt_model.npz"))
def test_model(path, precision):
    arrays, dtype, tolerance = load(path), DTYPE[precision], REGIONS[precision]
    model = network(arrays, dtype)
    inputs = {name: leaf(arrays[f"in.{name}"], dtype) for name in ("feature_map", "token_states")}
    lengths = torch.from_numpy(arrays["in.sentence_lengths"])
    image = model.pool_regions(inputs["feature_map"].flatten(2).mT, tuple(arrays["in.feature_map"].shape[2:]))
    report = model.pool_report(inputs["token_states"], lengths)
    encoded = model.represent(image, report)
    terms = model.contrast(encoded)
    total = sum(terms.values())
    total.backward()
    config = model.config
    with torch.no_grad():
        regions, sentences = model.region_head(image.places), model.sentence_head(report.places)
        scores = model.look.scores(regions, sentences)
        ours = {
            "total": total,
            "global_a2b": terms["images"] / config.image_weight,
            "global_b2a": terms["reports"] / config.report_weight,
            "local_a_l2att": encoded["regions"].mean(),
            "local_a_att2l": encoded["seen_by_regions"].mean(),
            "local_b_l2att": encoded["sentences"].mean(),
            "local_b_att2l": encoded["seen_by_sentences"].mean(),
            "zg_scan": encoded["images"],
            "zg_report": encoded["reports"],
            "zl_scan": regions,
            "zl_report": sentences,
            "attended_scan": model.look.gather(scores, sentences, report.mask, image.mask),
            "attended_report": model.look.gather(scores.mT, regions, image.mask, report.mask),
            "attention_scan_over_report": model.look.attention(scores, report.mask),
            "weights_scan": image.weights,
            "weights_report": report.weights,
            "yg_scan": image.vector,
            "yg_report": report.vector,
            "yl_report": report.places,
        }
    theirs = {key.split(".", 1)[1]: value for key, value in arrays.items() if key.startswith(f"out{precision}.")}
    assert theirs.keys() <= ours.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name].detach(), value, **tolerance, err_msg=name)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for key, value in arrays.items():
        if key.startswith(f"grad{precision}."):
            name = key.split(".", 1)[1]
            found = inputs[name].grad if name in inputs else gradients[our_name(name)]
            np.testing.assert_allclose(found.view(value.shape), value, **tolerance, err_msg=key)
