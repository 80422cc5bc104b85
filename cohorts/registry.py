"""Cohorts by name. A cohort is one file and one line here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from cohorts.base import Cohort, CohortError

_READERS = {
    "phantom": "cohorts.readers.phantom:PhantomCohort",
    "mimic_cxr": "cohorts.readers.mimic_cxr:MimicCxr",
    "open_i": "cohorts.readers.open_i:OpenI",
    "chexpert": "cohorts.readers.chexpert:CheXpert",
    "chestxray14": "cohorts.readers.chestxray14:ChestXray14",
    "rsna_pneumonia": "cohorts.readers.rsna_pneumonia:RsnaPneumonia",
    "siim_pneumothorax": "cohorts.readers.siim_pneumothorax:SiimPneumothorax",
    "covid_chestxray": "cohorts.readers.covid_chestxray:CovidChestXray",
    "covidx": "cohorts.readers.covidx:Covidx",
    "covid_rural": "cohorts.readers.covid_rural:CovidRural",
    "edema_severity": "cohorts.readers.edema_severity:EdemaSeverity",
    "object_cxr": "cohorts.readers.object_cxr:ObjectCxr",
    "mura": "cohorts.readers.mura:Mura",
}


def cohort_names() -> list[str]:
    """Names that `open_cohort` knows."""
    return sorted(_READERS)


def open_cohort(name: str, root: Path, split: str | None = None) -> Cohort:
    """Reader of the archive `name` in `root`, with the family `split` of its `splits` (None: its default).

    CohortError says in one sentence why there is none.
    """
    return _reader(name)(root, split)


def how_to_get(name: str) -> str:
    """What to set the root of the archive `name` to and where that comes from, a sentence without its beginning."""
    return str(_reader(name).how_to_get)


def _reader(name: str) -> Any:
    if name not in _READERS:
        raise CohortError(f"RADALIGN_COHORT is {name!r}, which is not one of {', '.join(cohort_names())}.")
    module, reader = _READERS[name].split(":")
    return getattr(import_module(module), reader)
