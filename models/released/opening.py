"""Opens a released file: reads it, finds whose it is, builds that network, and fills it with all of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from models.encoders.weight_files import numbers_like
from models.errors import ModelError
from models.registry import released_names
from models.released.files.containers import Content, read_content
from models.released.network import ReleasedNetwork
from store.errors import did_you_mean

PACKAGE = f"{__package__}.formats"
LARGEST = 4096  # side of an image, pixels


@dataclass(frozen=True)
class Converted:
    """A released file in our terms."""

    settings: dict[str, Any]  # plain values with which `Format.build` makes the network
    state: dict[str, Tensor]  # its weights, by the network's own names: none missing, none left over
    notes: tuple[str, ...] = field(default=())  # what a user should know of this file, in sentences


class Format(Protocol):
    """A module of `models/released/formats/`."""

    LICENCE: str  # of the weights, as stated where they are released, in one sentence
    SOURCE: str  # paper and repository

    def recognises(self, content: Content) -> bool:
        """Whether a file is of this format, by the names in it."""

    def convert(self, content: Content, texts: Path | None) -> Converted:
        """The file in our terms; `texts` is the folder of the text encoder (vocabulary, configuration) where given.

        ModelError for a file that lacks something, and where `texts` is needed and not given.
        """

    def build(self, settings: Mapping[str, Any]) -> ReleasedNetwork:
        """The network, with any weights."""


def find_format(name: str) -> Format:
    """The format called `name`; ModelError names the nearest where there is none."""
    if name not in released_names():
        raise ModelError(
            f"no released format is called `{name}`{did_you_mean(name, released_names())}: "
            f"they are {', '.join(released_names())}"
        )
    module: Any = import_module(f"{PACKAGE}.{name}")
    return module


def recognise(content: Content, path: Path) -> str:
    """The name of the format of a file; ModelError where there is none, or more than one."""
    found = [name for name in released_names() if find_format(name).recognises(content)]
    if len(found) != 1:
        what = f"could be {' or '.join(found)}: name one" if found else "has names of weights that no format knows"
        raise ModelError(f"{path} {what}; formats are {', '.join(released_names())}")
    return found[0]


def convert_file(
    path: Path, name: str = "", texts: Path | None = None, size: int = 0, descriptions: Sequence[str] = ()
) -> tuple[str, Converted]:
    """A released file in our terms, with the name of its format.

    `size` is the side of its images in pixels, where a format has several and its files do not say which; 0: as usual.
    `descriptions` are those of findings that the network is to be asked for, where it has no text tower.

    Raises:
        ModelError: it cannot be read, is of another format than `name`, lacks weights or has some left over.
    """
    content = read_content(path)
    chosen = name or recognise(content, path)
    if not find_format(chosen).recognises(content):
        others = [other for other in released_names() if find_format(other).recognises(content)]
        hint = f"it is one of {' or '.join(others)}" if others else "its names of weights are others"
        raise ModelError(f"{path} is no file of {chosen}: {hint}")
    with explaining(path, chosen):
        converted = find_format(chosen).convert(content, texts)
        describe = getattr(find_format(chosen), "describe_findings", None)
        if descriptions and describe is not None:
            converted = describe(converted, texts, descriptions)
        return chosen, _at_size(chosen, converted, size) if size else converted


def _at_size(chosen: str, converted: Converted, size: int) -> Converted:
    """The file for images of `size` pixels, where its format has a function `at_size` for it."""
    choose = getattr(find_format(chosen), "at_size", None)
    if choose is None:
        raise ModelError(f"the size of images follows from a file of {chosen}: leave it out")
    if not 0 < size <= LARGEST:
        raise ModelError(f"images have 1 to {LARGEST} pixels on a side, not {size}")
    resized: Converted = choose(converted, size)
    return resized


@contextmanager
def explaining(path: Path, chosen: str) -> Iterator[None]:
    """Raise what goes wrong with a file of a format as ModelError: what is in the file decides what that is."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except Exception as error:
        raise ModelError(
            f"{path} is no whole file of {chosen}: a weight is missing or of another shape ({type(error).__name__}: "
            f"{' '.join(str(error).split())})"
        ) from error


def open_file(path: Path, name: str = "", texts: Path | None = None) -> ReleasedNetwork:
    """The network of a released file in evaluation mode; errors are those of `convert_file`."""
    chosen, converted = convert_file(path, name, texts)
    return make_network(chosen, converted, path)


def make_network(chosen: str, converted: Converted, path: Path) -> ReleasedNetwork:
    """The network of a converted file in evaluation mode; ModelError where its weights are not those of the file."""
    with explaining(path, chosen):
        network = find_format(chosen).build(converted.settings)
    fill(network, converted.state, path)
    return network.eval()


def fill(network: ReleasedNetwork, state: Mapping[str, Tensor], path: Path) -> None:
    """Load all weights; ModelError names the first that is missing, left over, or of another size or type."""
    wanted = network.state_dict()
    if missing := sorted(wanted.keys() - state.keys()):
        raise ModelError(f"{path} lacks {len(missing)} weights, the first is `{missing[0]}`")
    if left := sorted(state.keys() - wanted.keys()):
        raise ModelError(f"{path} has {len(left)} weights that the network does not, the first is `{left[0]}`")
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            raise ModelError(
                f"{path}: `{key}` has the shape {tuple(tensor.shape)}, and the network's has {tuple(wanted[key].shape)}"
            )
    network.load_state_dict({key: numbers_like(wanted[key], tensor, key, path) for key, tensor in state.items()})
