"""ONNX: the image encoder, the text encoder, and scores of fixed findings, as graphs with a free batch size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.method import Method, Tokens
from radalign.errors import RadalignError
from radalign.exporting.preparation import preparing_tensors
from radalign.exporting.replay import replaying_texts
from radalign.exporting.subject import SAME, Subject, Written, expect_same
from radalign.exporting.texts import SAMPLES, find_tokenizer, save_tokenizer
from radalign.exporting.towers import NotExportableError, difference, example

IMAGE, TEXT, SCORES = "image.onnx", "text.onnx", "zero_shot.onnx"
FINDINGS = "findings.txt"  # the columns of the scores, one a line
TOLERANCE = 1e-4  # relative
NEEDED = ("onnx", "onnxscript", "onnxruntime")
BATCHES = (1, 3)  # that the graphs are checked with
FEATURES, EMBEDDING = "image_features", "embedding"
LOAD = """import numpy as np
import onnxruntime
from PIL import Image

grey = np.asarray(Image.open("square.png").convert("L"), np.float32)[None, None]  # (batch, 1, {side}, {side}), 0..255
session = onnxruntime.InferenceSession("FOLDER/image.onnx")
{outputs} = session.run(None, {{"grey": grey}})"""
LOAD_TEXT = """
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
tokens = tokenizer(["pleural effusion"], padding=True, truncation=True, return_tensors="np")
inputs = {{name: tokens[key].astype(np.int64) for name, key in (("ids", "input_ids"), ("mask", "attention_mask"))}}
(texts,) = onnxruntime.InferenceSession("FOLDER/text.onnx").run(None, inputs)  # (texts, dim), of length 1"""
LOAD_SCORES = """
findings = open("FOLDER/findings.txt", encoding="utf-8").read().splitlines()
(scores,) = onnxruntime.InferenceSession("FOLDER/zero_shot.onnx").run(None, {{"grey": grey}})  # (batch, findings)"""


class ImageGraph(nn.Module):
    """Grey levels -> features of the image encoder, and the vector in the space shared with texts, if there is one."""

    def __init__(self, network: Method, embeds: bool) -> None:
        super().__init__()
        self.network, self.embeds = network, embeds

    def forward(self, grey: Tensor) -> tuple[Tensor, ...]:
        """(batch, 1, seen, seen) float32."""
        features = self.network.image_features(grey)
        return (features, self.network.embed_images(grey)) if self.embeds else (features,)


class TextGraph(nn.Module):
    """Tokens -> vectors of length 1 in the space shared with images."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(texts, length) int64 each; the mask is 1 for a token and 0 for padding."""
        return text_vectors(self.network, Tokens(ids, mask.bool()))


class ScoreGraph(nn.Module):
    """Grey levels -> scores of fixed findings in 0..1."""

    def __init__(self, network: Method, queries: Sequence[str]) -> None:
        super().__init__()
        self.network, self.queries = network, list(queries)

    def forward(self, grey: Tensor) -> Tensor:
        """(batch, findings) of (batch, 1, seen, seen) float32."""
        return self.network.zero_shot(grey, self.queries).scores


