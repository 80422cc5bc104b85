"""Our parts of BioViL and BioViL-T give the numbers of their authors' code."""

import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from models.encoders.heads.biovil_projection import TextProjection, patch_projection
from models.encoders.heads.masked_language import MaskedLanguageHead
from models.encoders.patch_maps import lay_on_film, smoothed_cosines
from models.encoders.text import TextEncoder
from models.method import Tokens
from models.released.formats.biovil import stretch
from models.released.formats.biovil_t import Pooler, positions
from models.released.parts.films import centre, normalise, shorter_side
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}
PRECISIONS = pytest.mark.parametrize("precision", ["32", "64"])


def part(arrays: dict, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, by the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def tensors(arrays: dict, prefix: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in part(arrays, prefix).items()}


def compare(found: dict, expected: dict, precision: str) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].detach(), value, **TOLERANCE[precision], err_msg=name)


def weighted(outputs: torch.Tensor) -> torch.Tensor:
    """The sum that the files have gradients of."""
    return (torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view_as(outputs) * outputs).sum()


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("biovil_image_head*.npz"))
def test_image_head(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    for mode in sorted({key.split(".")[0] for key in arrays if f".out{precision}." in key}):
        given = torch.from_numpy(arrays["in.patch_features"]).to(dtype).requires_grad_()
        dim = int(arrays["hp.joint_feature_size"])
        head = patch_projection(given.shape[1], len(arrays["param.model.0.weight"]), dim)
        head.load_state_dict(tensors(arrays, "param.model."))
        head = head.to(dtype).train(mode == "train")
        patches = head(given)
        vectors = patches.flatten(2).mean(2)
        units = F.normalize(vectors, dim=-1)
        found = {"patches": patches, "global": vectors, "global_unit": units}
        if mode == "train":
            found |= {"running_mean_after": head[1].running_mean, "running_var_after": head[1].running_var}
        if f"{mode}.out{precision}.patchwise_unit" in arrays:
            found["patchwise_unit"] = F.normalize(patches, dim=1).permute(0, 2, 3, 1)
        compare(found, part(arrays, f"{mode}.out{precision}."), precision)
        weighted(units).backward()
        gradients = {f"model.{name}": parameter.grad for name, parameter in head.named_parameters()}
        compare(gradients | {"patch_features": given.grad}, part(arrays, f"{mode}.grad{precision}."), precision)


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("biovil_cxrbert*.npz"))
def test_text_tower_and_heads(path, precision, tmp_path):
    arrays, dtype = load(path), DTYPE[precision]
    sizes = {key: int(value) for key, value in part(arrays, "hp.").items()}
    hidden = sizes.pop("projection_size")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **sizes}))
    tower = TextEncoder(str(tmp_path), weights=False)
    tower.bert.load_state_dict(tensors(arrays, "param.bert."))
    projection = TextProjection(tower.dim, hidden, len(arrays["param.cls_projection_head.dense_to_output.weight"]))
    projection.load_state_dict(tensors(arrays, "param.cls_projection_head."))
    language = MaskedLanguageHead(tower.dim, sizes["vocab_size"])
    theirs = tensors(arrays, "param.cls.predictions.")
    torch.testing.assert_close(theirs.pop("decoder.bias"), theirs["bias"])
    torch.testing.assert_close(theirs.pop("decoder.weight"), tower.bert.embeddings.word_embeddings.weight.data)
    language.load_state_dict(
        {name.removeprefix("transform.").replace("LayerNorm", "norm"): value for name, value in theirs.items()}
    )
    network = torch.nn.ModuleList([tower, projection, language]).to(dtype).eval()
    tokens = Tokens(torch.from_numpy(arrays["in.ids"]), torch.from_numpy(arrays["in.mask"]).bool())
    last = tower(tokens).tokens
    embeddings = tower.bert.embeddings.word_embeddings.weight
    projected = projection(last[:, 0])
    units = F.normalize(projected, dim=-1)
    found = {
        "last_hidden": last, "mlm_logits": language(last, embeddings), "projected": projected, "projected_unit": units,
    }  # fmt: skip
    compare(found, part(arrays, f"out{precision}."), precision)
    weighted(units).backward()
    gradients = {f"cls_projection_head.{name}": parameter.grad for name, parameter in projection.named_parameters()}
    gradients["bert.embeddings.word_embeddings.weight"] = embeddings.grad
    compare(gradients, part(arrays, f"grad{precision}."), precision)
    assert all(parameter.grad is None for parameter in network[2].parameters())


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("biovil_similarity*.npz"))
def test_maps_and_scores(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    patches, texts, whole = (
        torch.from_numpy(arrays[f"in.{name}"]).to(dtype) for name in ("patches", "texts", "global")
    )
    grid, units = (patches.shape[0], patches.shape[1]), F.normalize(texts, dim=-1)

    def smoothed(**sigma: float) -> torch.Tensor:
        return smoothed_cosines(patches.flatten(0, 1)[None], units[:1], grid, **sigma, normalise=False)[0, 0]

    expected = part(arrays, f"out{precision}.")
    sigmas = {name: float(name.removeprefix("map_sigma")) for name in expected if name.startswith("map_sigma")}
    found = {"raw": smoothed(sigma=0), "map_default": smoothed()}
    found |= {name: smoothed(sigma=sigma) for name, sigma in sigmas.items()}
    found["score_single"] = whole @ units[0]
    found["score_prompts"] = whole @ F.normalize(texts.mean(0), dim=-1)
    compare(found, expected, precision)
    variants = sorted(key.split(".hp.")[0] for key in arrays if key.endswith(".hp.crop"))
    assert variants
    for variant in variants:
        given = part(arrays, f"{variant}.hp.")
        film = int(given["height"]), int(given["width"])
        resized, cropped = (max(int(given[name]), 0) for name in ("resize", "crop"))
        on_film = lay_on_film(found["map_default"], film, resized, cropped, str(given["interpolation"]))
        expected = arrays[f"{variant}.out{precision}.map"]
        np.testing.assert_array_equal(on_film.isnan(), np.isnan(expected))
        np.testing.assert_allclose(on_film, expected, **TOLERANCE[precision], err_msg=variant)


@pytest.mark.parametrize("path", golden_files("biovil_transforms*.npz"))
def test_films(path):
    arrays = load(path)
    for name, expected in part(arrays, "out.uint8").items():
        percentiles = tuple(float(number) for number in re.findall(r"[\d.]+", name)) or (0.0, 100.0)
        np.testing.assert_array_equal(stretch(arrays["in.raw"], percentiles), expected)
    variants = sorted(key.split(".in.")[0] for key in arrays if key.endswith(".in.image"))
    assert variants
    for variant in variants:
        resized, cropped = int(arrays[f"{variant}.hp.resize"]), int(arrays[f"{variant}.hp.crop"])
        film = shorter_side(arrays[f"{variant}.in.image"], resized, Image.Resampling.BILINEAR)
        pixels = normalise(centre(film, cropped), (0.0,), (1.0,)).expand(3, -1, -1)
        np.testing.assert_allclose(pixels, arrays[f"{variant}.out32.image"], **TOLERANCE["32"], err_msg=variant)


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("biovilt_pooler*.npz"))
def test_pooler_of_two_films(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    current, previous = (
        torch.from_numpy(arrays[f"in.{name}"]).to(dtype).requires_grad_() for name in ("current", "previous")
    )
    width, inner = current.shape[1], len(arrays["param.blocks.0.mlp.fc1.weight"])
    pooler = Pooler(width, inner, int(arrays["hp.num_blocks"]), int(arrays["hp.num_heads"]))
    pooler.load_state_dict(tensors(arrays, "param."))
    pooler = pooler.to(dtype).eval()
    rows, columns = current.shape[2:]
    np.testing.assert_allclose(positions(rows, columns, width)[None], arrays["out32.position"], rtol=0, atol=1e-6)
    difference = pooler(current, previous)
    weighted(difference).backward()
    found = {"difference": difference}
    expected = part(arrays, f"out{precision}.")
    expected.pop("position", None)
    alone = expected.pop("alone")
    compare(found, expected, precision)
    compare({"current": current.grad, "previous": previous.grad}, part(arrays, f"grad{precision}."), precision)
    with torch.no_grad():
        np.testing.assert_allclose(pooler(current), alone, **TOLERANCE[precision])
