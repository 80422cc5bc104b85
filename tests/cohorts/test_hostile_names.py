"""Names of any kind, of files and in tables: each is a study, a reject or no image, and no scan waits or stops."""

from __future__ import annotations

import csv
import gzip
import io
import os
import socket
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import pyarrow.parquet as pq
import pytest

from cohorts.base import Scan
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from cohorts.registry import cohort_names, open_cohort
from tests.cohorts.clocks import within
from tests.cohorts.scans import check, rejected

LAYOUTS = {name: name for name in cohort_names()} | {"phantom": "mimic_cxr"}
LAYOUTS["open_i_kaggle"] = "open_i_kaggle"
LISTS_FOLDERS = ("siim_pneumothorax", "rsna_pneumonia")  # a file that no table names is a row
TABLES = (".csv", ".gz", ".xml", ".txt")
COMPOSED = unicodedata.normalize("NFC", "é_1")
NAMES = {
    "newline": "a\nb_1",
    "tab": "a\tb_1",
    "quotes": "\"a'b_1",
    "pattern": "[a]*?_1",
    "dash": "-rf_1",
    "composed": COMPOSED,
    "decomposed": unicodedata.normalize("NFD", COMPOSED),
    "blanks": " a_1 ",
    "percent": "%s{0}$HOME_1",
    "dots": "..a_1",
    "long": "a" * 240,
}
CELLS = NAMES | {"too long": "a" * 300, "far too long": "a/" * 3000, "climbs": "../../a", "empty": ""}


@pytest.fixture(scope="module")
def studies():
    return simulate_studies(PhantomConfig(studies=8, height=96), 8)


@pytest.fixture(params=LAYOUTS)
def archive(request, studies, tmp_path) -> tuple[str, Path]:
    """A dataset and the root of its archive."""
    layout_writer(LAYOUTS[request.param])(tmp_path, studies)
    return request.param.removesuffix("_kaggle"), tmp_path


def scan(archive: tuple[str, Path]) -> Scan:
    with within(30):
        found = check(open_cohort(*archive).scan())
    for table in (found.studies, found.rejects):
        pq.write_table(table, io.BytesIO())
    return found


def facts(found: Scan) -> dict[str, tuple]:
    """What the studies are, beside the file that their report is read from."""
    return {
        row["image_id"]: (row["image_path"], row["subject_id"], row["split"], row["labels"])
        for row in found.studies.to_pylist()
    }


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_socket(path: Path) -> None:
    here = os.open(path.parent, os.O_PATH)  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


def put_folder(path: Path) -> None:
    path.mkdir()


def put_loop(path: Path) -> None:
    path.symlink_to(path)


def put_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


OTHERS = [put_pipe, put_socket, put_folder, put_loop, put_device]


def plant(root: Path) -> int:
    """Beside the first file of every kind in every folder, put copies under hostile names and what is no file."""
    kinds = {(path.parent, path.suffix): path for path in sorted(root.rglob("*"), reverse=True) if path.is_file()}
    for (folder, suffix), path in kinds.items():
        for name in NAMES.values():
            (folder / f"{name}{suffix}").hardlink_to(path)
        os.link(path, os.fsencode(folder) + b"/9\xff_1" + suffix.encode())
        if not (upper := path.with_name(path.stem.upper() + suffix)).exists():
            upper.hardlink_to(path)
        for number, put in enumerate(OTHERS):
            put(folder / f"9{number}{suffix}")
    for name in (b"\xff", b"a\nb", b"[a]"):
        os.mkdir(os.fsencode(root) + b"/" + name)
    (root / "loop").symlink_to(root)
    return len(kinds)


def test_files_of_any_name_change_no_study(archive):
    before = facts(scan(archive))
    assert plant(archive[1])
    after = scan(archive)
    assert facts(after) == before
    assert not any("\udcff" in path for path in after.rejects["source_path"].to_pylist())


