"""A small archive in the layout of MIMIC-CXR, as DICOM or as JPG, whole or with things missing."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.simulated import SimulatedStudy, simulate_studies

LABELS = ("Atelectasis", "Edema", "No Finding")
REPORT = "FINAL REPORT\n EXAMINATION: CHEST\n\n FINDINGS: The lungs are clear.\n\n IMPRESSION: No edema.\n"


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    """The key that identifiers are hashed with is never that of the checkout."""
    monkeypatch.setenv("RADALIGN_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@dataclass
class MimicTree:
    """Writes rows and files below `root`; the tables lie in `root` / `tables`, files in `root` / `release`."""

    root: Path
    extension: str = ".jpg"
    release: str = ""
    tables: str = ""
    gzipped: bool = True
    metadata: list[Sequence[str]] = field(default_factory=list)
    split: list[Sequence[str]] = field(default_factory=list)
    chexpert: list[Sequence[str]] = field(default_factory=list)

    def add(
        self,
        image_id: str,
        subject: str = "10000032",
        study: str = "50414267",
        view: str = "PA",
        split: str | None = "train",
        image: bool = True,
        report: str | None = REPORT,
    ) -> str:
        """One metadata row with its files; returns the relative path of its image."""
        self.metadata.append((image_id, subject, study, view))
        if split is not None:
            self.split.append((image_id, study, subject, split))
        folder = f"files/p{subject[:2]}/p{subject}/s{study}"
        path = self.root / self.release / folder / f"{image_id}{self.extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if image:
            write_image(path)
        if report is not None:
            (self.root / self.release / f"{folder}.txt").write_text(report)
        return (Path(self.release) / folder / path.name).as_posix()

    def close(self) -> Path:
        """Write the tables."""
        self.table("metadata", "dicom_id,subject_id,study_id,ViewPosition", self.metadata)
        self.table("split", "dicom_id,study_id,subject_id,split", self.split)
        if self.chexpert:
            self.table("chexpert", ",".join(("subject_id", "study_id", *LABELS)), self.chexpert)
        return self.root

    def table(self, kind: str, header: str, rows: list[Sequence[str]]) -> None:
        content = "".join(line + "\n" for line in (header, *map(",".join, rows))).encode()
        folder = self.root / self.tables
        folder.mkdir(parents=True, exist_ok=True)
        name = f"mimic-cxr-2.0.0-{kind}.csv"
        if self.gzipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def write_image(path: Path, height: int = 50, width: int = 40) -> None:
    """A gradient as a JPG, or as a 12-bit DICOM, told by the extension."""
    gradient = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint16)
    if path.suffix != ".dcm":
        Image.fromarray((gradient * 2).astype(np.uint8)).save(path)
        return
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = height, width
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = (gradient * 40).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def mimic(tmp_path: Path) -> MimicTree:
    return MimicTree(tmp_path)


@pytest.fixture(scope="session")
def simulated() -> list[SimulatedStudy]:
    """Eighty simulated studies for the layouts to write down."""
    return simulate_studies(PhantomConfig(studies=80, height=96), 80)
