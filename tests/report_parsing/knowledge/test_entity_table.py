"""The look-up on mentions as people write them: misspelt, abbreviated, reordered, unseen, and nonsense."""

import csv
from pathlib import Path

import pytest

from report_parsing.knowledge.base import KnowledgeBase

FOLDER = Path(__file__).parent
BASE = KnowledgeBase.default()
KINDS = ("misspelt", "abbreviated", "reordered", "unseen", "nonsense")
LABELS = {  # classes of published label sets, as their files spell them
    "ChestX-ray14": "Atelectasis|Cardiomegaly|Consolidation|Edema|Effusion|Emphysema|Fibrosis|Hernia|Infiltration|Mass"
    "|No Finding|Nodule|Pleural_Thickening|Pneumonia|Pneumothorax",
    "CheXpert": "No Finding|Enlarged Cardiomediastinum|Cardiomegaly|Lung Opacity|Lung Lesion|Edema|Consolidation"
    "|Pneumonia|Atelectasis|Pneumothorax|Pleural Effusion|Pleural Other|Fracture|Support Devices",
    "VinDr-CXR": "Aortic enlargement|Calcification|Clavicle fracture|COPD|Emphysema|Enlarged PA|ILD|Infiltration"
    "|Lung cavity|Lung cyst|Lung Opacity|Lung tumor|Mediastinal shift|Nodule/Mass|Pleural thickening|Pneumonia"
    "|Pulmonary fibrosis|Rib fracture|Tuberculosis|No finding",
    "COVIDx and covid-chestxray": "COVID-19|Pneumonia|normal|ARDS|SARS|MERS|Viral|Bacterial|Influenza|Varicella"
    "|Fungal|Klebsiella|Legionella|Pneumocystis|Lipoid|Aspergillosis|Tuberculosis",
}


def read(name):
    with (FOLDER / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


def is_right(row):
    match = BASE.lookup(row["mention"])
    return (match.name if match else "") == row["entity"]


@pytest.mark.parametrize("kind", KINDS)
def test_mentions_as_people_write_them(kind):
    rows = [row for row in read("entity_table.csv") if row["kind"] == kind]
    wrong = [row["mention"] for row in rows if not is_right(row)]
    assert len(wrong) <= 0.05 * len(rows), wrong


def test_the_table_is_large_enough_and_names_what_there_is():
    rows = read("entity_table.csv")
    assert len(rows) >= 100
    assert {row["kind"] for row in rows} == set(KINDS)
    known = {*BASE.names("entity"), *BASE.names("unseen")}
    assert all(
        (row["entity"] in known) != (row["kind"] == "nonsense")
        for row in rows
        if row["entity"] or row["kind"] == "nonsense"
    )


def test_terms_of_other_fields_are_not_known():
    known = [row["term"] for row in read("foreign_terms.csv") if BASE.lookup(row["term"])]
    assert len(known) <= 5, known


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_the_classes_of_published_label_sets_are_known(labels):
    unknown = [label for label in labels.split("|") if not (match := BASE.lookup(label)) or not match.exact]
    assert unknown == []
