"""The report of a simulated image: findings that were seen, findings that were ruled out, and mistakes.

Sentences come from `phrases.yaml`. A statement can be wrong, vague, uncertain or missing, as in real reports.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cohorts.phantom.config import FINDINGS, PhantomConfig
from cohorts.phantom.findings import Finding, sample_finding

PRESENT, ABSENT, UNCERTAIN = 1, 0, -1
# How often a reader rules a finding out in so many words.
RULED_OUT = {
    "effusion": 0.85,
    "pneumothorax": 0.85,
    "consolidation": 0.8,
    "cardiomegaly": 0.8,
    "nodule": 0.6,
    "edema": 0.7,
    "atelectasis": 0.6,
    "line": 0.6,
    "tube": 0.6,
}
LISTED = ("effusion", "pneumothorax", "consolidation", "nodule", "edema", "atelectasis")  # after one negation
LINE_LENGTH = 78  # MIMIC-CXR wraps its reports below 80 characters


@dataclass(frozen=True)
class Report:
    """The text, and what it says of each finding it names: 1 present, 0 absent, -1 uncertain."""

    text: str
    statements: dict[str, int]


@cache
def phrases() -> dict[str, Any]:
    """The phrase book."""
    return yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))


class Reader:
    """One radiologist at one image."""

    def __init__(self, config: PhantomConfig, rng: np.random.Generator) -> None:
        self.config = config
        self.rng = rng
        self.sentences: list[str] = []
        self.headline: list[str] = []
        self.statements: dict[str, int] = {}

    def choose(self, options: list[Any]) -> Any:
        """One of `options`."""
        return options[int(self.rng.integers(len(options)))]

    def fill(self, template: str, finding: Finding) -> str:
        """Put side, zone and extent of `finding` into a template."""
        side = str(self.choose(["left", "right"])) if finding.side in ("", "both") else finding.side
        grades = phrases()["sizes"].get(finding.name, [[""], [""], [""]])
        size = str(self.choose(grades[min(int(finding.strength * 3), 2)]))
        noun = finding.name == "cardiomegaly" and "enlarged" not in template
        size = size.removesuffix("ly") if noun else size  # mildly enlarged, but mild cardiomegaly
        slots = {"side": side, "Side": side.capitalize(), "zone": finding.zone, "size": size}
        slots |= {
            "Size": size.capitalize(),
            "mm": str(int(6 + 14 * finding.strength)),
            "cm": str(self.choose([3, 4, 5])),
        }
        return template.format(**slots)

    def say(self, finding: Finding) -> None:
        """Describe a finding: by name, with doubt, without its name, or not at all."""
        omission = self.config.omission * (2 if finding.subtle else 1)
        chosen = self.rng.random()
        if chosen < omission:
            return
        if chosen < omission + self.config.vagueness:
            self.sentences.append(self.fill(self.choose(phrases()["vague"][finding.name]), finding))
            return
        doubtful = self.rng.random() < (0.25 if finding.subtle else 0.05)
        book = phrases()["uncertain"][finding.name] if doubtful else self.present_templates(finding)
        sentence = self.fill(self.choose(book), finding)
        self.statements[finding.name] = UNCERTAIN if doubtful else PRESENT
        self.sentences.append(sentence)
        if self.rng.random() < 0.6:
            self.headline.append(sentence)

    def present_templates(self, finding: Finding) -> list[str]:
        """Templates for one side or for both; enteric tubes have their own."""
        book = phrases()["present"][finding.name]
        both = finding.side == "both" or finding.zone == "enteric"
        return book["both"] if both and "both" in book else book["one"]

    def rule_out(self, names: list[str]) -> None:
        """Say that `names` are absent: some in a list after one negation, the others one by one."""
        listed = [name for name in names if name in LISTED and self.rng.random() < 0.5]
        if len(listed) > 1:
            words = [str(self.choose(phrases()["names"][name])) for name in listed]
            joined = ", ".join(words[:-1]) + " or " + words[-1]
            self.sentences.append(str(self.choose(phrases()["absent_together"])).format(list=joined))
        else:
            listed = []
        for name in names:
            self.statements[name] = ABSENT
            if name not in listed:
                anywhere = Finding(name, "", "", 0.5)
                self.sentences.append(self.fill(self.choose(phrases()["absent"][name]), anywhere))


def write_report(config: PhantomConfig, findings: tuple[Finding, ...], rng: np.random.Generator) -> Report:
    """Report an image with `findings`, with the errors that `config` asks for."""
    reader = Reader(config, rng)
    truly = {finding.name: finding for finding in findings}
    absent = []
    for name in FINDINGS:
        wrong = rng.random() < config.report_error * (1.0 if name in truly else 0.3)
        seen = truly.get(name)
        if wrong:
            seen = None if seen else sample_finding(name, rng)
        if seen:
            reader.say(seen)
        elif rng.random() < RULED_OUT[name]:
            absent.append(name)
    reader.rule_out(absent)
    asides = phrases()["distractors"]
    reader.sentences += [asides[index] for index in rng.permutation(len(asides))[: rng.integers(0, 4)]]
    return Report(layout(reader), reader.statements)


def layout(reader: Reader) -> str:
    """Put the sentences under the headings of a MIMIC-CXR report."""
    rng, book = reader.rng, phrases()
    order = rng.permutation(len(reader.sentences))
    findings = " ".join(reader.sentences[index] for index in order)
    headline = (
        [f"{i}. {text}" for i, text in enumerate(reader.headline, 1)] if len(reader.headline) > 2 else reader.headline
    )
    impression = " ".join(headline) or reader.choose(book["normal_impressions"])
    sections = [
        ("EXAMINATION", reader.choose(book["examinations"])),
        ("INDICATION", reader.choose(book["indications"])),
        ("COMPARISON", reader.choose(book["comparisons"])),
        ("FINDINGS", findings or "Unchanged appearance of the chest."),
        ("IMPRESSION", impression),
    ]
    skipped = set()
    if rng.random() < 0.02:
        skipped.add("FINDINGS")
        sections[-1] = ("IMPRESSION", findings or impression)
    elif rng.random() < 0.15:
        skipped.add("IMPRESSION")
    if rng.random() < 0.3:
        skipped.add("EXAMINATION")
    kept = [(name, body) for name, body in sections if name not in skipped]
    blocks = [wrap(name, str(body)) for name, body in kept]
    return " " * 33 + "FINAL REPORT\n" + "\n \n".join(blocks) + "\n"


def wrap(heading: str, body: str) -> str:
    """One section, wrapped, every line with the leading blank of the archive."""
    lines = textwrap.wrap(f"{heading}:  {body}", LINE_LENGTH, break_long_words=False)
    return "\n".join(" " + line for line in lines)