def test_what_is_no_file_is_no_image(archive):
    root, before = archive[1], scan(archive)
    row = before.studies.to_pylist()[0]
    others = {name: fact for name, fact in facts(before).items() if name != row["image_id"]}
    for _ in take_turns((root / row["image_path"]).resolve()):
        found = scan(archive)
        assert rejected(found)[row["image_id"]] in ("missing_file", "path_outside_root")
        assert facts(found) == others


def test_what_is_no_file_is_no_report(archive):
    root, before = archive[1], scan(archive)
    path = before.studies["report_path"].to_pylist()[0]
    if path is None or path.endswith(".csv"):
        pytest.skip("has no report files")
    for put in take_turns(root / path):
        found = scan(archive)
        assert facts(found).items() < facts(before).items()
        listed = archive[0] != "open_i" or put != put_folder  # a folder called 9.xml is a folder
        assert {"missing_report", "unreadable_report"} & set(rejected(found).values()) or not listed


def take_turns(path: Path) -> Iterator[Callable[[Path], None]]:
    """Put what is no file in the place of one, each thing in turn."""
    path.unlink()
    for put in OTHERS:
        put(path)
        yield put
        path.rmdir() if put == put_folder else path.unlink()


def test_a_folder_that_is_no_utf_8_is_said(archive):
    root = archive[1]
    before = scan(archive)
    path = before.studies["image_path"].to_pylist()[0]
    folder = (root / path).parent
    if folder == root:
        pytest.skip("its images lie in the root")
    folder.rename(os.fsdecode(os.fsencode(folder) + b"\xff"))
    after = scan(archive)
    assert path not in after.studies["image_path"].to_pylist()
    assert "utf" not in str(after.rejects["source_path"].to_pylist())


def test_cells_of_any_content_are_rows(archive):
    name, root = archive
    before = scan(archive)
    row = before.studies.to_pylist()[0]
    token = name_in_tables(row["image_path"], before.studies["image_path"].to_pylist())
    others = {image: fact[0] for image, fact in facts(before).items() if fact[1] != row["subject_id"]}
    tables = {path: path.read_bytes() for path in root.rglob("*") if path.suffix in TABLES and path.is_file()}
    assert name == "covid_rural" or write_into_tables(tables, token, "a")  # which has no table
    for value in CELLS.values():
        if write_into_tables(tables, token, value):
            after = scan(archive)
            assert after.source_rows - before.source_rows in ((0, 1) if name in LISTS_FOLDERS else (0,))
            assert others.items() <= {image: fact[0] for image, fact in facts(after).items()}.items()
            assert row["image_path"] not in after.studies["image_path"].to_pylist()


def name_in_tables(path: str, paths: Sequence[str]) -> str:
    """The least part of a path, without its ending, that the others do not have."""
    parts = Path(path).with_suffix("").parts
    names = ("/".join(parts[start:]) for start in range(len(parts) - 1, -1, -1))
    return next(name for name in names if sum(name in other for other in paths) == 1)


def write_into_tables(tables: Mapping[Path, bytes], token: str, value: str) -> int:
    """Write `tables` with another value where they have `token`; returns how many have it."""
    changed = 0
    for path, content in tables.items():
        packed = path.suffix == ".gz"
        text = (gzip.decompress(content) if packed else content).decode()
        path.write_bytes(content)
        if token not in text or (path.suffix == ".txt" and " ".join(value.split()) != value):
            continue
        if path.suffix in (".csv", ".gz"):
            rows = [[field.replace(token, value) for field in row] for row in csv.reader(io.StringIO(text, newline=""))]
            stream = io.StringIO()
            csv.writer(stream, lineterminator="\n").writerows(rows)
            text = stream.getvalue()
        else:
            text = text.replace(token, escape(value, {'"': "&quot;", "\n": "&#10;", "\t": "&#9;"}))
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        changed += 1
    return changed