class PresenceGraph(nn.Module):
    """The same for networks whose scores follow from the cosines with two prompts of each finding, kept as vectors."""

    prompts: Tensor  # (2, findings, dim)

    def __init__(self, network: DualEncoder, queries: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("prompts", network.prompt_vectors(list(queries)).clone())

    def forward(self, grey: Tensor) -> Tensor:
        """(batch, findings) of (batch, 1, seen, seen) float32."""
        vectors = self.network.embed_images(grey)
        return self.network.presence(vectors @ self.prompts[0].T, vectors @ self.prompts[1].T)


def refuse(subject: Subject) -> None:
    """Raise RadalignError where findings are asked of a network that scores none."""
    if subject.queries and type(subject.network).zero_shot is Method.zero_shot:
        raise RadalignError(f"{subject.card.method} scores no findings: export it to onnx without any.")


@torch.inference_mode()
def write(subject: Subject, folder: Path) -> Written:
    """The graphs, run again by onnxruntime."""
    expect_packages()
    refuse(subject)
    embeds = subject.embed_images(example(subject.preparation, 1)) is not None
    names = [FEATURES, EMBEDDING] if embeds else [FEATURES]
    differences: dict[str, float] = {}
    with preparing_tensors(subject.network, subject.preparation) as network:
        differences |= _write_graph(ImageGraph(network, embeds), folder / IMAGE, _images(subject), names)
        if tokenizer := _writes_texts(network, embeds):
            differences |= _write_graph(TextGraph(network), folder / TEXT, _texts(network), [f"{EMBEDDING} of texts"])
            save_tokenizer(tokenizer, folder)
        if subject.queries:
            differences |= _write_scores(network, subject, folder / SCORES)
            (folder / FINDINGS).write_text("".join(f"{finding}\n" for finding in subject.findings), encoding="utf-8")
    load = LOAD + (LOAD_TEXT if tokenizer else "") + (LOAD_SCORES if subject.queries else "")
    outputs = ", ".join(names) if embeds else f"({FEATURES},)"
    return Written(
        load.format(side=subject.preparation.seen, outputs=outputs),
        "onnx",
        differences,
        tuple(_notes(subject, tokenizer)),
    )


def expect_packages() -> None:
    """Raise RadalignError where the extra `onnx` is not installed."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise RadalignError(f"The package {missing[0]} is missing: run pip install '.[onnx]' in the checkout.")


def text_vectors(network: Any, tokens: Tokens) -> Tensor:
    """(texts, dim) of length 1, of texts that are tokens already."""
    if hasattr(network, "project_texts"):
        vectors = network.project_texts(tokens)
    else:  # GLoRIA's released network, which does not project them
        network.tokens = lambda texts: tokens
        try:
            vectors = network.read([]).vectors
        finally:
            del network.tokens
    return F.normalize(vectors.float(), dim=-1)


def _write_scores(network: Method, subject: Subject, path: Path) -> dict[str, float]:
    queries, inputs = list(subject.queries), _images(subject)
    if isinstance(network, DualEncoder):
        graph = PresenceGraph(network, queries)
        (grey,) = inputs[-1]
        if difference(graph(grey), network.zero_shot(grey, queries).scores) <= SAME:
            return _write_graph(graph, path, inputs, ["scores"])
    with replaying_texts(network, lambda: network.zero_shot(inputs[0][0], queries)):
        return _write_graph(ScoreGraph(network, queries), path, inputs, ["scores"], optimize=False)


def _writes_texts(network: Any, embeds: bool) -> Any:
    """The tokenizer of a network that has vectors of texts, else None."""
    if not embeds or type(network).embed_texts is Method.embed_texts:
        return None
    return find_tokenizer(network)


def _images(subject: Subject) -> list[tuple[Tensor, ...]]:
    """Inputs of several batch sizes; the last is the one that the graph is made from."""
    return [(example(subject.preparation, images),) for images in BATCHES]


def _texts(network: Any) -> list[tuple[Tensor, ...]]:
    """Tokens of one text, and of several, which are longer."""
    found = [_tokens(network, texts) for texts in (SAMPLES[:1], SAMPLES)]
    return [(tokens.ids, tokens.mask.long()) for tokens in found]


def _tokens(network: Any, texts: Sequence[str]) -> Tokens:
    if hasattr(network, "tokens"):  # of released networks that prepare texts in a way of their own
        tokens: Tokens = network.tokens(texts)
        return tokens
    if getattr(network, "texts", None) is not None:
        tokens = network.texts.tokens(texts, network.device)
        return tokens
    tokens = network.text.tokenizer(texts)
    return tokens


def _write_graph(
    module: nn.Module, path: Path, inputs: Sequence[tuple[Tensor, ...]], outputs: Sequence[str], optimize: bool = True
) -> dict[str, float]:
    """Write a graph, and compare it on all `inputs`; returns the largest difference of each output."""
    names = ["grey"] if len(inputs[0]) == 1 else ["ids", "mask"]
    axes: dict[int, Any] = {0: "batch"} if len(names) == 1 else {0: "batch", 1: "length"}
    with _silently(), _exporting():
        program = torch.onnx.export(
            module.eval(), tuple(tensor.clone() for tensor in inputs[-1]), None, input_names=names,
            output_names=[name.replace(" ", "_") for name in outputs], dynamic_shapes=(axes,) * len(names), dynamo=True,
            verbose=False, optimize=optimize,
        )  # fmt: skip
        assert program is not None
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # traces of the calls, with the paths of this machine
        program.save(path, external_data=_is_large(module))
    return _compare(module, path, inputs, names, outputs)


def _compare(
    module: Callable[..., Any], path: Path, inputs: Sequence[tuple[Tensor, ...]], names: Sequence[str],
    outputs: Sequence[str],
) -> dict[str, float]:  # fmt: skip
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    apart = dict.fromkeys(outputs, 0.0)
    for given in inputs:
        wanted = module(*given)
        wanted = [wanted] if isinstance(wanted, Tensor) else wanted
        found = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)})
        for name, theirs, ours in zip(outputs, found, wanted, strict=True):
            one = expect_same(torch.from_numpy(np.array(theirs)), ours, name.replace("_", " "), TOLERANCE)
            apart[name] = max(apart[name], one)
    return {name.replace("_", " "): value for name, value in apart.items()}


def _is_large(module: nn.Module) -> bool:
    """Whether the weights exceed what a protocol buffer holds."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values()) > 1.8e9


def _notes(subject: Subject, tokenizer: Any) -> Iterator[str]:
    side = subject.preparation.seen
    yield (
        f"`grey` is (batch, 1, {side}, {side}) float32 grey levels 0..255 of prepared squares; the normalisation"
        f"{' and the enlarging' if subject.preparation.is_enlarged else ''} is part of the graphs."
    )
    if tokenizer is not None and (length := _fixed_length(subject.network)):
        yield f"Texts are padded to {length} tokens (`padding='max_length'`): their vectors depend on it."


def _fixed_length(network: Any) -> int:
    """The length that all texts are padded to, or 0."""
    lengths = {_tokens(network, [text]).ids.shape[1] for text in SAMPLES}
    return lengths.pop() if len(lengths) == 1 else 0


@contextmanager
def _exporting() -> Iterator[None]:
    """Raise what torch's exporter cannot do as NotExportableError."""
    try:
        yield
    except Exception as error:  # of torch, onnxscript or onnx, which have errors of their own for every step
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise NotExportableError(f"torch makes no graph of it ({type(cause).__name__})") from error


@contextmanager
def _silently() -> Iterator[None]:
    """Without the reports of torch's exporter."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
