"""What this machine has for Radalign, what is missing, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from store.errors import UserError
from store.home import default_home, existing_part, home_at, is_writable
from store.remote.mirror import is_address, name_of, refresh
from tracking.places import place_of
from tracking.places.postgres import HISTORY_VARIABLE, Database

GIGA = 1e9
FREE_GB = 10.0  # the environment, the simulated archives and a few runs
GPU_GB = 12.0  # a ResNet-50 and a BERT at batches of 32 and 224 pixels
PORTS = {"Dagster": 3000, "MLflow": 5000}
PYTHON = (3, 11), (3, 15)  # from, below
NEEDED = ("torch", "timm", "transformers", "pyarrow", "duckdb", "pydicom", "dagster", "mlflow")
OPTIONAL = {
    "dagster-postgres": "several people and machines on one PostgreSQL: pip install '.[postgres]' in the checkout",
    "s3fs": "archives and homes on object storage: pip install '.[remote]' in the checkout",
}
HUB_WEIGHTS = "emilyalsentzer/Bio_ClinicalBERT"  # the text encoder of most methods' papers

MARKS = {"ok": "ok  ", "note": "note", "missing": "MISS"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    state: str  # ok; note: something is not there that not every run needs; missing: nothing works without it
    subject: str
    text: str
    advice: str = ""

    @property
    def mark(self) -> str:
        """How a list shows the state."""
        return MARKS[self.state]


def examine(home: str = "") -> list[Finding]:
    """Everything that is looked at, in the order in which it matters."""
    parts = (_python(), _packages(), _torch(), _home(home), _databases(home), _weights(), _archives(), _ports())
    return [finding for part in parts for finding in part]


def _python() -> Iterator[Finding]:
    there = f"{platform.python_version()} on {platform.system()}, {_cores()} cores, {_memory_gb():.0f} GB of memory"
    fits = PYTHON[0] <= sys.version_info[:2] < PYTHON[1]
    yield Finding("ok" if fits else "missing", "Python", there, "" if fits else "Use Python 3.11 to 3.14.")


def _packages() -> Iterator[Finding]:
    found, absent = [], []
    for name in NEEDED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            absent.append(name)
    if found:
        yield Finding("ok", "Packages", ", ".join(found))
    if absent:
        yield Finding("missing", "Packages", f"not installed: {', '.join(absent)}", "Run `make setup`.")
    for name, use in OPTIONAL.items():
        try:
            version(name)
        except PackageNotFoundError:
            yield Finding("note", name, "not installed", f"It is needed for {use}")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except ImportError:
        return
    if not torch.cuda.is_available():
        yield Finding(
            "note",
            "GPU",
            "none; training and evaluation use the CPU",
            "The demo's presets fit a CPU; the papers' presets need a GPU.",
        )
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        size = properties.total_memory / GIGA
        advice = "" if size >= GPU_GB else "Raise `micro_batches`, or lower `batch_size` or `input_size`."
        yield Finding("ok", f"GPU {index}", f"{properties.name}, {size:.0f} GB", advice)


def _home(home: str) -> Iterator[Finding]:
    folder = _folder(home)
    yield from _store(folder)
    there = existing_part(folder)
    free = shutil.disk_usage(there).free / GIGA
    if not is_writable(there):
        yield Finding("missing", "Home", f"{folder} cannot be written to", "Set RADALIGN_HOME to a folder of your own.")
        return
    advice = "" if free >= FREE_GB else f"Make room: the demo takes some {FREE_GB:.0f} GB."
    yield Finding("ok" if free >= FREE_GB else "note", "Home", f"{folder}, {free:.0f} GB free", advice)


def _folder(home: str) -> Path:
    return (home_at(home) if is_address(home) else Path(home).absolute()) if home else default_home()


def _store(folder: Path) -> Iterator[Finding]:
    """The store of a remote home, and whether it can be used."""
    name = name_of(folder)
    if name == str(folder):
        return
    try:
        refresh(folder)
    except UserError as error:
        yield Finding("missing", "Store", name, str(error))
    else:
        yield Finding("ok", "Store", f"{name} can be read and written; {folder} mirrors it")


def _databases(home: str) -> Iterator[Finding]:
    """What keeps the history of runs and the records of trainings, where it is not in the home."""
    try:
        if address := os.environ.get(HISTORY_VARIABLE):
            database = Database.of(address, HISTORY_VARIABLE)
            database.expect()
            yield Finding("ok", "Database", f"{database} answers; Dagster keeps its history there")
    except UserError as error:
        yield Finding("missing", "Database", "cannot be used", str(error))
    try:
        place = place_of(_folder(home))
        if place.shared:
            place.expect()
            yield Finding("ok", "MLflow", f"{place} answers; trainings are recorded there")
    except UserError as error:
        yield Finding("missing", "MLflow", "cannot be used", str(error))


def _weights() -> Iterator[Finding]:
    """Whether pretrained encoders are in the cache of the hub, or could be downloaded."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return
    cached = isinstance(try_to_load_from_cache(HUB_WEIGHTS, "config.json"), str)
    if cached:
        yield Finding("ok", "Pretrained weights", f"{HUB_WEIGHTS} is in the cache")
        return
    reached = _reaches_hub()
    yield Finding(
        "ok" if reached else "note",
        "Pretrained weights",
        f"{HUB_WEIGHTS} is not in the cache, and the hub can{'' if reached else 'not'} be reached",
        ""
        if reached
        else "The demo's presets need no download. For others copy the weights to a folder and name it in the "
        "method's settings (text_encoder, image_weights).",
    )


def _reaches_hub(seconds: float = 3.0) -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return False
    try:
        from huggingface_hub.constants import ENDPOINT

        host = ENDPOINT.split("://")[-1].split("/")[0]
        with socket.create_connection((host, 443), seconds):
            return True
    except OSError:
        return False


def _archives() -> Iterator[Finding]:
    from cohorts.errors import CohortError
    from cohorts.registry import cohort_names
    from ingestion.pooling.names import check_name
    from ingestion.workspace import PHANTOM, REMOTE

    named = []
    for name in cohort_names():
        variable = f"RADALIGN_{name.upper()}_ROOT"
        root = os.environ.get(variable, "")
        if not root:
            continue
        named.append(name)
        there = REMOTE in root or _is_archive(name, Path(root))
        advice = "" if there else f"Set {variable} to the folder that holds the archive: `radalign datasets {name}`."
        yield Finding("ok" if there else "missing", variable, root if there else f"{root} is no folder", advice)
    if not named:
        yield Finding("note", "Archives", f"no RADALIGN_<DATASET>_ROOT is set; {PHANTOM} simulates its own", "")
    try:
        check_name(os.environ.get("RADALIGN_COHORT", PHANTOM))
    except CohortError as error:
        yield Finding("missing", "RADALIGN_COHORT", str(error), "")


def _is_archive(name: str, root: Path) -> bool:
    from cohorts.errors import CohortError
    from cohorts.registry import files_root

    try:
        return files_root(name, root).is_dir()
    except CohortError:  # of a description with a mistake; a run says which
        return False


def _ports() -> Iterator[Finding]:
    for name, port in PORTS.items():
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        if taken:
            yield Finding(
                "note", f"Port {port}", f"in use; `make ui` wants it for {name}",
                f"Stop what uses it, or run `python -m pipelines.ui --{name.lower()}-port NUMBER`.",
            )  # fmt: skip
        else:
            yield Finding("ok", f"Port {port}", f"free for {name}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGA
