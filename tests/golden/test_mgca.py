"""Our MGCA, set to the authors' code, gives the numbers of the authors' code."""

import numpy as np
import pytest
import torch
from torch import nn

from models.encoders.attention import attention_maps
from models.encoders.image import ImageEncoder, ImageFeatures
from models.encoders.text import TextFeatures
from models.losses.info_nce import info_nce, pair_logits
from models.losses.sinkhorn import sinkhorn
from models.losses.token_alignment import attention_weights
from models.method import Tokens
from models.methods.mgca.config import MgcaConfig
from models.methods.mgca.network import Mgca, Report
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
PROTOTYPES = {"rtol": 1e-6, "atol": 1e-6}  # the code rounds the assignment to float32
DTYPE = {"32": torch.float32, "64": torch.float64}
CONFIG = {
    "directions": "sum",
    "attention_heads": 0,
    "token_weights": "clipped",
    "words": "shifted",
    "padding": "negatives",
}


class AsItIs(nn.Module):
    """For files that begin behind the heads."""

    def forward(self, features, mask=None):
        return features


class Stub(nn.Module):
    """An encoder or tokenizer of which only the sizes are asked."""

    def __init__(self, **attributes):
        super().__init__()
        self.__dict__.update(attributes)


def network(arrays: dict[str, np.ndarray], dtype: torch.dtype) -> Mgca:
    hyper = {key[len("hp.") :]: arrays[key].item() for key in arrays if key.startswith("hp.")}
    hidden = arrays.get("param.img_encoder_q.global_embed.head.0.weight")
    config = MgcaConfig(
        **{**CONFIG, "attention_heads": hyper["num_heads"] if hyper["use_local_atten"] else 0},
        dim=hyper["emb_dim"],
        hidden=1 if hidden is None else len(hidden),
        instance_temperature=hyper["softmax_temperature"],
        token_temperature=hyper["local_temperature"],
        attention_temperature=hyper["local_temperature"],
        prototype_temperature=hyper["proto_temperature"],
        instance_weight=hyper["lambda_1"],
        token_weight=hyper["lambda_2"],
        prototype_weight=hyper["lambda_3"],
        bidirectional=hyper["bidirectional"],
        normalised_words="vit" not in hyper["img_encoder"],
        prototypes=hyper["num_prototypes"],
        epsilon=hyper["epsilon"],
        sinkhorn_iterations=hyper["sinkhorn_iterations"],
    )
    widths = {name: arrays[f"in.{name}_feat"].shape[-1] for name in ("img", "patch", "report", "word")}
    images = Stub(dim=widths["img"], local_dim=widths["patch"], transformer=True)
    tokenizer = Stub(end=2, continues=torch.zeros(3, dtype=torch.bool))
    model = Mgca(config, images, Stub(dim=widths["report"]), tokenizer, size=224)
    state = {our_name(key[len("param.") :]): arrays[key] for key in arrays if key.startswith("param.")}
    if hidden is None:
        model.image_head, model.report_head, model.patch_head, model.word_head = (AsItIs() for _ in range(4))
    shaped = {
        name: torch.from_numpy(value).view(wanted.shape)  # the code's linear maps of tokens are convolutions
        for name, wanted in model.state_dict().items()
        if (value := state.pop(name, None)) is not None
    }
    missing = model.load_state_dict(shaped, strict=False).missing_keys
    assert not [name for name in missing if "running" not in name and "tracked" not in name]
    assert not [name for name in state if not name.startswith("look_at_")]  # the code allocates them where unused too
    return model.to(dtype)


def our_name(theirs: str) -> str:
    for official, ours in {
        "img_encoder_q.global_embed.": "image_head.",
        "img_encoder_q.local_embed.": "patch_head.",
        "text_encoder_q.global_embed.": "report_head.",
        "text_encoder_q.local_embed.": "word_head.",
        "head.0.": "hidden.",
        "head.1.": "hidden_norm.norm.",
        "head.3.": "output.",
        "head.4.": "output_norm.norm.",
        "word_local_atten_layer.": "look_at_patches.learned.",
        "patch_local_atten_layer.": "look_at_words.learned.",
        "prototype_layer.": "prototypes.",
    }.items():
        theirs = theirs.replace(official, ours)
    return theirs


