"""The 14 labels from sentences, in the manner of the CheXpert labeler."""

import pytest

from report_parsing.anatomy.positions import match_position
from report_parsing.chexpert import label_report
from report_parsing.statements.triplets import TripletParser
from report_parsing.vocabulary import CHEXPERT_14, ENTITIES

CASES = [
    (["No effusion.", "Small left effusion."], {"Pleural Effusion": 1}),
    (["No effusion.", "Possible left effusion."], {"Pleural Effusion": -1}),
    (["No pleural effusion or pneumothorax."], {"Pleural Effusion": 0, "Pneumothorax": 0, "No Finding": 1}),
    (["Small pericardial effusion."], {"Pleural Effusion": None}),
    (["The heart is enlarged."], {"Cardiomegaly": 1, "No Finding": None}),
    (["Borderline heart size."], {"Cardiomegaly": -1}),
    (["Heart size is normal."], {"Cardiomegaly": 0, "No Finding": 1}),
    (["Calcified nodule in the right upper lobe."], {"Lung Lesion": None, "No Finding": None}),
    (["Nodule in the right upper lobe."], {"Lung Lesion": 1}),
    (["Volume loss in the left lower lobe."], {"Atelectasis": None}),
    (["Left apical pleural thickening."], {"Pleural Other": 1, "Lung Opacity": None}),
    (["Scarring in the left apex."], {"Lung Opacity": 1, "Pleural Other": None}),
    (["Left PICC with its tip in the SVC."], {"Support Devices": 1, "No Finding": 1}),
    (["Surgical clips in the right upper quadrant."], {"Support Devices": None, "No Finding": None}),
    (["Prosthetic aortic valve."], {"Support Devices": 1}),
    (["Heart failure."], {"Edema": 1}),
    (["Widened mediastinum."], {"Enlarged Cardiomediastinum": 1}),
    (["Old right rib fracture."], {"Fracture": 1}),
    (["Right lower lobe consolidation suspicious for pneumonia."], {"Consolidation": 1, "Pneumonia": -1}),
    (["Mediastinal contours within normal limits."], {"Enlarged Cardiomediastinum": 0, "No Finding": 1}),
    (["Cardiomediastinal silhouette is unremarkable."], {"Enlarged Cardiomediastinum": 0, "Cardiomegaly": 0}),
    (["Stable cardiomediastinal silhouette."], {"Enlarged Cardiomediastinum": -1, "No Finding": None}),
    (["Cardiac silhouette is unchanged."], {"Cardiomegaly": -1}),
    (["Heart size has not changed."], {"Cardiomegaly": -1}),
    (["Heart size is stable and normal."], {"Cardiomegaly": 0}),
    (["Heart size is normal.", "Stable cardiac silhouette."], {"Cardiomegaly": -1}),
    (["Stable cardiomegaly."], {"Cardiomegaly": 1}),
    (["Enlarged cardiomediastinal silhouette."], {"Enlarged Cardiomediastinum": 1, "Cardiomegaly": 1}),
    (["Heart size is top normal."], {"Cardiomegaly": 0, "No Finding": 1}),
    (["Heart is at the upper limits of normal."], {"Cardiomegaly": 0, "No Finding": 1}),
    (["No lobar collapse."], {"Atelectasis": 0}),
    (["Vertebral collapse."], {"Atelectasis": None}),
    (["Carcinoma in the left upper lobe."], {"Lung Lesion": 1}),
    (["UVC and UAC in place."], {"Support Devices": 1}),
    (["The scapular tip overlies the lung."], {"Support Devices": None, "No Finding": 1}),
    ([], {"No Finding": 1, "Edema": None}),
]


@pytest.fixture(scope="module")
def parser():
    return TripletParser()


@pytest.mark.parametrize(("sentences", "expected"), CASES, ids=[" ".join(case[0]) or "nothing said" for case in CASES])
def test_labels(parser, sentences, expected):
    text = " ".join(sentences)
    starts = [text.index(sentence) for sentence in sentences]
    labels = label_report(
        triplet._replace(start=triplet.start + start, end=triplet.end + start)
        for sentence, start in zip(sentences, starts, strict=True)
        for triplet in parser.parse_sentence(sentence)
    )
    assert tuple(labels) == CHEXPERT_14
    assert {label: labels[label] for label in expected} == expected


def test_rules_speak_of_known_observations_and_places():
    from report_parsing.chexpert import _rules

    rules = _rules()
    assert set(rules) <= set(ENTITIES)
    assert {rule.label for found in rules.values() for rule in found} == set(CHEXPERT_14) - {"No Finding"}
    assert all(rule.positions for found in rules.values() for rule in found)
    assert match_position(frozenset({"pleural", "left"})) in rules["thicken"][0].positions
