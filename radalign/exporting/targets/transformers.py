"""transformers: a CLIP, a Swin transformer, or timm's encoder in their wrapper; with a BERT in the folder `text`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.encoders.clip import ClipImageEncoder, ClipTextEncoder
from models.released.formats.mgca import ReleasedMgca
from models.released.parts.towers import SWIN, ImageTower
from models.text.folders import quiet
from radalign.exporting.preparation import LONGEST, SQUASH, Preparation
from radalign.exporting.subject import Subject, Written, expect_same
from radalign.exporting.targets import timm as timm_target
from radalign.exporting.texts import SAMPLES, find_bert, find_tokenizer, save_tokenizer
from radalign.exporting.towers import NotExportableError, example, uses_quick_gelu

TEXT = "text"  # folder of the text tower
PROCESSOR = "preprocessor_config.json"
RESAMPLE = {"bilinear": 2, "bicubic": 3}  # PIL's numbers
POSITIONS = "embeddings.position_embeddings.weight"
CLIP_NAMES = (  # open_clip -> transformers, in this order
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("text.token_embedding.", "text_model.embeddings.token_embedding."),
    ("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("text.ln_final.", "text_model.final_layer_norm."),
    ("text.transformer.resblocks.", "text_model.encoder.layers."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
)
PROJECTIONS = {"visual.proj": "visual_projection.weight", "text.text_projection": "text_projection.weight"}
LOAD_IMAGE = """from PIL import Image
from transformers import AutoImageProcessor, AutoModel

model = AutoModel.from_pretrained("FOLDER").eval()
processor = AutoImageProcessor.from_pretrained("FOLDER")
pixels = processor(Image.open("square.png").convert("RGB"), return_tensors="pt")["pixel_values"]
features = model(pixels){features}"""
LOAD_TEXT = """
from transformers import AutoTokenizer

text = AutoModel.from_pretrained("FOLDER/text", add_pooling_layer=False).eval()
tokenizer = AutoTokenizer.from_pretrained("FOLDER/text")
tokens = tokenizer(["pleural effusion"], padding=True, truncation=True, return_tensors="pt")
states = text(**tokens).last_hidden_state"""
LOAD_CLIP = """from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

model = AutoModel.from_pretrained("FOLDER").eval()
processor, tokenizer = AutoImageProcessor.from_pretrained("FOLDER"), AutoTokenizer.from_pretrained("FOLDER")
pixels = processor(Image.open("square.png").convert("RGB"), return_tensors="pt")["pixel_values"]
tokens = tokenizer(["pleural effusion"], padding=True, truncation=True, return_tensors="pt")
images = model.get_image_features(pixels).pooler_output
texts = model.get_text_features(**tokens).pooler_output"""
POOLED, LAST_MAP, FIRST = ".pooler_output", ".last_hidden_state[-1].mean((2, 3))", ".last_hidden_state[:, 0]"
NOTE_TOWERS = (
    "The projections into the space shared with texts are not in here: export to onnx or safetensors for these."
)


def refuse(subject: Subject) -> None:
    """Raise NotExportableError where transformers has no such image encoder."""
    if not _is_swin(subject.network):
        _ = subject.tower  # refuses also a CLIP that looks at selected regions


def write(subject: Subject, folder: Path) -> Written:
    """The network, or its towers, opened again by transformers."""
    refuse(subject)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if _is_clip(subject.network):
            _write_clip(subject, folder)
            return Written(LOAD_CLIP, "transformers", _check_clip(subject, folder))
        load, differences = _write_image(subject, folder)
        if find_bert(subject.network) is None:
            return Written(load, "transformers", differences)
        _write_text(subject.network, folder / TEXT)
        differences["states of texts"] = _check_text(subject.network, folder / TEXT)
        return Written(load + LOAD_TEXT, "transformers", differences, (NOTE_TOWERS,))


def _is_clip(network: Any) -> bool:
    towers = getattr(network, "visual", None), getattr(network, "text", None)
    return isinstance(towers[0], ClipImageEncoder) and isinstance(towers[1], ClipTextEncoder)


def _is_swin(network: Any) -> bool:
    image = getattr(network, "image", None)
    return isinstance(image, ImageTower) and image.kind == SWIN


def _write_image(subject: Subject, folder: Path) -> tuple[str, dict[str, float]]:
    """The image tower; returns how to load it, and the difference of its features."""
    grey = example(subject.preparation)
    wanted = subject.image_features(grey)
    if _is_swin(subject.network):
        tower = subject.network.image.network
        tower.save_pretrained(folder)
        _write_processor(subject.preparation, folder, "ViTImageProcessor")
        pooled = tower(subject.preparation.pixels(grey)).pooler_output
        kind = POOLED if torch.allclose(pooled, wanted, atol=1e-4, rtol=1e-4) else FIRST
    else:
        found = subject.tower
        timm_target.write_tower(found, subject.preparation, folder, model_type="timm_wrapper")
        kind = LAST_MAP if found.gives_maps else POOLED
    return LOAD_IMAGE.replace("{features}", kind), {"image features": _check_image(subject, folder, kind, grey, wanted)}


@torch.inference_mode()
def _check_image(subject: Subject, folder: Path, kind: str, grey: Tensor, wanted: Tensor) -> float:
    from transformers import AutoImageProcessor, AutoModel

    AutoImageProcessor.from_pretrained(folder)
    output = AutoModel.from_pretrained(folder).eval()(subject.preparation.colours(grey))
    if kind == LAST_MAP:
        found = output.last_hidden_state[-1].mean((2, 3))
    else:
        found = output.pooler_output if kind == POOLED else output.last_hidden_state[:, 0]
    return expect_same(found, wanted, "image features")


def _write_text(network: Any, folder: Path) -> None:
    """The BERT as transformers computes it by itself, and its tokenizer."""
    bert = find_bert(network)
    state = dict(bert.state_dict())
    if _knows_no_order(network):
        state[POSITIONS] = state[POSITIONS][:1].expand_as(state[POSITIONS])
    folder.mkdir()
    bert.save_pretrained(folder, state_dict={name: tensor.contiguous() for name, tensor in state.items()})
    tokenizer = find_tokenizer(network)
    assert tokenizer is not None
    save_tokenizer(tokenizer, folder)
    _forget_machine(folder / "config.json")


def _knows_no_order(network: Any) -> bool:
    """Whether the BERT reads all tokens at the first position, as MGCA's code does."""
    return isinstance(network, ReleasedMgca) or not getattr(getattr(network, "text_encoder", None), "positions", True)


@torch.inference_mode()
def _check_text(network: Any, folder: Path) -> float:
    from transformers import AutoModel, AutoTokenizer

    bert, tokenizer = find_bert(network), find_tokenizer(network)
    assert tokenizer is not None
    texts = [text.rstrip(".") for text in SAMPLES]  # some towers read them without the full stop
    tokens = tokenizer(texts)
    positions = {"position_ids": torch.zeros_like(tokens.ids)} if _knows_no_order(network) else {}
    wanted = bert(input_ids=tokens.ids, attention_mask=tokens.mask.long(), **positions).last_hidden_state
    given = AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, return_tensors="pt")
    if not torch.equal(given["input_ids"], tokens.ids):
        raise NotExportableError("transformers reads other tokens with the tokenizer that was written")
    found = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()(**given).last_hidden_state
    return expect_same(found[tokens.mask], wanted[tokens.mask], "states of texts")


def _write_clip(subject: Subject, folder: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    network, tokenizer = subject.network, find_tokenizer(subject.network)
    assert tokenizer is not None
    model = CLIPModel(CLIPConfig(**_describe_clip(network, tokenizer)))
    model.load_state_dict(rename_clip({name: tensor.detach() for name, tensor in network.state_dict().items()}))
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    _write_processor(subject.preparation, folder, "CLIPImageProcessor")


def _describe_clip(network: Any, tokenizer: Any) -> dict[str, Any]:
    visual, text = network.visual, network.text
    activation = "quick_gelu" if uses_quick_gelu(text) else "gelu"
    dim = int(text.text_projection.shape[1])
    parts = {}
    for name, tower in (("vision_config", visual), ("text_config", text)):
        blocks = tower.transformer.resblocks
        parts[name] = {
            "hidden_size": tower.dim, "intermediate_size": blocks[0].mlp.c_fc.out_features,
            "num_hidden_layers": len(blocks), "num_attention_heads": int(blocks[0].attn.num_heads),
            "hidden_act": activation, "projection_dim": dim,
        }  # fmt: skip
    parts["vision_config"] |= {"image_size": int(visual.image_size[0]), "patch_size": int(visual.patch_size[0])}
    parts["text_config"] |= {
        "vocab_size": text.vocab_size, "max_position_embeddings": text.context_length, "bos_token_id": tokenizer.start,
        "eos_token_id": tokenizer.end, "pad_token_id": tokenizer.pad,
    }  # fmt: skip
    return {**parts, "projection_dim": dim}


def rename_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of open_clip's two towers by the names of transformers' CLIPModel; others are left out."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in PROJECTIONS:
            found[PROJECTIONS[name]] = tensor.T.contiguous()
            continue
        if not name.startswith(("visual.", "text.")):
            continue
        renamed = name
        for old, new in CLIP_NAMES:
            renamed = renamed.replace(old, new)
        if ".attn.in_proj_" in renamed:
            stem, kind = renamed.split(".attn.in_proj_")
            parts = zip(("q", "k", "v"), tensor.chunk(3), strict=True)
            found |= {f"{stem}.self_attn.{part}_proj.{kind}": rows.contiguous() for part, rows in parts}
        else:
            found[renamed] = tensor
    return found | {"logit_scale": state["logit_scale"]}


@torch.inference_mode()
def _check_clip(subject: Subject, folder: Path) -> dict[str, float]:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    AutoImageProcessor.from_pretrained(folder)
    grey = example(subject.preparation)
    images = model.get_image_features(subject.preparation.colours(grey)).pooler_output
    tokens = AutoTokenizer.from_pretrained(folder)(list(SAMPLES), padding=True, truncation=True, return_tensors="pt")
    kept = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    texts = model.get_text_features(**kept).pooler_output
    ours = subject.embed_images(grey)
    assert ours is not None
    unit = torch.nn.functional.normalize
    return {
        "vectors of images": expect_same(unit(images, dim=-1), ours, "vectors of images"),
        "vectors of texts": expect_same(unit(texts, dim=-1), subject.network.embed_texts(SAMPLES), "vectors of texts"),
    }


def _write_processor(preparation: Preparation, folder: Path, kind: str) -> None:
    """`preparation` in the words of transformers' image processors, as near as they come."""
    side = {"height": preparation.side, "width": preparation.side}
    keeps = preparation.resize not in (SQUASH, LONGEST)
    content = {
        "image_processor_type": kind,
        "do_resize": True,
        "size": {"shortest_edge": preparation.square * preparation.side // preparation.seen} if keeps else side,
        "resample": RESAMPLE[preparation.interpolation],
        "do_center_crop": keeps,
        "crop_size": side,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preparation.colour_mean),
        "image_std": list(preparation.colour_std),
        "do_convert_rgb": True,
    }
    (folder / PROCESSOR).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _forget_machine(path: Path) -> None:
    """Take the name of a folder out of a configuration."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("_name_or_path", None)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
