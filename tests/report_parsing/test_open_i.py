"""Agreement with the human MeSH codes of the Open-i reports (development part; measured, then used as a floor).

`benchmarks.openi_triplets` says how it is counted and prints the same figures; the rules were written on these reports.

With "likely", "probable", "consistent with", "suggestive of" heard as doubt recall fell to .714 for edema, .667 for
pneumonia and .838 for atelectasis; with "or" heard as doubt to .781 for atelectasis; with "may", "possible", "cannot
exclude" not heard precision fell to .464, .268 and .795. So cues.csv hears the last group only.
"""

import csv
import json
import os
import subprocess
import sys

import pytest

from benchmarks.openi_codes import Coded, Location, MeshCodes, locations_of
from benchmarks.openi_triplets import agree, as_report, parse_all, read_csv, summarise

FLOORS = {  # label: (recall, precision), a little below what was measured
    "Cardiomegaly": (0.97, 0.98),
    "Lung Opacity": (0.97, 0.96),
    "Lung Lesion": (0.85, 0.88),
    "Edema": (0.90, 0.95),
    "Consolidation": (0.98, 0.90),
    "Pneumonia": (0.90, 0.90),
    "Atelectasis": (0.90, 0.95),
    "Pneumothorax": (0.85, 0.98),
    "Pleural Effusion": (0.94, 0.98),
    "Pleural Other": (0.85, 0.95),
    "Fracture": (0.90, 0.85),
    "Support Devices": (0.97, 0.94),
}


@pytest.fixture(scope="module")
def folder(shared_data):
    folder = shared_data / "openi_reports"
    if not folder.exists():
        pytest.skip("openi_reports is not among the shared data")
    return folder


@pytest.fixture(scope="module")
def summary(folder):
    rows = read_csv(folder / "dev.csv")
    parsed, seconds = parse_all([as_report(row) for row in rows])
    return summarise(agree(MeshCodes(folder), rows, parsed), len(rows) / seconds)


def test_micro_agreement(summary):
    assert summary["micro_f1"] >= 0.96
    assert summary["location_f1"] >= 0.88
    assert summary["reports"] == 1114


@pytest.mark.parametrize("label", FLOORS)
def test_agreement_with_the_coders(summary, label):
    figures = summary["per_finding"][label]
    assert figures["recall"] >= FLOORS[label][0]
    assert figures["precision"] >= FLOORS[label][1]


@pytest.mark.parametrize(
    ("mesh", "text", "labels"),
    [
        ("Pleural Effusion/right/small", "", {"Pleural Effusion": True, "Pneumothorax": False}),
        ("Costophrenic Angle/blunted", "", {"Pleural Effusion": None, "Pneumothorax": False}),  # a sign, not scored
        ("Cardiomegaly/mild", "May be pneumonia.", {"Cardiomegaly": True, "Pneumonia": None}),  # coders skip doubt
        ("normal", "", {"No Finding": True, "Edema": False, "Support Devices": None}),
    ],
)
def test_rules_of_use(folder, mesh, text, labels):
    coded = MeshCodes(folder).read(mesh, text)
    assert {label: coded.labels.get(label) for label in labels} == labels


def test_reports_without_indexing_are_not_scored(folder):
    assert MeshCodes(folder).read("No Indexing", "Clear lungs.") is None


@pytest.mark.parametrize(
    ("mesh", "locations"),
    [
        ("Opacity/lung/base/left", {("left", "lower")}),
        ("Opacity/lung/base/bilateral", {("left", "lower"), ("right", "lower")}),
        ("Pleural Effusion/right/small", {("right", None)}),
        ("Pulmonary Atelectasis/middle lobe/right", {("right", "mid")}),
        ("Pulmonary Atelectasis/mild", None),
    ],
)
def test_locations_of_codes(folder, mesh, locations):
    coded = MeshCodes(folder).read(mesh, "")
    (found,) = coded.locations.values() if coded.locations else (None,)
    assert found == (locations and {Location(*location) for location in locations})


def test_a_location_is_wrong_or_missed_when_it_differs():
    from benchmarks.openi_triplets import Agreement
    from report_parsing.tables import Triplet

    agreement = Agreement()
    coded = Coded({"Atelectasis": True}, {"Atelectasis": frozenset({Location("left", "lower")})})
    for position in ("left_lower_lung", "right_lower_lung", "unspecified"):
        agreement.add(coded, [Triplet("atelectasis", position, "present", 0, 1)])
    count = agreement.location["Atelectasis"]
    assert (count.right, count.wrong, count.missed) == (1, 1, 2)
    assert locations_of("lung_bases") == {Location("left", "lower"), Location("right", "lower")}


def test_the_command_prints_one_object(folder, tmp_path):
    rows = read_csv(folder / "dev.csv")[:20]
    some = tmp_path / "some.csv"
    with some.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    command = [sys.executable, "-m", "benchmarks.openi_triplets", "--reports", some, "--json"]
    lost = subprocess.run([*command, "--mapping", tmp_path], capture_output=True, text=True, check=False)
    assert lost.returncode == 1
    assert "--mapping" in lost.stderr
    shared = {**os.environ, "RADALIGN_SHARED": str(folder.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=shared)
    summary = json.loads(done.stdout)
    assert {"micro_f1", "micro_precision", "micro_recall", "location_f1", "reports_per_second"} < set(summary)
    assert "Atelectasis" in summary["per_finding"]
