"""Files of weights give their tensors and run nothing."""

import io
import json
import os
import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from models.encoders.clip import load_clip
from models.encoders.image import load_weights
from models.encoders.text import TextEncoder
from models.encoders.weight_files import read_weights
from models.errors import ModelError
from models.released.files.containers import read_content
from models.text.folders import encoder_folder
from models.text.tokenizer import WordPieceTokenizer
from tests.cohorts.clocks import within
from tests.models.encoders.test_clip import Towers

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")


class Inner(nn.Module):
    """Attributes of every kind that TorchScript keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4).half())
        self.transposed = nn.Parameter(torch.randn(4, 3).T)
        self.register_buffer("count", torch.arange(5))
        self.register_buffer("empty", torch.empty(0, 2))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("scalar", torch.tensor(2.5, dtype=torch.float64))
        self.register_buffer("brain", torch.randn(2).bfloat16())
        self.mask = torch.ones(2)
        self.names, self.sizes, self.factors, self.switches = ["a"], [1, 2], [0.5], [True]
        self.table, self.device, self.parts, self.pair = {"x": 1}, torch.device("cpu"), [torch.zeros(1)], (1, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mask.sum() + self.sizes[0] + self.factors[0] + self.table["x"] + self.pair[0] + self.parts[0]
        return x.to(self.device) if self.switches[0] and self.names[0] == "a" else x


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Inner(), Inner()])
        self.head = nn.Linear(2, 2)
        self.head.bias = nn.Parameter(torch.randn(6)[1:5:2])  # a part of a storage

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers[0](x))


class Restored(nn.Module):
    """Runs a program of its own when it is loaded; the program gives the tensor other values."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        print("the program of the file runs")
        self.weight = state[0] + 1
        self.training = state[1]


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> tuple[Path, dict[str, Tensor]]:
    """A TorchScript file and its tensors."""
    torch.manual_seed(0)
    module = torch.jit.script(Outer())
    path = tmp_path_factory.mktemp("script") / "outer.pt"
    module.save(str(path))
    return path, module.state_dict()


def rewrite(path: Path, to: Path, changes: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A copy of an archive with other content in some members."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w", compression) as new:
        for name in old.namelist():
            inner = name.partition("/")[2]
            new.writestr(name, changes.get(inner, old.read(name)))
    return to


def test_torchscript_gives_exactly_its_tensors(script):
    path, expected = script
    found = read_weights(path)
    assert set(expected) <= set(found)
    assert {name.rpartition(".")[2] for name in set(found) - set(expected)} == {"mask"}
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor), name


def test_a_clip_of_torchscript_is_the_same_as_one_of_tensors(tmp_path):
    """As OpenAI's: half precision, traced, in flat names."""
    torch.manual_seed(1)
    vision = open_clip.CLIPVisionCfg(layers=2, width=64, head_width=32, patch_size=8, image_size=32)
    text = open_clip.CLIPTextCfg(context_length=20, width=32, heads=4, layers=2)
    clip = open_clip.CLIP(16, vision, text, quick_gelu=True).eval()
    inputs = torch.randn(1, 3, 32, 32), torch.zeros(1, 20, dtype=torch.long)
    torch.jit.trace(clip, inputs, check_trace=False).save(str(tmp_path / "script.pt"))
    torch.save(clip.state_dict(), tmp_path / "plain.pt")
    towers = Towers(), Towers()
    for tower, name in zip(towers, ("script.pt", "plain.pt"), strict=True):
        load_clip(tower, str(tmp_path / name))
    scripted, plain = (tower.state_dict() for tower in towers)
    assert all(torch.equal(scripted[name], plain[name]) for name in plain)


def test_no_program_of_torchscript_runs(tmp_path, capfd):
    path = tmp_path / "restored.pt"
    torch.jit.script(Restored()).save(str(path))
    torch.jit.load(path)
    assert "the program of the file runs" in capfd.readouterr().out, "the file is harmless, and the test shows nothing"
    with pytest.raises(ModelError, match=r"restored\.pt"):
        read_weights(path)
    with pytest.raises(ModelError, match=r"restored\.pt"):
        load_clip(Towers(), str(path))
    assert "runs" not in capfd.readouterr().out


def test_programs_that_do_not_compile_do_not_matter(script, tmp_path):
    path, expected = script
    broken = rewrite(path, tmp_path / "broken.pt", {"code/__torch__.py": b"import os; os.system('true')"})
    assert torch.equal(read_weights(broken)["head.bias"], expected["head.bias"])


