"""Other projects load what is exported with their own tools, and get Radalign's numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

import radalign
from models.registry import method_names, released_names
from models.released.formats.mgca import UPSAMPLED
from models.released.parts.resnet import enlarge
from radalign.errors import RadalignError
from radalign.exporting.export import open_subject, target_names, usable_targets
from radalign.exporting.texts import SAMPLES
from tests.models.tiny import SIZE
from tests.radalign.exporting.small import OTHERS, RELEASED, released_model, subject_of, texts_folder, trained_model

SAME = 1e-6
FEATURES = {  # what the card of an export to transformers says -> features of the model's output
    ".pooler_output": lambda output: output.pooler_output,
    ".last_hidden_state[:, 0]": lambda output: output.last_hidden_state[:, 0],
    ".last_hidden_state[-1].mean((2, 3))": lambda output: output.last_hidden_state[-1].mean((2, 3)),
}
GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "use_a_model.md"


@pytest.fixture(scope="module")
def squares() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE), np.uint8)


def close(found: torch.Tensor, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found.detach().numpy() - wanted).max() <= SAME * np.abs(wanted).max()


def square_film(side: int) -> np.ndarray:
    """All grey levels, the lowest and the highest among them."""
    film = np.random.default_rng(1).integers(0, 256, (side, side), np.uint8)
    film[0, :2] = 0, 255
    return film


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def as_colours(square: np.ndarray) -> Image.Image:
    return Image.fromarray(square).convert("RGB")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("convirt", {}),
        ("mgca", {}),
        ("medklip", {}),
        ("medklip", {"image_encoder": "vit/2x32p8", "image_stage": 0}),
        ("lrclr", {"rerun_last_block": False}),
    ],
)
@torch.inference_mode()
def test_timm_gives_the_features_of_prepared_squares(name, options, tmp_path, squares):
    model = trained_model(name, tmp_path / "run", **options)
    folder = radalign.export(model, "timm", tmp_path / "out", home=str(tmp_path))
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    pixels = torch.stack([transform(as_colours(square)) for square in squares])
    output = network(pixels)
    features = output if isinstance(output, torch.Tensor) else output[-1].mean((2, 3))
    close(features, model.image_features(squares))
    config = json.loads((folder / "config.json").read_text())
    again = timm.create_model(
        config["architecture"], num_classes=0, checkpoint_path=str(folder / "model.safetensors"), **config["model_args"]
    )
    output = again.eval()(pixels)
    assert torch.equal(output if isinstance(output, torch.Tensor) else output[-1].mean((2, 3)), features)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("chexzero", {}),
        ("chexzero", {"text_tokenizer": "clip", "quick_gelu": False}),
        ("chexzero", {"image_encoder": "resnet10t"}),
        ("lrclr", {"rerun_last_block": False}),
    ],
)
@torch.inference_mode()
def test_open_clip_gives_the_vectors_of_images_and_texts(name, options, tmp_path, squares):
    model = trained_model(name, tmp_path / "run", **options)
    folder = radalign.export(model, "open_clip", tmp_path / "out", home=str(tmp_path))
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    pixels = torch.stack([transform(Image.fromarray(square)) for square in squares])
    close(network.eval().encode_image(pixels, normalize=True), model.embed_images(squares))
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(list(SAMPLES))
    close(network.encode_text(tokens, normalize=True), model.embed_texts(SAMPLES))


@torch.inference_mode()
def test_open_clip_builds_a_released_residual_network(tmp_path):
    model = released_model("chexzero", tmp_path / "run", OTHERS["chexzero, released, ResNet"][1])
    folder = radalign.export(model, "open_clip", tmp_path / "out", home=str(tmp_path))
    network, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    film = square_film(100)
    found = network.eval().encode_image(model.network.films([film]), normalize=True)
    close(found, model.network.embed_images(torch.from_numpy(film)[None, None]).numpy())


@pytest.mark.parametrize(("name", "options"), [("convirt", {}), ("mgca", {"token_positions": False})])
@torch.inference_mode()
def test_transformers_give_features_and_the_states_of_texts(name, options, tmp_path, squares):
    model = trained_model(name, tmp_path / "run", **options)
    folder = radalign.export(model, "transformers", tmp_path / "out", home=str(tmp_path))
    processor, network = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    pixels = processor([as_colours(square) for square in squares], return_tensors="pt")["pixel_values"]
    close(network(pixels).pooler_output, model.image_features(squares))
    texts = AutoModel.from_pretrained(folder / "text", add_pooling_layer=False).eval()
    tokens = AutoTokenizer.from_pretrained(folder / "text")(["small effusion"], return_tensors="pt")
    assert model.network.texts is not None
    ours = model.network.texts.tokenizer(["small effusion"])
    assert torch.equal(tokens["input_ids"], ours.ids)
    close(texts(**tokens).last_hidden_state, model.network.text_encoder(ours).tokens.numpy())


@pytest.mark.parametrize("options", [{}, {"text_tokenizer": "clip", "quick_gelu": False}])
@torch.inference_mode()
def test_transformers_read_a_clip_as_theirs(options, tmp_path, squares):
    model = trained_model("chexzero", tmp_path / "run", **options)
    folder = radalign.export(model, "transformers", tmp_path / "out", home=str(tmp_path))
    processor, network = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    pixels = processor([as_colours(square) for square in squares], return_tensors="pt")["pixel_values"]
    close(unit(network.get_image_features(pixels).pooler_output), model.embed_images(squares))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(list(SAMPLES), padding=True, truncation=True, return_tensors="pt")
    found = network.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
    close(unit(found), model.embed_texts(SAMPLES))


@pytest.mark.parametrize("name", ["kad", "mgca", *(name for name in OTHERS if "chexzero" not in name)])
@torch.inference_mode()
def test_transformers_give_the_features_of_released_networks(name, tmp_path):
    format_name, settings = OTHERS.get(name, (name, RELEASED.get(name)))
    model = released_model(format_name, tmp_path / "run", settings)
    folder = radalign.export(model, "transformers", tmp_path / "out", home=str(tmp_path))
    film = square_film(open_subject(model).preparation.square)
    pixels = model.network.films([film])
    if name == "mgca":
        pixels = enlarge(pixels, UPSAMPLED)
    output = AutoModel.from_pretrained(folder).eval()(pixels)
    wanted = model.network.image_features(torch.from_numpy(film)[None, None]).numpy()
    how = re.search(r"^features = model\(pixels\)(.*)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert how is not None
    close(FEATURES[how[1]](output), wanted)


@pytest.mark.parametrize("name", ["chexzero", "medklip"])
def test_a_folder_for_radalign_opens_without_its_run(name, tmp_path, squares):
    model = trained_model(name, tmp_path / "run")
    folder = radalign.export(model, "safetensors", tmp_path / "out", home=str(tmp_path))
    moved = folder.rename(tmp_path / "elsewhere")
    opened = radalign.load(moved, device="cpu")
    close(torch.from_numpy(opened.image_features(squares)), model.image_features(squares))
    if name != "medklip":
        close(torch.from_numpy(opened.embed_texts(SAMPLES)), model.embed_texts(SAMPLES))
    text = (moved / "model.json").read_text()
    assert str(tmp_path) not in text
    assert texts_folder() not in text
    again = radalign.export(opened, "safetensors", tmp_path / "again", home=str(tmp_path))
    assert (again / "weights.safetensors").read_bytes() == (moved / "weights.safetensors").read_bytes()


def test_what_a_target_has_no_form_for_is_refused_with_those_that_have(tmp_path):
    model = trained_model("lrclr", tmp_path / "run")
    for to in set(target_names()) - {"onnx", "safetensors"}:
        with pytest.raises(
            RadalignError, match=f"lrclr cannot be exported to {to}: .*; it can be to onnx and safetensors"
        ):
            radalign.export(model, to, tmp_path / "out", home=str(tmp_path))
    assert not (tmp_path / "out").exists()
    with pytest.raises(RadalignError, match=r"no target `open-clip` \(did you mean `open_clip`"):
        radalign.export(model, "open-clip", tmp_path / "out")
    with pytest.raises(RadalignError, match="Findings are scored by a graph"):
        radalign.export(model, "timm", tmp_path / "out", ["edema"])


def test_the_guide_says_which_network_goes_where():
    """The table of the guide is what the code does, for every method and every format."""
    rows = [line.strip("| ").split(" | ") for line in GUIDE.read_text().splitlines() if line.startswith("| ")]
    header = next(row for row in rows if row[0] == "network")
    table = {row[0]: row[1:] for row in rows if len(row) == len(header) and row[0] not in ("network", "---")}
    found = {
        name: [to for to, cell in zip(header[1:], cells, strict=True) if cell != "–"] for name, cells in table.items()
    }
    subjects = {name: subject_of(name) for name in method_names()}
    subjects |= {f"{name}, released": subject_of(name, released=True) for name in released_names()}
    subjects |= {name: subject_of(*kind, released=True) for name, kind in OTHERS.items()}
    targets = {name: usable_targets(subject) for name, subject in subjects.items()}
    assert {name: sorted(to) for name, to in found.items()} == targets
