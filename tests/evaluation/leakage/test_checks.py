import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.registry import cohort_names, dataset, share_patients
from evaluation.leakage.checks import (
    IMAGES,
    PATIENTS,
    Leak,
    Sample,
    compare_splits,
    describe,
    find_shared_images,
    find_shared_patients,
)
from evaluation.leakage.selection import describe_selection
from evaluation.tasks.registry import task, task_names
from evaluation.tasks.zero_shot_classification import BY_TEST_F1
from evaluation.tasks.zero_shot_grounding import BY_TEST_DICE
from shards.duplicates import hash_images
from tests.evaluation.random_images import random_images


def sample(cohort, subjects, drawn=None, splits=("test",)):
    drawn = random_images(0, n=len(subjects)) if drawn is None else drawn
    return Sample(cohort, splits, np.asarray(subjects, object), hash_images(drawn))


def test_patients_of_edema_severity_are_those_of_mimic():
    seen = sample("mimic_cxr", ["10", "10", "11"], splits=("train", "validate"))
    leak = find_shared_patients(seen, sample("edema_severity", ["11", "11", "12", "13"]))
    assert (leak.kind, leak.count, leak.of) == (PATIENTS, 1, 3)
    assert describe([leak]) == [
        "1 of the 3 patients of edema_severity (test) are also in mimic_cxr (train, validate). "
        "Both hold images of MIMIC-CXR."
    ]


def test_equal_numbers_of_other_cohorts_are_other_patients():
    leak = find_shared_patients(sample("chestxray14", ["1", "2"]), sample("rsna_pneumonia", ["1", "3"]))
    assert leak.count is None
    assert describe([leak]) == [
        "chestxray14 (test) and rsna_pneumonia (test) name their patients differently: only images can be compared. "
        "Both hold images of ChestX-ray14."
    ]


def test_images_of_renamed_patients_are_found():
    seen = random_images(0, n=6)
    seen[5] = seen[2]  # one image that is found twice is one
    tested = np.concatenate([random_images(1, n=3), seen[2:3], seen[2:3, :, ::-1], np.zeros_like(seen[:1])])
    leak = find_shared_images(sample("chestxray14", "abcdef", seen), sample("siim_pneumothorax", "ghijkl", tested))
    assert (leak.kind, leak.count, leak.of) == (IMAGES, 2, 5)
    assert describe([leak]) == [
        "2 of the 5 images of siim_pneumothorax (test) are near duplicates of one in chestxray14 (test). "
        "Both hold images of ChestX-ray14."
    ]


def test_nothing_found_and_nothing_to_compare_have_sentences():
    seen = sample("open_i", ["1"])
    clean = find_shared_images(seen, sample("open_i", ["2"], random_images(1, n=1), ("train",)))
    empty = find_shared_images(seen, sample("open_i", ["2"], np.zeros((1, 64, 64), np.uint8)))
    assert describe([clean, empty]) == [
        "None of the 1 images of open_i (train) are near duplicates of one in open_i (test).",
        "open_i (test) has no images to compare with open_i (test).",
    ]


def test_splits_that_overlap():
    drawn = random_images(0, n=9)
    drawn[8] = drawn[3]  # an image of validate in test, under another patient
    parts = {"train": slice(0, 3), "validate": slice(3, 6), "test": slice(6, 9)}
    subjects = np.array(["a", "b", "c", "d", "e", "f", "e", "a", "g"], object)
    samples = [Sample("phantom", (name,), subjects[rows], hash_images(drawn[rows])) for name, rows in parts.items()]
    found = {(leak.kind, leak.seen, leak.tested): leak.count for leak in compare_splits(samples)}
    train, validate, test = (f"phantom ({name})" for name in parts)
    assert found == {
        (PATIENTS, train, validate): 0,
        (IMAGES, train, validate): 0,
        (PATIENTS, train, test): 1,
        (IMAGES, train, test): 0,
        (PATIENTS, validate, test): 1,
        (IMAGES, validate, test): 1,
    }


def test_a_leak_holds_no_identifiers():
    leak = find_shared_patients(sample("mimic_cxr", ["10000032"]), sample("edema_severity", ["10000032"]))
    assert leak.count == 1
    assert "10000032" not in str(dataclasses.asdict(leak)) + "".join(describe([leak]))
    assert {field.name for field in dataclasses.fields(Leak)} == {"kind", "seen", "tested", "count", "of", "shared"}


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_patients_are_counted_once(seen, tested):
    one, other = (
        Sample("phantom", (name,), np.array(ids, object), hash_images(random_images(0, n=1)[:0]))
        for name, ids in (("train", seen), ("test", tested))
    )
    assert find_shared_patients(one, other).count == len(set(seen) & set(tested))


@pytest.mark.parametrize("name", cohort_names())
def test_a_cohort_names_its_own_patients(name):
    assert share_patients(name, name)


def test_every_source_is_shared_by_datasets():
    for kind in ("image_sources", "patient_sources"):
        named = Counter(source for name in cohort_names() for source in getattr(dataset(name), kind))
        assert min(named.values()) >= 2  # a source that one dataset alone names is misspelt
    assert share_patients("covidx", "rsna_pneumonia")
    assert share_patients("covidx", "covid_chestxray")
    assert share_patients("mimic_cxr", "edema_severity")
    assert not share_patients("covid_chestxray", "rsna_pneumonia")  # through covidx only


def test_every_task_says_what_chose_its_settings():
    assert all(task(name).selection for name in task_names())
    flattered = {"zero_shot_classification": BY_TEST_F1, "zero_shot_grounding": BY_TEST_DICE}
    for name, ending in flattered.items():
        assert f"`{ending}`" in task(name).selection
    sentences = describe_selection(["linear_probe", "text_image_retrieval"])
    assert len(sentences) == 3
    assert sentences[1] == "linear_probe: The penalty is chosen on the validate split."