def inputs(arrays: dict[str, np.ndarray], dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], ImageFeatures, Report]:
    leaves = {
        name: torch.from_numpy(arrays[f"in.{name}"]).to(dtype).requires_grad_()
        for name in ("img_feat", "patch_feat", "report_feat", "word_feat")
    }
    mask = torch.from_numpy(arrays["in.sents"][:, 1:] != "[PAD]")
    attention = None
    if "vit" in arrays["hp.img_encoder"].item():
        attention = torch.from_numpy(arrays["in.vit_attn_map"]).to(dtype)[:, :, 0, 1:].mean(1)
    images = ImageFeatures(leaves["img_feat"], leaves["patch_feat"], (1, leaves["patch_feat"].shape[1]), attention)
    weights = torch.from_numpy(arrays["in.word_attn"]).to(dtype)
    return leaves, images, Report(leaves["report_feat"], leaves["word_feat"], weights, mask)


def compare(ours: dict[str, torch.Tensor], arrays: dict[str, np.ndarray], group: str, tolerance: dict) -> None:
    """Everything of ours that the file has; at least one thing has to be there."""
    present = [name for name in ours if f"{group}.{name}" in arrays]
    assert present
    for name in present:
        theirs = arrays[f"{group}.{name}"]
        value = ours[name].detach().numpy().reshape(theirs.shape)
        np.testing.assert_allclose(value, theirs, **tolerance, err_msg=f"{group}.{name}")


STEPS = [
    parameter
    for parameter in golden_files("mgca_*.npz")
    if parameter.values[0] is None or "in.img_feat" in np.load(parameter.values[0]).files
]


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", STEPS)
def test_losses_and_gradients(path, precision):
    arrays = load(path)
    model = network(arrays, DTYPE[precision])
    leaves, images, report = inputs(arrays, DTYPE[precision])
    encoded = model.represent(images, report)
    terms = model.contrast(encoded)
    total = sum(terms.values())
    total.backward()
    config = model.config
    compare(
        {
            "loss_ita": terms["instance"] / config.instance_weight,
            "loss0": info_nce(encoded["images"], encoded["reports"], config.instance_temperature, 1),
            "loss1": info_nce(encoded["images"], encoded["reports"], config.instance_temperature, 0),
            "loss_word": encoded["words"].mean(),
            "loss_patch": encoded.get("patches", torch.zeros(1)).mean(),
            "loss_local": sum(terms[name] for name in ("words", "patches") if name in terms) / config.token_weight,
        },
        arrays,
        f"out{precision}",
        TOLERANCE[precision],
    )
    rounded = TOLERANCE["32"] if precision == "32" else PROTOTYPES
    compare(
        {"loss_proto": terms["prototype"] / config.prototype_weight, "total": total}, arrays, f"out{precision}", rounded
    )
    prototypes = model.prototypes.weight
    compare({"prototype_weight_after_forward": prototypes}, arrays, f"out{precision}", TOLERANCE[precision])
    theirs = {our_name(key.split(".", 1)[1]): key for key in arrays if key.startswith(f"grad{precision}.")}
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    ours |= {name: leaf.grad for name, leaf in leaves.items()} | {"prototype_weight": prototypes.grad}
    for name, key in theirs.items():
        gradient = torch.zeros(arrays[key].shape) if ours.get(name) is None else ours[name]
        np.testing.assert_allclose(gradient.numpy().reshape(arrays[key].shape), arrays[key], **rounded, err_msg=key)
    remembered = {our_name(key.split("after.")[1]): key for key in arrays if key.startswith(f"out{precision}.after.")}
    for name, key in remembered.items():
        np.testing.assert_allclose(model.get_buffer(name), arrays[key], **TOLERANCE[precision], err_msg=key)


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", STEPS)
def test_intermediates(path, precision):
    arrays = load(path)
    model = network(arrays, DTYPE[precision])
    _, images, report = inputs(arrays, DTYPE[precision])
    with torch.no_grad():
        encoded = model.represent(images, report)
        patches, words = model.project_patches(images), model.project_words(report)
        seen = model.look_at_patches(words, patches)
        seen = seen / seen.norm(dim=-1, keepdim=True)
        prototypes = model.normalise_prototypes()
    vectors, reports = encoded["images"] @ prototypes.T, encoded["reports"] @ prototypes.T
    ours = {
        "mask": ~report.mask,
        "scores": pair_logits(encoded["images"], encoded["reports"], model.config.instance_temperature),
        "word_atten_output": seen,
        "word_sim": words @ seen.mT / model.config.token_temperature,
        "word_atten_weights": attention_weights(report.attention, report.mask, clipped=True),
        "img_proto_out": vectors,
        "report_proto_out": reports,
        "img_proto_prob": (vectors / model.config.prototype_temperature).softmax(1),
        "report_proto_prob": (reports / model.config.prototype_temperature).softmax(1),
    }
    if model.config.bidirectional:
        seen = model.look_at_words(patches, words, report.mask)
        seen = seen / seen.norm(dim=-1, keepdim=True) if model.config.normalised_words else seen
        ours |= {
            "patch_atten_output": seen,
            "patch_sim": patches @ seen.mT / model.config.token_temperature,
            "patch_atten_weights": model.patch_weights(images, patches),
        }
    compare(ours, arrays, f"out{precision}", TOLERANCE[precision])
    settings = model.config.epsilon, model.config.sinkhorn_iterations
    codes = {"img_code": sinkhorn(vectors, *settings), "report_code": sinkhorn(reports, *settings)}
    compare(codes, arrays, f"out{precision}", TOLERANCE["32"] if precision == "32" else PROTOTYPES)


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("mgca_sinkhorn.npz"))
def test_sinkhorn(path, precision):
    arrays = load(path)
    logits = torch.from_numpy(arrays["in.logits"]).to(DTYPE[precision])
    code = sinkhorn(logits, arrays["hp.epsilon"].item(), arrays["hp.sinkhorn_iterations"].item())
    np.testing.assert_allclose(code, arrays[f"out{precision}.code"], **PROTOTYPES)


