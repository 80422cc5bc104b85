"""CLIP's towers and tokenizer: images in grey, texts of any length, weights from wherever they come."""

from urllib.error import URLError

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.encoders.clip import ClipImageEncoder, ClipTextEncoder, load_clip
from models.method import Tokens
from models.text.clip_tokenizer import ClipTokenizer

TEXTS = [
    "No acute cardiopulmonary process.",
    "Effusion.",
    "",
    "Left basal atelectasis with a small effusion, improved.",
]


class Towers(nn.Module):
    def __init__(self, size: int = 32, width: int = 64) -> None:
        super().__init__()
        self.visual = ClipImageEncoder(2, width, 2, 8, size, 16)
        self.text = ClipTextEncoder(2, 32, 4, 20, embedding=16)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))


@pytest.fixture(scope="module")
def towers() -> Towers:
    torch.manual_seed(0)
    return Towers().eval()


@pytest.fixture(scope="module")
def theirs(towers) -> open_clip.CLIP:
    """open_clip's CLIP of the same sizes, whose names are OpenAI's and CheXzero's."""
    vision = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 8, "image_size": 32}
    text = {"context_length": 20, "width": 32, "heads": 4, "layers": 2}
    torch.manual_seed(1)
    return open_clip.CLIP(16, open_clip.CLIPVisionCfg(**vision), open_clip.CLIPTextCfg(**text), quick_gelu=True).eval()


def test_weights_in_openais_names_give_open_clips_vectors(theirs, tmp_path):
    torch.save(theirs.state_dict(), tmp_path / "clip.pt")
    ours = Towers().eval()
    load_clip(ours, str(tmp_path / "clip.pt"))
    inputs, tokens = torch.randn(3, 1, 32, 32), ClipTokenizer(20)(TEXTS)
    with torch.no_grad():
        images = ours.visual(inputs)
        texts = ours.text(tokens)
        expected = theirs.encode_image(inputs.expand(-1, 3, -1, -1))
        torch.testing.assert_close(ours.visual.project(images.pooled), expected)
        padded = open_clip.SimpleTokenizer(context_length=20)(TEXTS)
        torch.testing.assert_close(ours.text.project(texts.pooled), theirs.encode_text(padded))
    assert ours.logit_scale == theirs.logit_scale
    assert images.grid == (4, 4)
    assert images.local.shape == (3, 16, 64)
    assert texts.tokens.shape == (*tokens.ids.shape, 32)


def test_names_are_those_of_open_clip(towers):
    vision = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 8, "image_size": 32}
    text = {"context_length": 20, "width": 32, "heads": 4, "layers": 2}
    other = open_clip.CustomTextCLIP(16, open_clip.CLIPVisionCfg(**vision), open_clip.CLIPTextCfg(**text))
    other.load_state_dict(towers.state_dict())


def test_padding_reaches_no_token(towers):
    tokenizer = ClipTokenizer(20)
    with torch.no_grad():
        together = towers.text(tokenizer(TEXTS))
        for row, text in enumerate(TEXTS):
            alone = towers.text(tokenizer([text]))
            torch.testing.assert_close(together.pooled[row : row + 1], alone.pooled)
            torch.testing.assert_close(together.tokens[row : row + 1, : alone.tokens.shape[1]], alone.tokens)


def test_position_embeddings_follow_the_image_size(towers, tmp_path):
    save_file(towers.state_dict(), tmp_path / "weights.safetensors")
    larger = Towers(size=64)
    load_clip(larger, str(tmp_path))
    assert larger.visual.positional_embedding.shape == (65, 64)
    grid = towers.visual.positional_embedding[1:].detach().T.unflatten(1, (4, 4))[None]
    expected = torch.nn.functional.interpolate(grid, (8, 8), mode="bicubic", antialias=True)[0].flatten(1).T
    torch.testing.assert_close(larger.visual.positional_embedding[1:].detach(), expected)
    torch.testing.assert_close(larger.visual.positional_embedding[0], towers.visual.positional_embedding[0])


def test_a_tower_alone_is_filled_too(theirs, tmp_path):
    torch.save(theirs.state_dict(), tmp_path / "clip.pt")
    module = nn.ModuleDict({"text": ClipTextEncoder(2, 32, 4, 20, embedding=16), "head": nn.Linear(2, 2)})
    load_clip(module, str(tmp_path / "clip.pt"))
    torch.testing.assert_close(module["text"].text_projection, theirs.text_projection)


def test_missing_or_unfit_weights_are_one_sentence(towers, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="there is no file"):
        load_clip(Towers(), str(tmp_path / "nowhere.pt"))
    (tmp_path / "text.pt").write_text("not weights")
    with pytest.raises(ValueError, match="neither safetensors nor"):
        load_clip(Towers(), str(tmp_path / "text.pt"))
    torch.save({"visual.proj": towers.visual.proj}, tmp_path / "part.pt")
    with pytest.raises(ValueError, match="lacks `logit_scale`"):
        load_clip(Towers(), str(tmp_path / "part.pt"))
    torch.save(towers.state_dict(), tmp_path / "narrow.pt")
    with pytest.raises(ValueError, match="of other sizes"):
        load_clip(Towers(width=128), str(tmp_path / "narrow.pt"))

    def unreachable(*args, **options):
        raise URLError("no network")

    monkeypatch.setattr("open_clip.pretrained.download_pretrained_from_url", unreachable)
    with pytest.raises(ValueError, match="`openai` of CLIP cannot be reached"):
        load_clip(Towers(), "openai")


def test_sizes_that_do_not_fit_are_one_sentence():
    with pytest.raises(ValueError, match="patches of 32 pixels do not fill images of 100"):
        ClipImageEncoder(size=100)
    with pytest.raises(ValueError, match="text tower of width 30"):
        ClipTextEncoder(width=30, heads=4)
    tokens = Tokens(torch.ones(1, 30, dtype=torch.long), torch.ones(1, 30, dtype=torch.bool))
    with pytest.raises(ValueError, match="reads 20 tokens, not 30"):
        ClipTextEncoder(1, 32, 4, 20)(tokens)


def test_texts_that_are_too_long_keep_their_end():
    tokenizer = ClipTokenizer(8)
    (ids,) = tokenizer.encode(["word " * 50])
    assert len(ids) == 8
    assert (ids[0], ids[-1]) == (tokenizer.start, tokenizer.end)
    short, empty = tokenizer.encode(["Effusion", ""])
    assert short[-1] == tokenizer.end
    assert empty == [tokenizer.start, tokenizer.end]
    tokens = tokenizer(["Effusion", ""])
    assert tokens.mask.sum(1).tolist() == [len(short), 2]
    assert tokens.ids[1, 2:].eq(tokenizer.pad).all()