def malicious_pickles(marker: Path) -> dict[str, bytes]:
    """Pickles that make `marker` in a naive reader, or ask for something that could."""
    call = pickle.dumps(Malicious(marker), 2)
    return {
        "reduce": call,
        "in a module": b"\x80\x02c__torch__\nM\n)\x81}X\x01\x00\x00\x00w" + call[2:-1] + b"sb.",
        "eval": b"\x80\x02cbuiltins\neval\nX\x04\x00\x00\x001+11\x85R.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\n.",
        "load": b"\x80\x02ctorch\nload\n.",
        "through a name": b"\x80\x02ctorch._utils\nimportlib\n.",
        "a dotted name": b"\x80\x04\x8c\x05torch\x8c\x0ehub.os.system\x94\x93.",
        "torch's unpickler": b"\x80\x02ctorch.jit._pickle\nbuild_tensor_from_id\n.",
        "instance": b"\x80\x02(iposix\nsystem\n.",
        "extension": b"\x80\x02\x82\x01.",
        "a module called": b"\x80\x02c__torch__\nM\nX\x01\x00\x00\x00a\x85R.",
        "builtins of a module": b"\x80\x02c__torch__.builtins\nexec\nX\x01\x00\x00\x00a\x85R.",
        "a module with slots": b"\x80\x02c__torch__\nM\n)\x81N}X\x09\x00\x00\x00__class__K\x01s\x86b.",
        "a module without end": b"\x80\x02c__torch__\nM\n)\x81q\x01}X\x01\x00\x00\x00ah\x01sb.",
        "a memo of 32 GiB": b"\x80\x02c__torch__\nM\n)\x81r\xff\xff\xff\x7f}b.",
        "an array of 64 GiB": b"\x80\x05\x96\x00\x00\x00\x00\x10\x00\x00\x00.",
        "a number": b"\x80\x02K\x01.",
        "nothing": b"",
    }


@pytest.mark.parametrize("kind", list(malicious_pickles(Path("marker"))))
def test_a_malicious_torchscript_is_refused(script, tmp_path, kind):
    marker = tmp_path / "marker"
    path = rewrite(script[0], tmp_path / "a.pt", {"data.pkl": malicious_pickles(marker)[kind]})
    with pytest.raises(ModelError, match="neither safetensors nor"):
        read_weights(path)
    assert not marker.exists()


def test_the_malicious_pickle_works(tmp_path):
    pickle.loads(malicious_pickles(tmp_path / "marker")["reduce"])
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("reader", ["clip", "image"])
@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.pth", "a.safetensors"])
def test_other_malicious_files_are_refused(tmp_path, name, reader):
    marker, path = tmp_path / "marker", tmp_path / name
    with path.open("wb") as file:
        torch.save({"visual.proj": torch.zeros(2), "more": Malicious(marker)}, file)
    legacy = tmp_path / f"legacy {name}"
    torch.save({"more": Malicious(marker)}, legacy, _use_new_zipfile_serialization=False)
    bare = tmp_path / f"bare {name}"
    bare.write_bytes(pickle.dumps(Malicious(marker)))
    for file in (path, legacy, bare):
        with pytest.raises(ModelError, match="neither safetensors nor"):
            load_clip(Towers(), str(file)) if reader == "clip" else load_weights(nn.Linear(2, 2), str(file))
    assert not marker.exists()


def lies(path: Path) -> dict[str, bytes]:
    """`data.pkl` in which one number is not true, or a storage that is not as long as it should be."""
    with zipfile.ZipFile(path) as archive:
        data = archive.read("outer/data.pkl")
    start, size, stride = rb"(?<=Qq.)K\x00", rb"K\x03K\x04", rb"K\x04K\x01"
    changes = {
        "a larger size": (size, b"K\x7fK\x7f"),
        "a later start": (start, b"K\x7f"),
        "wider steps": (stride, b"K\x7fK\x7f"),
        "a negative size": (size, b"J\xfd\xff\xff\xffK\x04"),
        "another type": (rb"HalfStorage", b"LongStorage"),
        "none": (b"^", b""),
        "a path": (rb"X\x01\x00\x00\x000q", b"X\x09\x00\x00\x00../../../q"),
    }
    return {lie: re.sub(old, lambda _, new=new: new, data, count=1, flags=re.S) for lie, (old, new) in changes.items()}


@pytest.mark.parametrize(
    "lie", ["a larger size", "a later start", "wider steps", "a negative size", "another type", "a path"]
)
def test_tensors_stay_within_their_storage(script, tmp_path, lie):
    changed = lies(script[0])[lie]
    assert changed != lies(script[0])["none"]
    with pytest.raises(ModelError, match="neither safetensors nor"):
        read_weights(rewrite(script[0], tmp_path / "a.pt", {"data.pkl": changed}))