@pytest.mark.parametrize("path", golden_files("mgca_sinkhorn_distributed.npz"))
def test_sinkhorn_of_several_processes_is_that_of_their_joined_batch(path):
    arrays = load(path)
    logits, part = torch.from_numpy(arrays["in.logits"]), arrays["hp.per_rank_batch"].item()
    settings = arrays["hp.epsilon"].item(), arrays["hp.sinkhorn_iterations"].item()
    for name in ("code_distributed", "code_single_on_global_batch"):
        np.testing.assert_allclose(sinkhorn(logits, *settings), arrays[f"out32.{name}"], **PROTOTYPES)
    parts = torch.cat([sinkhorn(rows, *settings) for rows in logits.split(part)])
    np.testing.assert_allclose(parts, arrays["out32.code_single_per_rank"], **PROTOTYPES)


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("mgca_text_aggregation.npz"))
def test_words_and_their_attention(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    ids, mask = torch.from_numpy(arrays["in.caption_ids"]), torch.from_numpy(arrays["in.attention_mask"]) == 1
    vocabulary = arrays["in.vocab"].tolist()
    continues = torch.tensor([piece.startswith("##") for piece in vocabulary])
    tokenizer = Stub(end=vocabulary.index("[SEP]"), continues=continues)
    states = torch.from_numpy(arrays["in.last_hidden_state"]).to(dtype)
    attention = torch.from_numpy(arrays["in.last_attention"]).to(dtype)[:, :, 0]
    longest = int(mask.sum(1).max()) if mask.shape[1] > 1 else 1  # what our batches are padded to
    for length in {longest, mask.shape[1]}:
        config = MgcaConfig(**CONFIG, text_length=mask.shape[1], hidden=1)
        model = Mgca(config, Stub(dim=1, local_dim=1, transformer=True), Stub(dim=1), tokenizer, size=224)
        features = TextFeatures((states[:, :length],), attention[:, :, :length])
        report = model.report_of(features, Tokens(ids[:, :length], mask[:, :length]))
        ours = {"report_feat": report.vector, "word_feat": report.words, "word_attn": report.attention}
        compare(ours, arrays, f"out{precision}", TOLERANCE[precision])
        np.testing.assert_array_equal(report.mask, arrays["out.sents"][:, 1:] != "[PAD]")


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("mgca_minivit.npz"))
def test_vision_transformer(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    depth, dim, patch, heads, size = (
        arrays[f"hp.{name}"].item() for name in ("depth", "dim", "patch", "heads", "img_size")
    )
    encoder = ImageEncoder(f"vit/{depth}x{dim}p{patch}", size)
    state = {key[len("param.") :]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith("param.")}
    vit = encoder.network
    # Ours are for grey images: as many of its patches as there are colours, each with its weights, make theirs.
    vit.patch_embed.proj = nn.Conv2d(arrays["in.imgs"].shape[1], dim, patch, patch)
    for block in vit.blocks:
        block.attn.num_heads, block.attn.head_dim, block.attn.scale = heads, dim // heads, (dim // heads) ** -0.5
    vit.load_state_dict(state)
    encoder.to(dtype).eval()
    images = torch.from_numpy(arrays["in.imgs"]).to(dtype)
    with torch.no_grad():
        features = encoder(images, attention=True)
    tokens = torch.cat([features.pooled[:, None], features.local], 1)
    attention = attention_maps(vit, images)[-1]
    compare({"tokens": tokens, "last_attention_map": attention}, arrays, f"out{precision}", TOLERANCE[precision])
    ours = features.attention
    np.testing.assert_allclose(ours, attention[:, :, 0, 1:].mean(1), **TOLERANCE["32"])
