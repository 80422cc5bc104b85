"""An archive that disappears, or a disk that fails, ends a run; nothing counts, and the same command goes on."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from cohorts.archive.outages import OutageError
from cohorts.errors import CohortError
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from cohorts.readers.mimic_cxr import MimicCxr
from imaging.errors import ImageError, MachineError
from imaging.pool import DecoderPool
from ingestion import pipeline
from ingestion.inventory import InventorySettings
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from ingestion.workspace import Workspace

SETTINGS = IngestionSettings(inventory=InventorySettings(batch_size=4), images=ImagesSettings(size=32))
OF_FILES = ("missing_file", "missing_report", "missing_mask", "unreadable_file", "unreadable_report")
COUNTED = (
    "images/plan.parquet",
    "reports/plan.parquet",
    "studies",
    "rejects",
    "shards/manifest.json",
    "regions",
    "subsets",
)


@pytest.fixture(scope="module")
def studies():
    return simulate_studies(PhantomConfig(studies=9, seed=3, height=64), 9)


@pytest.fixture
def place(studies, tmp_path, workspace):
    """Writes an archive in a layout; gives the workspace that ingests it."""

    def write(cohort, layout="", home="home"):
        root = tmp_path / "archives" / (layout or cohort)
        if not root.exists():
            layout_writer(layout or cohort)(root, studies)
        return Workspace(home=str(tmp_path / home), cohort=cohort, archive_root=str(root))

    return write


@pytest.fixture
def before_batch(monkeypatch):
    """Lets something happen once, before a batch is computed."""

    def plant(fault, number=1):
        run, calls = pipeline.run_stages, []

        def run_stages(*arguments):
            calls.append(None)
            if len(calls) == 1 + number:
                fault()
            return run(*arguments)

        monkeypatch.setattr(pipeline, "run_stages", run_stages)

    return plant


def counted(workspace):
    """The bytes of every file that says what counts."""
    folder = workspace.folder("")
    files = [file for name in COUNTED for file in (folder / name, *(folder / name).rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def rejects(workspace):
    """Reason by file, of the rejects whose files were not there or could not be opened."""
    table = pq.read_table(workspace.folder("rejects") / "rejects.parquet")
    rows = zip(table["source_path"].to_pylist(), table["reason"].to_pylist(), strict=True)
    return {path: reason for path, reason in rows if reason in OF_FILES}


def studies_of(workspace):
    return pq.read_table(workspace.folder("studies") / "studies.parquet")


def ingest(workspace):
    return update(workspace, SETTINGS, progress=False)


def expect_healed(workspace, place, *layout, same_batches=True):
    """The home of a run that failed and was repeated is that of an archive that was always there."""
    state = ingest(workspace)
    undisturbed = place(*layout, home="undisturbed")
    assert ingest(undisturbed)["data_version"] == state["data_version"]
    assert studies_of(workspace).equals(studies_of(undisturbed))
    assert rejects(workspace) == rejects(undisturbed) == {}
    if same_batches:
        assert counted(workspace) == counted(undisturbed)


def empty(root):
    """As a mount point is when nothing is mounted."""
    root.rename(root.with_name("elsewhere"))
    root.mkdir()
    return lambda: (root.rmdir(), root.with_name("elsewhere").rename(root))


def move_away(root):
    root.rename(root.with_name("elsewhere"))
    return lambda: root.with_name("elsewhere").rename(root)


def empty_folders(root):
    """The tables are there and nothing else, as of a disk below the root."""
    moved = [path for path in sorted(root.iterdir()) if path.is_dir()]
    for path in moved:
        path.rename(root.parent / path.name)
        path.mkdir()
    return lambda: [(path.rmdir(), (root.parent / path.name).rename(path)) for path in moved]


@pytest.mark.parametrize(
    ("layout", "fault"),
    [
        (("mimic_cxr",), empty),
        (("rsna_pneumonia",), move_away),
        (("covid_rural",), empty_folders),
        (("open_i", "open_i_kaggle"), empty),
        (("open_i", "open_i_kaggle"), empty_folders),
        (("covid_chestxray",), empty_folders),
    ],
)
def test_an_archive_that_disappears_half_way_ends_the_run(place, before_batch, layout, fault):
    workspace = place(*layout)
    undo = []
    before_batch(lambda: undo.append(fault(workspace.root())))
    with pytest.raises(CohortError) as found:
        ingest(workspace)
    assert str(workspace.root()) in str(found.value)
    assert counted(workspace) == {}
    undo[0]()
    expect_healed(workspace, place, *layout)


def test_an_archive_that_disappears_later_leaves_what_counted(place, before_batch):
    workspace = place("mimic_cxr")
    ingest(workspace)
    before = counted(workspace)
    undo = []
    before_batch(lambda: undo.append(empty(workspace.root())))
    with pytest.raises(CohortError, match=r"is gone: mount it or put it back, and give the same command again\.$"):
        update(workspace, replace(SETTINGS, images=ImagesSettings(size=48)), progress=False)
    assert counted(workspace) == before
    undo[0]()
    ingest(workspace)
    assert counted(workspace) == before


def test_an_archive_that_goes_and_comes_back_while_a_batch_is_decoded_rejects_nothing(place, monkeypatch):
    workspace = place("mimic_cxr")
    decode, calls = DecoderPool.decode, []

    def flicker(self, path, options):
        calls.append(path)
        if len(calls) != 6:
            return decode(self, path, options)
        back = move_away(workspace.root())
        try:
            return decode(self, path, options)
        finally:
            back()

    monkeypatch.setattr(DecoderPool, "decode", flicker)
    with pytest.raises(OutageError):
        ingest(workspace)
    assert counted(workspace) == {}
    expect_healed(workspace, place, "mimic_cxr")


def paths(root, pattern):
    return sorted(root.rglob(pattern))


@pytest.mark.parametrize(
    ("cohort", "pattern", "change"),
    [
        ("mimic_cxr", "*.dcm", "removed"),
        ("mimic_cxr", "*.dcm", "touched"),
        ("mimic_cxr", "s5*.txt", "removed"),
        ("mimic_cxr", "s5*.txt", "written"),
        ("covid_rural", "pngs_masks/*.png", "removed"),
        ("covid_rural", "pngs_masks/*.png", "written"),
    ],
)
def test_one_file_that_is_not_what_was_listed_ends_the_run(place, before_batch, cohort, pattern, change):
    workspace = place(cohort)
    file = paths(workspace.root(), pattern)[-1]
    kept = file.with_name("kept")
    shutil.copy2(file, kept)
    stamp = file.stat().st_mtime_ns

    def plant():
        if change == "removed":
            file.unlink()
        elif change == "written":
            file.write_bytes(kept.read_bytes() + b"\n")
        else:
            os.utime(file, ns=(stamp, stamp + 1))

    before_batch(plant, 0)
    relative = file.relative_to(workspace.root()).as_posix()
    became = "is gone" if change == "removed" else "was changed"
    with pytest.raises(OutageError, match=f"^{relative} in {workspace.root()} {became} after the archive was listed: "):
        ingest(workspace)
    assert not (workspace.folder("shards") / "manifest.json").exists()
    kept.replace(file)  # with its time
    os.utime(file, ns=(stamp, stamp))
    expect_healed(workspace, place, cohort)


def test_a_file_that_changes_is_read_as_it_is_by_the_next_run(place, before_batch):
    workspace = place("mimic_cxr")
    one, other = paths(workspace.root(), "*.dcm")[-2:]
    before_batch(lambda: other.write_bytes(one.read_bytes()), 0)
    with pytest.raises(OutageError, match="was changed"):
        ingest(workspace)
    ingest(workspace)
    fresh = place("mimic_cxr", home="fresh")
    ingest(fresh)
    assert counted(workspace) == counted(fresh)


@pytest.mark.parametrize(
    ("cohort", "layout", "table"),
    [("open_i", "open_i_kaggle", "indiana_reports.csv"), ("covid_chestxray", "covid_chestxray", "metadata.csv")],
)
def test_a_table_of_reports_that_is_not_what_it_was_ends_the_run(
    place, before_batch, monkeypatch, cohort, layout, table
):
    workspace = place(cohort, layout)
    file = workspace.root() / table
    content, stamp = file.read_bytes(), file.stat().st_mtime_ns
    before_batch(file.unlink, 0)
    with pytest.raises(CohortError):
        ingest(workspace)
    file.write_bytes(content)
    monkeypatch.undo()

    def reword():
        file.write_bytes(content.replace(b" is ", b" was ").replace(b" no ", b" some "))

    before_batch(reword, 0)
    with pytest.raises(OutageError, match=f"^The archive {workspace.root()} was changed while it was read: "):
        ingest(workspace)
    assert counted(workspace) == {}
    file.write_bytes(content)
    os.utime(file, ns=(stamp, stamp))
    expect_healed(workspace, place, cohort, layout)


@pytest.mark.parametrize(
    "answer", [ImageError("unreadable_file"), ImageError("missing_file"), MachineError("The disk fails.")]
)
def test_an_image_that_was_there_and_cannot_be_read_is_not_rejected(place, monkeypatch, answer):
    workspace = place("rsna_pneumonia")
    decode, calls = DecoderPool.decode, []

    def fail(self, path, options):
        calls.append(path)
        if len(calls) != 5:
            return decode(self, path, options)
        if isinstance(answer, MachineError):
            raise answer
        return answer

    monkeypatch.setattr(DecoderPool, "decode", fail)
    with pytest.raises((OutageError, MachineError)):
        ingest(workspace)
    assert counted(workspace) == {}
    expect_healed(workspace, place, "rsna_pneumonia")


def close(monkeypatch, *closed):
    """Let nobody open some files, which root may always do."""
    access, names = os.access, {str(path) for path in closed}
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) not in names and access(path, mode))


def test_a_file_that_nobody_may_open_is_a_reject_until_it_is_opened(place, monkeypatch):
    workspace = place("mimic_cxr")
    image = paths(workspace.root(), "*.dcm")[0]
    report = paths(workspace.root(), "s5*.txt")[-1]
    with monkeypatch.context() as patch:
        close(patch, image, report)
        ingest(workspace)
        found = rejects(workspace)
        assert found[image.relative_to(workspace.root()).as_posix()] == "unreadable_file"
        assert found[report.relative_to(workspace.root()).as_posix()] == "unreadable_report"
        assert set(found.values()) == {"unreadable_file", "unreadable_report"}
    expect_healed(workspace, place, "mimic_cxr")


def test_a_file_that_is_closed_half_way_ends_the_run(place, before_batch, monkeypatch):
    workspace = place("mimic_cxr")
    image = paths(workspace.root(), "*.dcm")[-1]
    with monkeypatch.context() as patch:
        before_batch(lambda: close(patch, image))
        with pytest.raises(OutageError, match="may not be opened any more after the archive was listed"):
            ingest(workspace)
    assert counted(workspace) == {}


@pytest.mark.parametrize(
    ("cohort", "pattern", "reason"),
    [
        ("mimic_cxr", "*.dcm", "missing_file"),
        ("mimic_cxr", "s5*.txt", "missing_report"),
        ("covid_rural", "pngs_masks/*.png", "missing_mask"),
        ("rsna_pneumonia", "stage_2_train_images/*.dcm", "missing_file"),
    ],
)
def test_what_was_never_there_is_a_reject_until_it_comes(place, cohort, pattern, reason):
    workspace = place(cohort)
    file = paths(workspace.root(), pattern)[0]
    aside = workspace.root().parent / "aside"
    file.rename(aside)
    assert ingest(workspace)["status"] == "ready"
    assert rejects(workspace)[file.relative_to(workspace.root()).as_posix()] == reason
    aside.rename(file)
    expect_healed(workspace, place, cohort, same_batches=False)


def test_an_archive_that_is_gone_before_the_run_deletes_nothing(place):
    for number, fault in enumerate((empty, move_away, empty_folders)):
        workspace = place("mimic_cxr", home=f"home{number}")
        ingest(workspace)
        before = counted(workspace)
        undo = fault(workspace.root())
        with pytest.raises(CohortError):
            ingest(workspace)
        assert counted(workspace) == before
        undo()
        lines = []
        update(workspace, SETTINGS, lines.append, progress=False)
        assert "0 of 3 batches to compute, the others are there" in lines
        assert counted(workspace) == before


def test_another_archive_under_the_same_name_deletes_nothing(place, studies):
    workspace = place("rsna_pneumonia")
    ingest(workspace)
    before = counted(workspace)
    elsewhere = workspace.root().with_name("elsewhere")
    workspace.root().rename(elsewhere)
    layout_writer("rsna_pneumonia")(workspace.root(), simulate_studies(PhantomConfig(studies=3, seed=9, height=64), 3))
    with pytest.raises(CohortError, match=r"has none of the \d+ images that were known of rsna_pneumonia: mount"):
        ingest(workspace)
    assert counted(workspace) == before
    shutil.rmtree(workspace.root())
    elsewhere.rename(workspace.root())
    expect_healed(workspace, place, "rsna_pneumonia")


def test_some_images_that_vanish_between_runs_are_left_out(place):
    workspace = place("mimic_cxr")
    ingest(workspace)
    all_of_them = studies_of(workspace).num_rows
    paths(workspace.root(), "*.dcm")[0].unlink()
    lines = []
    update(workspace, SETTINGS, lines.append, progress=False)
    assert any(line.endswith("0 images are new, 0 changed and 1 vanished.") for line in lines)
    assert studies_of(workspace).num_rows == all_of_them - 1


def test_an_archive_that_is_swapped_while_it_is_listed_ends_the_run(place, monkeypatch):
    workspace = place("mimic_cxr")
    scan = MimicCxr.scan

    def scan_and_lose(self):
        found = scan(self)
        empty(self.root)
        return found

    monkeypatch.setattr(MimicCxr, "scan", scan_and_lose)
    with pytest.raises(OutageError, match="is gone: mount it"):
        ingest(workspace)
    assert not (workspace.folder("inventory") / "plan.parquet").exists()


def expect_lost(workspace, match):
    """The check `nothing_lost` fails and stops the run."""
    with pytest.raises(CohortError, match=rf"^The check nothing_lost of its studies failed \({match}"):
        ingest(workspace)
    assert not (workspace.folder("shards") / "manifest.json").exists()


def test_the_check_finds_a_reject_of_a_file_that_was_there(place, before_batch, monkeypatch):
    """Planted: images are taken as they are found, without a look at the listing."""
    monkeypatch.setattr("cohorts.archive.listed_images.expect_listed", lambda *_: None)
    monkeypatch.setattr("cohorts.archive.listed_images.explain_loss", lambda *_: pytest.fail("not reached"))
    monkeypatch.setattr("cohorts.archive.listed_images.NOT_OPENED", ())
    workspace = place("mimic_cxr")
    file = paths(workspace.root(), "*.dcm")[-1]
    before_batch(file.unlink)
    expect_lost(workspace, "1 images, .* were rejected because of files that were there all the time; give the same ")


def test_the_check_finds_files_that_were_away_only_while_they_were_listed(place, monkeypatch):
    workspace = place("mimic_cxr")
    lost = paths(workspace.root(), "*.dcm")[0].parents[1]  # of one patient
    scan = MimicCxr.scan

    def scan_without(self):
        lost.rename(lost.with_name("away"))
        found = scan(self)
        lost.with_name("away").rename(lost)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(MimicCxr, "scan", scan_without)
        expect_lost(workspace, r"\d+ images, .* were rejected because of files that were there all the ")
    expect_healed(workspace, place, "mimic_cxr", same_batches=False)


def test_a_file_that_arrives_during_a_run_was_rightly_missing(place, before_batch):
    workspace = place("rsna_pneumonia")
    file = paths(workspace.root(), "stage_2_train_images/*.dcm")[0]
    content = file.read_bytes()
    file.unlink()
    before_batch(lambda: file.write_bytes(content))
    ingest(workspace)
    assert rejects(workspace) == {file.relative_to(workspace.root()).as_posix(): "missing_file"}
    ingest(workspace)
    assert rejects(workspace) == {}


@pytest.mark.parametrize("stage", ["images.decode_batch", "reports.section_batch"])
def test_the_check_finds_a_row_that_a_stage_drops(place, monkeypatch, stage):
    from ingestion import stages

    module, name = stage.split(".")
    make = getattr(getattr(stages, module), name)

    def drop_first(*arguments, **options):
        made, refused = make(*arguments, **options)
        return made.slice(1), refused

    monkeypatch.setattr(getattr(stages, module), name, drop_first)
    expect_lost(place("mimic_cxr"), r"a stage has neither a row nor a reject for [23] images, ")


def test_the_check_finds_a_row_of_the_archive_that_is_in_no_table(place, monkeypatch):
    scan = MimicCxr.scan

    def scan_less(self):
        found = scan(self)
        return replace(found, studies=found.studies.slice(1))

    monkeypatch.setattr(MimicCxr, "scan", scan_less)
    expect_lost(place("mimic_cxr"), r"\d+ rows in the archive, but \d+ studies and \d+ rejects")