def test_a_compressed_archive_is_refused(script, tmp_path):
    """Zeros of a gigabyte would fit in a megabyte."""
    with pytest.raises(ModelError, match="neither safetensors nor"):
        read_weights(rewrite(script[0], tmp_path / "a.pt", {}, zipfile.ZIP_DEFLATED))


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    """Storages that lie inside one another make much memory from a small file."""
    keys, content = "abcdefgh", bytes(1 << 20)
    entries = []
    for key in reversed(keys):
        entry = zipfile.ZipInfo(f"a/data/{key}")
        entry.file_size = entry.compress_size = len(content)
        entry.CRC = zlib.crc32(content)
        entries.insert(0, entry)
        content = entry.FileHeader(zip64=False) + content
    references = b"".join(map(reference, entries))
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        start = archive.fp.tell()
        archive.fp.write(content)
        archive.start_dir = archive.fp.tell()
        for entry in entries:
            entry.header_offset = start
            start += len(entry.FileHeader(zip64=False))
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
        archive.writestr("a/constants.pkl", b"\x80\x02).")
        archive.writestr("a/data.pkl", b"\x80\x02c__torch__\nM\n)\x81}(" + references + b"ub.")
    assert path.stat().st_size < 1.1 * (1 << 20)
    with pytest.raises(ModelError, match="neither safetensors nor") as caught:
        read_weights(path)
    assert re.search("larger than the file|Overlap", str(caught.value.__cause__))


def reference(entry: zipfile.ZipInfo) -> bytes:
    """A name and the tensor of the first byte of a storage, pickled."""
    key, length = entry.filename[-1].encode(), struct.pack("<i", entry.file_size)
    return (
        b"X\x01\x00\x00\x00"
        + key
        + b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nByteStorage\n"
        b"X\x01\x00\x00\x00" + key + b"X\x03\x00\x00\x00cpuJ" + length + b"tQK\x00K\x01\x85K\x01\x85\x89NtR"
    )


def test_damaged_files_are_one_sentence(script, tmp_path):
    content = script[0].read_bytes()
    plain, safe = io.BytesIO(), tmp_path / "whole.safetensors"
    torch.save({"a": torch.zeros(300)}, plain)
    save_file({"a": torch.zeros(300)}, safe)
    for name, whole in (("a.pt", content), ("a.pth", plain.getvalue()), ("a.safetensors", safe.read_bytes())):
        for length in (0, 1, 10, len(whole) // 2, len(whole) - 5):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(ModelError, match=name):
                read_weights(tmp_path / name)
    for place in range(0, len(content), 97):
        (tmp_path / "b.pt").write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read_weights(tmp_path / "b.pt")
        except ModelError:
            continue


def test_what_is_no_tensor_is_left_out(tmp_path):
    torch.save({"a": torch.zeros(2), "epoch": 3, "rare": torch.zeros(2).to_sparse()}, tmp_path / "a.pt")
    assert list(read_weights(tmp_path / "a.pt")) == ["a"]
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ModelError, match=r"list\.pt"):
        read_weights(tmp_path / "list.pt")


