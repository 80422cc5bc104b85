"""LRCLR: its two forms of the local loss, both variants of the image encoder, where it starts, what it answers."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from models.encoders.fusion.cross_modality import TextSequence
from models.method import Batch
from models.methods.chexzero import network as chexzero
from models.methods.lrclr.config import LrclrConfig
from models.methods.lrclr.network import Lrclr, build
from models.registry import recipe

SMALL = {
    "start_from": "", "vision_layers": 3, "vision_width": 32, "vision_heads": 4, "patch": 8, "text_layers": 2,
    "text_width": 32, "text_heads": 2, "text_tokenizer": "all-MiniLM-L6-v2", "context": 16, "embedding": 24,
    "cross_width": 16, "cross_heads": 2,
}  # fmt: skip
TEXTS = ["no effusion", "left effusion is seen in the lung", "edema", "a nodule in the right lung"]


def method(**options) -> Lrclr:
    torch.manual_seed(0)
    model = build({**SMALL, **options}, (), 32)
    torch.nn.init.uniform_(model.cross.norm.weight)  # at 16 ** -0.5, where it starts, inner products are cosines
    return model


def batch(model: Lrclr) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(4, 1, 32, 32, generator=generator) * 255, model.texts.tokenizer(TEXTS))


def terms(model: Lrclr) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in model.losses(batch(model)).items()}


@pytest.mark.parametrize("rerun", [True, False])
@pytest.mark.parametrize("pairs", ["matched", "all"])
def test_losses_written_out(pairs, rerun):
    model = method(local_pairs=pairs, rerun_last_block=rerun)
    given = batch(model)
    regions, read = model.regions(given.images), model.text(given.tokens)
    images = F.normalize(regions.pooled @ model.visual.proj, dim=-1)
    texts = F.normalize(read.pooled @ model.text.text_projection, dim=-1)
    logits = images @ texts.T / 0.07  # where CLIP starts
    own = torch.arange(4)
    lengths = given.tokens.mask.sum(1).tolist()
    alone = [
        TextSequence(read.tokens[k : k + 1, :length], given.tokens.mask[k : k + 1, :length])
        for k, length in enumerate(lengths)
    ]
    contrast = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    local = 0.0
    for i in range(4):
        scores = []
        for k in range(4):
            mate = i if pairs == "matched" else k  # the text that image i has read
            seen = model.cross(regions.tokens[i : i + 1], alone[mate])[0][0]
            source = k if pairs == "matched" else i  # the image that text k has seen
            said = model.cross(regions.tokens[source : source + 1], alone[k])[1][0]
            scores.append(float((seen * said).sum().detach()))
        local -= scores[i] - math.log(sum(math.exp(score) for score in scores))
    found = terms(model)
    assert found["contrast"] == pytest.approx(float(contrast.detach()), rel=1e-5)
    assert found["local"] == pytest.approx(0.5 * local, rel=1e-5)


def test_every_option_of_the_loss_changes_it():
    base = terms(method())["local"]
    for options in ({"local_pairs": "all"}, {"local_reduction": "mean"}, {"local_cosine": True}, {"local_weight": 0.2},
                    {"cross_layers": 1}, {"cross_types": "none"}, {"cross_positions": "learned"},
                    {"rerun_last_block": False}):  # fmt: skip
        assert terms(method(**options))["local"] != pytest.approx(base), options
    assert set(terms(method(local_weight=0.0))) == {"contrast"}
    assert method(first_logit_scale=30.0).telemetry()["logit_scale"] == pytest.approx(30)
    chunked = terms(method(local_pairs="all", local_chunk=3))["local"]
    assert chunked == pytest.approx(terms(method(local_pairs="all"))["local"])


@pytest.mark.parametrize("options", [{}, {"local_pairs": "all"}, {"image_encoder": "vit/3x64p8"}])
def test_everything_learns(options):
    model = method(**options)
    sum(model.losses(batch(model)).values()).backward()
    missing = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    # A bias of keys has no gradient by itself, and a text has no use for positions and words that it does not have.
    assert all("bias" in name for name in missing), missing


def test_encodings_do_not_depend_on_the_rest_of_the_batch():
    for pairs in ("matched", "all"):
        model = method(local_pairs=pairs)
        whole, part = model.encode(batch(model)), model.encode(batch(model).part(slice(1, 3)))
        for name, tensor in part.items():
            torch.testing.assert_close(tensor, whole[name][1:3])


def test_equal_lengths_where_processes_join_tokens():
    model = method(local_pairs="all")
    encoded = model.encode(batch(model))
    assert encoded["words"].shape == (4, 16, 32)
    assert encoded["mask"].sum(1).tolist() == batch(model).tokens.mask.sum(1).tolist()


def test_with_the_image_encoder_as_it_is_zero_shot_is_chexzeros():
    model = method(rerun_last_block=False).eval()
    plain = chexzero.build(
        {"weights": "", **{k: v for k, v in SMALL.items() if not k.startswith(("start", "cross"))}}, (), 32
    )
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("cross.")})
    images, queries = batch(model).images, ["Edema", "No Finding"]
    with torch.no_grad():
        torch.testing.assert_close(
            model.zero_shot(images, queries).scores, plain.eval().zero_shot(images, queries).scores
        )
        torch.testing.assert_close(model.embed_images(images), plain.embed_images(images))
        rerun = method().eval()
        assert not torch.allclose(rerun.embed_images(images), model.embed_images(images))


def test_maps_have_all_patches_whatever_was_selected_before():
    model = method().eval()
    images = batch(model).images
    (maps,) = model.image_maps(images)
    features = model.image_features(images)
    copy = deepcopy(model)
    assert maps.shape == (4, 32, 4, 4)
    torch.testing.assert_close(copy.image_maps(images)[0], maps)
    torch.testing.assert_close(model.image_maps(images)[0], maps)
    torch.testing.assert_close(copy.image_features(images), features)


def test_selected_regions_and_their_attention():
    model = method().eval()
    images = batch(model).images
    found = model.selected_regions(images, TEXTS[:3])
    assert found.index.shape == (4, 4)
    assert found.attention.shape == (4, 3, 4)
    assert found.grid == (4, 4)
    maps = found.maps()
    for image in range(4):
        for prompt in range(3):
            expected = torch.zeros(16)
            for head in range(4):
                expected[found.index[image, head]] += found.attention[image, prompt, head]
            torch.testing.assert_close(maps[image, prompt].flatten(), expected)
    alone = model.selected_regions(images[1:2], TEXTS[2:3])
    torch.testing.assert_close(alone.attention[0, 0], found.attention[1, 2])
    answers = model.zero_shot(images, [TEXTS[0]])
    torch.testing.assert_close(answers.maps[:, 0], maps[:, 0])
    assert not found.attention.requires_grad


def test_it_starts_from_a_run_and_from_its_own_state(tmp_path):
    from safetensors.torch import save_file

    trained = method()
    save_file(
        {name: value.contiguous() for name, value in trained.state_dict().items()}, tmp_path / "weights.safetensors"
    )
    torch.manual_seed(7)
    after = build({**SMALL, "start_from": str(tmp_path)}, (), 32)
    state = after.state_dict()
    for name, value in trained.state_dict().items():
        same = torch.equal(value, state[name])
        assert same or name.startswith("cross."), name
    again = build({**SMALL, "start_from": "nowhere"}, (), 32, trained.state_dict())
    again.load_state_dict(trained.state_dict())
    texts_only = build({**SMALL, "start_from": str(tmp_path), "image_encoder": "vit/3x64p8"}, (), 32)
    assert torch.equal(texts_only.text.token_embedding.weight, trained.text.token_embedding.weight)


def test_mistakes(tmp_path):
    for options, said in (
        ({"local_pairs": "some"}, "local_pairs is `matched` or `all`"),
        ({"local_reduction": "max"}, "local_reduction is `sum` or `mean`"),
        ({"local_chunk": 0}, "at least one pair"),
        ({"start_from": str(tmp_path / "none.pt")}, "no file"),
        ({"image_encoder": "resnet18"}, "choose a ViT"),
    ):
        with pytest.raises(ValueError, match=said):
            method(**options)


def test_defaults_are_the_papers():
    config = LrclrConfig()
    assert (config.local_weight, config.local_pairs, config.local_reduction) == (0.5, "matched", "sum")
    assert replace(config, sections="findings").clip().sections == "findings"
    assert (config.context, config.text_layers, config.text_width, config.text_heads) == (77, 12, 512, 8)


def test_every_layer_takes_part_in_the_selection_where_that_is_asked_for():
    images = batch(method()).images
    every, fewer = (
        method(selection_layers=name).eval().selected_regions(images, ["edema"]) for name in ("all", "before_last")
    )
    assert every.score.shape == every.index.shape == (4, 4)
    assert not torch.allclose(every.score, fewer.score)
    assert recipe("lrclr")["method_config"]["selection_layers"] == "all"  # equation 4


def test_the_label_no_finding_has_chexzeros_options():
    asked = [method(literal_no_finding=literal).prompts.fill("No Finding") for literal in (False, True)]
    assert asked == [(("normal",), ("abnormal",)), (("No Finding",), ("no No Finding",))]


def test_chexzero_selects_regions_too():
    torch.manual_seed(0)
    model = chexzero.build(
        {**{name: value for name, value in SMALL.items() if not name.startswith(("cross", "start"))}, "weights": ""},
        (),
        32,
    ).eval()
    found = model.selected_regions(batch(method()).images, ["edema", "nodule"])
    assert found.index.shape == found.score.shape == (4, 4)
    assert found.grid == (4, 4)
    torch.testing.assert_close(found.attention.sum(-1), torch.ones(4, 2))
    maps = found.maps()
    assert maps.shape == (4, 2, 4, 4)
    assert ((maps > 0).flatten(2).sum(-1) <= 4).all()
