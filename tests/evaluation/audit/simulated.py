"""Scores that behave like those of a network whose AUROC, gaps and shortcuts are known."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from evaluation.audit.measures.examined import Examined, ScoredSplit

PREVALENCE, CORRELATION = 0.25, 0.5
VALIDATE = 4  # one image in so many is of validate


def simulate(
    images: int,
    seed: int,
    findings: int = 4,
    auroc: float = 0.85,
    gap: float = 0.0,
    everywhere: float = 0.0,
    missed: float = 0.0,
    cue: float = 0.0,
    visits: float = 1.25,
) -> Examined:
    """A dataset of `images` images, of patients with `visits` images on average.

    The AUROC of the first finding is lower by `gap` in women, that of every finding by `everywhere`, and a share
    `missed` of the women who have the first one look as if they had not. The scores of the second finding are higher by
    `cue` standard deviations where there is a tube. Scores of a patient's images are correlated.
    """
    rng = np.random.default_rng(seed)
    patients = np.cumsum(rng.random(images) < 1 / visits)
    count = patients[-1] + 1
    sex, device, age = (rng.choice(names, count)[patients] for names in (["F", "M"], ["a", "b", "c"], ["1", "2", "3"]))
    view = rng.choice(["AP", "PA"], images)
    labels = (rng.random((images, findings)) < PREVALENCE).astype(float)
    tube = (rng.random(images) < 0.3).astype(float)
    rise = np.full((images, findings), np.sqrt(2) * norm.ppf(auroc))
    rise[sex == "F"] = np.sqrt(2) * norm.ppf(auroc - everywhere)
    rise[sex == "F", 0] = np.sqrt(2) * norm.ppf(auroc - everywhere - gap)
    rise[(sex == "F") & (rng.random(images) < missed), 0] = 0
    noise = CORRELATION**0.5 * rng.normal(size=(count, findings))[patients]
    noise += (1 - CORRELATION) ** 0.5 * rng.normal(size=(images, findings))
    values = noise + labels * rise
    values[:, 1] += cue * tube
    scores = 1 / (1 + np.exp(1 - values))
    validate, test = slice(images // VALIDATE), slice(images // VALIDATE, None)
    return Examined(
        [f"finding {place}" for place in range(findings)],
        ScoredSplit(scores[validate], labels[validate], patients[validate]),
        ScoredSplit(scores[test], labels[test], patients[test]),
        {name: values[test] for name, values in (("sex", sex), ("age", age), ("view", view), ("device", device))},
        {"tube": tube[test]},
    )
