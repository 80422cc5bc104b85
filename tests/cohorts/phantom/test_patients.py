"""Facts of simulated patients, and planted faults: as often as asked for, and nothing without them."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from cohorts.phantom.archive import FACTS, RECORD, plan_studies, simulate
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.image import sample_findings
from cohorts.phantom.patients import facts_of, plant_faults
from cohorts.readers.phantom import PhantomCohort

CONFIG = PhantomConfig(studies=2000)


def planted(config):
    """Each study with its findings, before and after the faults."""
    for study in plan_studies(config):
        before = sample_findings(config, np.random.default_rng([config.seed, study.index, 1]))
        yield study, before, plant_faults(config, study, before)


def test_without_a_fault_nothing_changes():
    assert all(before is after for _, before, after in planted(CONFIG))


@pytest.mark.parametrize(("split", "share"), [("train", 0.9), ("test", 0.5)])
def test_a_shortcut_comes_with_pneumothorax_as_often_as_asked_for(split, share):
    cues, others = [], []
    for study, before, after in planted(replace(CONFIG, shortcut="tube")):
        names = [finding.name for finding in after]
        if study.split == split and "pneumothorax" in names:
            cues.append("tube" in names)
        if "pneumothorax" not in names:
            others.append(after is before)
        assert len(names) == len(set(names))
    assert np.mean(cues) == pytest.approx(share, abs=0.08)
    assert all(others)


def test_a_faint_group_has_fainter_pneumothorax_and_effusion_and_nobody_else():
    config = replace(CONFIG, faint_group="sex=F", faintness=0.6)
    for study, before, after in planted(config):
        is_faint = facts_of(config, study).sex == "F"
        for one, other in zip(before, after, strict=True):
            factor = 0.4 if is_faint and one.name in ("pneumothorax", "effusion") else 1.0
            assert other == replace(one, strength=one.strength * factor)


def test_patients_keep_their_sex_and_site_and_studies_follow_in_time():
    facts: dict[str, set] = {}
    days = []
    for study in plan_studies(CONFIG):
        found = facts_of(CONFIG, study)
        facts.setdefault(study.subject_id, set()).add((found.sex, found.site))
        days.append(found.date)
        assert 18 < found.age < 100
    assert all(len(found) == 1 for found in facts.values())
    assert days == sorted(days)


def test_a_fault_that_is_not_known_is_one_sentence():
    for settings in ({"shortcut": "rib"}, {"faint_group": "sex=X"}, {"faintness": 2}):
        with pytest.raises(ValueError, match=f"phantom: `{next(iter(settings))}`"):
            PhantomConfig(**settings)


def test_the_reader_gives_the_facts_also_of_an_archive_that_was_simulated_without(tmp_path):
    config = PhantomConfig(studies=6, height=64)
    simulate(tmp_path, config)
    (tmp_path / FACTS).unlink()
    assert PhantomCohort(tmp_path).scan().studies["sex"].null_count == 6
    record = (tmp_path / RECORD).read_text()
    lines = [line for line in record.splitlines() if not any(name in line for name in ("shortcut", "faint"))]
    (tmp_path / RECORD).write_text("\n".join(lines).replace("0.08,\n}", "0.08\n}"))
    assert simulate(tmp_path, config) == {"studies": 6, "computed": 0}
    rows = PhantomCohort(tmp_path).scan().studies.to_pylist()
    for study, row in zip(plan_studies(config), rows, strict=True):
        assert {name: row[name] for name in ("date", "sex", "age", "device", "site")} == asdict(facts_of(config, study))
