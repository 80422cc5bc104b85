"""States that keep their own structure, and structures that are only landmarks."""

import pytest

from report_parsing.statements.triplets import TripletParser


@pytest.fixture(scope="module")
def parser():
    return TripletParser()


@pytest.mark.parametrize(
    ("sentence", "places"),
    [
        ("Clear left lung and right lung consolidation", {"clear@left_lung_unspec", "consolidation@right_lung_unspec"}),
        ("Stable right upper and left lower lobe opacities", {"opacity@upper_right_lobe", "opacity@lower_left_lobe"}),
        ("Stable left upper lobe and right lower lobe nodules", {"nodule@upper_left_lobe", "nodule@lower_right_lobe"}),
        ("Tortuous aorta and calcification", {"tortuous@aorta", "calcification@aorta"}),
        ("Tortuous aorta and left effusion", {"tortuous@aorta", "effusion@left_pleural"}),
        ("Prominent right hilum and left basilar opacity", {"prominence@right_hilar", "opacity@left_lower_lung"}),
        ("Hyperinflated lungs and left basilar scarring", {"hyperinflate@lung_volumes", "scar@left_lower_lung"}),
        ("Left effusion and clear right lung", {"effusion@left_pleural", "clear@right_lung_unspec"}),
        ("Nodule over the right sixth rib", {"nodule@right_lung_unspec"}),
        ("Nodule over the sixth rib", {"nodule@unspecified"}),
        ("Sclerotic lesion in the sixth rib", {"tail_abnorm_obs@rib", "lesion@rib"}),
        ("Nodule at the level of the aortic arch", {"nodule@unspecified"}),
        (
            "Catheter tip at the level of the cavoatrial junction",
            {"catheter@cavoatrial_junction", "tip@cavoatrial_junction"},
        ),
        ("Fracture at the level of the sixth rib", {"fracture@rib"}),
    ],
)
def test_places(parser, sentence, places):
    said = parser.parse_sentence(sentence)
    assert {f"{item.entity}@{item.position}" for item in said if item.exists == "present"} == places