def test_weights_of_another_size_are_one_sentence(tmp_path):
    torch.save({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"its `weight` is \(3, 2\), and the settings make it \(2, 2\)"):
        load_weights(nn.Linear(2, 2), str(tmp_path / "a.pt"))
    torch.save({**Towers().state_dict(), "visual.positional_embedding": torch.zeros(4)}, tmp_path / "b.pt")
    with pytest.raises(ModelError, match=r"b\.pt"):
        load_clip(Towers(), str(tmp_path / "b.pt"))


def test_a_compressed_file_of_plain_tensors_is_refused(tmp_path):
    """torch unpacks it, and gigabytes of zeros fit in megabytes."""
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as whole,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in whole.namelist():
            bomb.writestr(name, whole.read(name))
    assert torch.load(tmp_path / "b.pt", weights_only=True)["a"].shape == (1_000_000,)
    with pytest.raises(ModelError, match="neither safetensors nor") as caught:
        read_weights(tmp_path / "b.pt")
    assert "compressed" in str(caught.value.__cause__)


def test_a_tensor_that_is_larger_than_the_file_is_left_out(tmp_path):
    torch.save({"weight": torch.zeros(1).expand(8 << 40, 3, 1, 1), 7: torch.zeros(1)}, tmp_path / "a.pt")
    assert read_weights(tmp_path / "a.pt") == {}
    with pytest.raises(ModelError, match="lacks 1 weights"):
        load_weights(nn.Conv2d(1, 1, 1, bias=False), str(tmp_path / "a.pt"))


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (torch.full((2, 2), torch.nan), "not finite"),
        (torch.full((2, 2), 1e300, dtype=torch.float64), "not finite"),
        (torch.ones((2, 2), dtype=torch.int8), r"of type torch\.int8"),
        (torch.ones((2, 2), dtype=torch.bool), r"of type torch\.bool"),
        (torch.ones((2, 2), dtype=torch.complex64), r"of type torch\.complex64"),
    ],
)
def test_weights_that_are_no_numbers_of_a_network_are_refused(tmp_path, spoilt, message):
    path = tmp_path / "a.pt"
    torch.save({"weight": spoilt, "bias": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match=rf"`weight` in .*a\.pt.*{message}"):
        load_weights(nn.Linear(2, 2), str(path))
    name, clip = "text.text_projection", Towers()
    torch.save({**clip.state_dict(), name: spoilt[:1, :1].expand(clip.text.text_projection.shape).clone()}, path)
    with pytest.raises(ModelError, match=rf"`{name}` in .*{message}"):
        load_clip(Towers(), str(path))


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with within(10):
        with pytest.raises(OSError, match="Not a regular file"):
            read_weights(tmp_path / "pipe.pt")
        with pytest.raises(ModelError, match=r"pipe\.pt cannot be read: Not a regular file"):
            read_content(tmp_path / "pipe.pt")


def test_weights_of_half_precision_are_read(tmp_path):
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    torch.save(
        {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}, tmp_path / "a.pt"
    )
    target = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    load_weights(target, str(tmp_path / "a.pt"))
    assert torch.equal(target[0].weight, network[0].weight.half().float())


@pytest.fixture
def hostile_encoder(tmp_path) -> tuple[Path, Path]:
    """A text encoder whose folder brings programs and pickled weights of its own."""
    folder, marker = tmp_path / "encoder", tmp_path / "marker"
    folder.mkdir()
    for file in Path(encoder_folder("bert/1x64")).iterdir():
        if file.is_file() and file.suffix in (".json", ".txt"):
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\nclass Evil: pass\n")
    names = {name: "evil.Evil" for name in ("AutoConfig", "AutoModel")} | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).exists():
            known = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({**known, "auto_map": names}))
    torch.save({"embeddings.word_embeddings.weight": Malicious(marker)}, folder / "pytorch_model.bin")
    return folder, marker


def test_a_text_encoder_runs_nothing(hostile_encoder):
    folder, marker = hostile_encoder
    WordPieceTokenizer(str(folder), 20)
    with pytest.raises(ModelError, match="text encoder"):
        TextEncoder(str(folder))
    assert not marker.exists()
    (folder / "config.json").write_text('{"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}')
    with pytest.raises(ModelError, match="text encoder"):
        TextEncoder(str(folder))
    assert not marker.exists()


@pytest.fixture
def encoder(tmp_path) -> Path:
    """A small text encoder with weights."""
    source, folder = Path(encoder_folder("bert/1x64")), tmp_path / "encoder"
    config = AutoConfig.from_pretrained(source, num_hidden_layers=1, hidden_size=64, num_attention_heads=1)
    AutoModel.from_config(config, add_pooling_layer=False).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    return folder


def test_a_text_encoder_of_weights_that_are_not_finite_is_refused(encoder):
    path = encoder / "model.safetensors"
    TextEncoder(str(encoder))
    state = load_file(path)
    state["encoder.layer.0.attention.self.key.bias"][3] = torch.inf
    save_file(state, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"`encoder\.layer\.0\.attention\.self\.key\.bias` of .* not finite"):
        TextEncoder(str(encoder))


@pytest.mark.parametrize(
    ("id_of_word", "message"), [(0, "more pieces than its weights"), (10**6, "not that of a BERT")]
)
def test_a_tokenizer_that_names_pieces_without_weights_is_refused(encoder, id_of_word, message):
    path = encoder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["cardiomegaly"] = id_of_word or len(vocabulary)
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message):
        TextEncoder(str(encoder))


def test_a_tokenizer_without_the_marks_of_a_bert_is_refused(encoder):
    (encoder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (encoder / "special_tokens_map.json").unlink()
    with pytest.raises(ModelError, match=r"\[PAD\], \[CLS\] and \[SEP\]"):
        WordPieceTokenizer(str(encoder), 20)
