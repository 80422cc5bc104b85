"""A saved network is loaded as it was, without the code of the training."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.encoders.local_files import named_encoders
from models.errors import ModelError
from models.registry import method_names
from models.run_files import CARD, CHECKPOINT, DIGESTS, ORIGIN, RESULT
from models.saved import TRAINED, ModelCard, load_method
from models.text.folders import encoder_folder
from store.code import ROOT, imported_files
from store.digests import file_digest
from store.errors import DamageError
from store.seals import write_sealed_json
from tests.cohorts.clocks import within
from tests.models.tiny import KNOWLEDGE, SIZE, TINY, tiny_batch


@pytest.mark.parametrize("name", method_names())
def test_a_network_comes_back_as_it_was(name, tmp_path):
    card = ModelCard(name, TINY[name], KNOWLEDGE, SIZE, "crop", 40)
    method = card.build().eval()
    card.save(tmp_path)
    save_file({key: value.contiguous() for key, value in method.state_dict().items()}, tmp_path / TRAINED)
    loaded = load_method(tmp_path)
    assert (loaded.fit, loaded.training, ModelCard.load(tmp_path)) == ("crop", False, card)
    images = tiny_batch(method, 3).images
    with torch.inference_mode():
        assert torch.equal(loaded.image_features(images), method.image_features(images))


def test_cards_of_earlier_versions_are_read(tmp_path):
    content = {"method": "convirt", "method_config": {"dimension": 8}, "knowledge": [], "size": 32}
    (tmp_path / "model.json").write_text(json.dumps(content))
    assert ModelCard.load(tmp_path) == ModelCard("convirt", {"dimension": 8}, [], 32, "resize", 0)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"train the run in .* to its end first"):
        load_method(tmp_path)
    with pytest.raises(ModelError, match=r"model\.json does not exist"):
        ModelCard.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        "", "[]", "[" * 200_000, "\x00", {"evil": 1}, {"method": 3}, {"method_config": 3}, {"method_config": None},
        {"knowledge": 3}, {"knowledge": ["x"]}, {"size": 0}, {"size": 10**7}, {"size": "32"}, {"size": float("nan")},
        {"size": True}, {"shard_size": -1}, {"fit": "stretch"}, {"decoding": [1]}, {"decoding": {"size": 3}},
        {"encoders": [1]}, {"released": None},
    ],
)  # fmt: skip
def test_what_is_no_card_is_one_sentence(tmp_path, change):
    card = asdict(ModelCard("convirt", TINY["convirt"], KNOWLEDGE, SIZE))
    (tmp_path / CARD).write_text(change if isinstance(change, str) else json.dumps({**card, **change}))
    with pytest.raises(ModelError, match=r"model\.json is not what a training writes; take"):
        ModelCard.load(tmp_path)


@pytest.mark.parametrize("change", [{"dimension": "x"}, {"dimension": -5}, {"no_setting": 1}])
def test_a_card_that_makes_no_network_is_one_sentence(tmp_path, change):
    save_run(tmp_path)
    (tmp_path / RESULT).unlink()
    ModelCard("convirt", {**TINY["convirt"], **change}, KNOWLEDGE, SIZE).save(tmp_path)
    with pytest.raises(ModelError, match=r"^[^\n]*do not make a network[^\n]*$"):
        load_method(tmp_path)


def spoil(state: dict[str, torch.Tensor], kind: str) -> dict[str, torch.Tensor]:
    name = next(name for name, tensor in state.items() if tensor.ndim == 4)
    spoilt = {
        "extra": {"evil": torch.zeros(2)},
        "flat": {name: state[name].flatten()},
        "nan": {name: torch.full_like(state[name], torch.nan)},
        "integers": {name: state[name].to(torch.int8)},
        "lacks one": {},
    }[kind]
    return {**{key: value for key, value in state.items() if kind != "lacks one" or key != name}, **spoilt}


@pytest.mark.parametrize("kind", ["extra", "flat", "nan", "integers", "lacks one", "garbage", "pipe", "folder"])
def test_weights_that_make_no_network_are_one_sentence(tmp_path, kind):
    save_run(tmp_path)
    (tmp_path / RESULT).unlink()
    path = tmp_path / TRAINED
    state = load_file(path)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "garbage":
        path.write_bytes(b"garbage" * 9)
    else:
        save_file({key: value.contiguous() for key, value in spoil(state, kind).items()}, path)
    with within(20), pytest.raises(ModelError, match=r"^[^\n]*weights\.safetensors[^\n]*$"):
        load_method(tmp_path)


def save_run(folder):
    """A finished run: its network, and a result that records it."""
    card = ModelCard("convirt", TINY["convirt"], KNOWLEDGE, SIZE)
    card.save(folder)
    save_file({key: value.contiguous() for key, value in card.build().state_dict().items()}, folder / TRAINED)
    (folder / ORIGIN).write_text("{}")
    digests = {name: file_digest(folder / DIGESTS[name]) for name in ("checkpoint_digest", "model_digest")}
    write_sealed_json(folder / RESULT, {**digests, "origin_digest": file_digest(folder / ORIGIN)})


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_one_altered_weight_is_noticed(tmp_path):
    save_run(tmp_path)
    before = load_method(tmp_path)
    flip(tmp_path / TRAINED)
    with pytest.raises(DamageError, match=r"weights\.safetensors differs from what the run recorded") as caught:
        load_method(tmp_path)
    assert "\n" not in str(caught.value)
    flip(tmp_path / TRAINED)
    after = load_method(tmp_path).state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.state_dict().items())


@pytest.mark.parametrize("name", [CARD, RESULT])
def test_an_altered_card_or_result_is_noticed(tmp_path, name):
    save_run(tmp_path)
    flip(tmp_path / name)
    with pytest.raises(DamageError, match=f"{name} was changed after it was written and is set aside as"):
        load_method(tmp_path)


def test_a_card_with_a_seal_of_its_own_is_noticed(tmp_path):
    save_run(tmp_path)
    ModelCard("convirt", TINY["convirt"], KNOWLEDGE, SIZE, "crop").save(tmp_path)
    with pytest.raises(DamageError, match=r"model\.json was changed after it was written"):
        ModelCard.load(tmp_path)


def test_a_file_that_the_run_did_not_write_is_not_taken(tmp_path):
    save_run(tmp_path)
    (tmp_path / "mine.safetensors").write_bytes((tmp_path / TRAINED).read_bytes())
    with pytest.raises(DamageError, match="is not among the files that its run wrote"):
        load_method(tmp_path, "mine.safetensors")


def test_altered_weights_of_a_checkpoint_are_noticed(tmp_path):
    save_run(tmp_path)
    folder = tmp_path / "checkpoints" / "step-00000002"
    folder.mkdir(parents=True)
    (folder / TRAINED).write_bytes((tmp_path / TRAINED).read_bytes())
    write_sealed_json(folder / CHECKPOINT, {"digests": {TRAINED: file_digest(folder / TRAINED)}})
    name = f"checkpoints/step-00000002/{TRAINED}"
    load_method(tmp_path, name)
    flip(folder / TRAINED)
    with pytest.raises(DamageError, match="differs from what the run recorded"):
        load_method(tmp_path, name)


def test_the_folder_of_an_encoder_has_to_be_what_it_was(tmp_path):
    """The tokenizer in it decides what a network reads."""
    encoder = tmp_path / "encoder"
    shutil.copytree(encoder_folder("all-MiniLM-L6-v2"), encoder)
    (encoder / "config.json").write_text(
        json.dumps({**json.loads((encoder / "config.json").read_text()), "num_hidden_layers": 1})
    )
    settings = {**TINY["convirt"], "text_encoder": str(encoder)}
    card = ModelCard("convirt", settings, KNOWLEDGE, SIZE, encoders=named_encoders(settings))
    card.save(tmp_path)
    save_file({key: value.contiguous() for key, value in card.build().state_dict().items()}, tmp_path / TRAINED)
    load_method(tmp_path)
    (encoder / "vocab.txt").write_text("[PAD]")
    with pytest.raises(ModelError, match="which `text_encoder` names, are not those that the network was trained with"):
        load_method(tmp_path)


def test_it_depends_on_no_code_of_the_training():
    rooms = {path.relative_to(ROOT).parts[0] for path in imported_files(["models.saved"])}
    assert rooms == {"models", "store"}
