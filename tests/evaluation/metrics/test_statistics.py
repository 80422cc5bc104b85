import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import bootstrap, patient_weights, weighted_auroc
from evaluation.metrics.statistics import compare_areas, delong, holm, paired_bootstrap, summarise_seeds

# The worked example of DeLong, DeLong and Clarke-Pearson (1988), data as printed in SAS/STAT User's Guide, The LOGISTIC
# Procedure, "Comparing Receiver Operating Characteristic Curves": albumin, total protein, score, outcome.
OVARIAN = np.loadtxt(
    """3.0 5.8 10 0,3.2 6.3 5 1,3.9 6.8 3 1,2.8 4.8 6 0,3.2 5.8 3 1,0.9 4.0 5 0,2.5 5.7 8 0,1.6 5.6 5 1,3.8 5.7 5 1
    3.7 6.7 6 1,3.2 5.4 4 1,3.8 6.6 6 1,4.1 6.6 5 1,3.6 5.7 5 1,4.3 7.0 4 1,3.6 6.7 4 0,2.3 4.4 6 1,4.2 7.6 4 0
    4.0 6.6 6 0,3.5 5.8 6 1,3.8 6.8 7 1,3.0 4.7 8 0,4.5 7.4 5 1,3.7 7.4 5 1,3.1 6.6 6 1,4.1 8.2 6 1,4.3 7.0 5 1
    4.3 6.5 4 1,3.2 5.1 5 1,2.6 4.7 6 1,3.3 6.8 6 0,1.7 4.0 7 0,3.7 6.1 5 1,3.3 6.3 7 1,4.2 7.7 6 1,3.5 6.2 5 1
    2.9 5.7 9 0,2.1 4.8 7 1,2.8 6.2 8 0,4.0 7.0 7 1,3.3 5.7 6 1,3.7 6.9 5 1,3.6 6.6 5 1""".replace(
        ",", "\n"
    ).splitlines()
)
# Efron and Tibshirani, An Introduction to the Bootstrap (1993), table 3.1: LSAT and GPA of 15 law schools.
LSAT = np.array([576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594.0])
GPA = np.array([3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96])


def literal_delong(labels, scores, subjects):
    """Areas and covariance by loops over pairs of images and over patients, as Obuchowski (1997) writes them."""
    known = ~np.isnan(labels)
    labels, scores, subjects = labels[known], scores[known], subjects[known]
    present, absent = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    k = scores.shape[1]
    wins = np.array([[(scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]) for j in absent] for i in present])
    areas = wins.mean(axis=(0, 1))
    above, below = np.zeros((k, len(set(subjects)))), np.zeros((k, len(set(subjects))))
    for column in range(k):
        for place, name in enumerate(sorted(set(subjects))):
            for a, i in enumerate(present):
                above[column, place] += (subjects[i] == name) * (wins[a, :, column].mean() - areas[column])
            for b, j in enumerate(absent):
                below[column, place] += (subjects[j] == name) * (wins[:, b, column].mean() - areas[column])
    m, n, patients = len(present), len(absent), len(set(subjects))
    of_present, of_absent = len(set(subjects[present])), len(set(subjects[absent]))
    covariance = np.zeros((k, k))
    for r in range(k):
        for s in range(k):
            s10 = of_present / ((of_present - 1) * m) * sum(above[r] * above[s])
            s01 = of_absent / ((of_absent - 1) * n) * sum(below[r] * below[s])
            s11 = patients / (patients - 1) * (sum(above[r] * below[s]) + sum(above[s] * below[r]))
            covariance[r, s] = s10 / m + s01 / n + s11 / (m * n)
    return areas, covariance


def test_delong_agrees_with_the_published_example():
    scores = OVARIAN[:, :3] * [1, 1, -1]
    areas, covariance = delong(OVARIAN[:, 3], scores, np.arange(43))
    np.testing.assert_allclose(areas, [0.7366, 0.6478, 0.7258], atol=5e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), [0.0927, 0.1000, 0.1028], atol=5e-5)
    albumin, protein = (compare_areas(OVARIAN[:, 3], scores[:, c], scores[:, 2], np.arange(43)) for c in (0, 1))
    # variance of the difference and p by MLstatkit 0.1.91, an implementation that shares nothing with ours
    for found, variance, p in (
        (albumin, 0.009090405441862254, 0.9102063472010351),
        (protein, 0.010943166051776873, 0.45613970750747357),
    ):
        assert ((found.high - found.low) / 2 / norm.ppf(0.975)) ** 2 == pytest.approx(variance, abs=1e-12)
        assert found.p == pytest.approx(p, abs=1e-12)
    assert (albumin.difference, protein.difference) == pytest.approx((0.0108, -0.0780), abs=5e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 1000]), st.sampled_from([3, 8, 1000]))
def test_delong_equals_its_literal_form(seed, levels, patients):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, np.nan], 24, p=[0.5, 0.4, 0.1])
    scores, subjects = rng.integers(0, levels, (24, 3)).astype(float), rng.integers(0, patients, 24).astype(str)
    owners = [len(set(subjects[labels == label])) for label in (0, 1)]
    areas, covariance = delong(labels, scores, subjects)
    if min(owners) == 0:
        assert np.isnan(areas).all()
        return
    known = ~np.isnan(labels)
    np.testing.assert_allclose(areas, [roc_auc_score(labels[known], column) for column in scores[known].T], atol=1e-9)
    if min(owners) == 1:
        assert np.isnan(covariance).all()
    else:
        np.testing.assert_allclose(covariance, literal_delong(labels, scores, subjects)[1], atol=1e-12)


def test_copies_of_images_make_delong_no_surer():
    rng = np.random.default_rng(0)
    labels, subjects = rng.integers(0, 2, 60).astype(float), np.arange(60)
    first, second = labels + rng.normal(size=60), labels + rng.normal(size=60)
    once = compare_areas(labels, first, second, subjects)
    twice = compare_areas(*(np.repeat(array, 2) for array in (labels, first, second, subjects)))
    as_strangers = compare_areas(*(np.repeat(array, 2) for array in (labels, first, second)), np.arange(120))
    assert twice == pytest.approx(once, abs=1e-12)
    assert as_strangers.p < once.p


def test_delong_agrees_with_the_bootstrap_by_patient():
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(250), 2)
    labels = np.repeat(rng.integers(0, 2, 250), 2).astype(float)
    shared = rng.normal(size=250)[patient]
    first, second = (shift * labels + shared + rng.normal(size=500) for shift in (1.0, 0.7))
    exact = compare_areas(labels, first, second, patient)
    weights = patient_weights(patient, 2000, seed=0)
    areas = [weighted_auroc(labels, scores, weights) for scores in (first, second)]
    points = [roc_auc_score(labels, scores) for scores in (first, second)]
    sampled = paired_bootstrap(*points, *areas)
    assert sampled == pytest.approx(exact, abs=0.01)


def test_equal_and_opposite_perfect_scores():
    labels, scores = np.array([0.0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])
    assert compare_areas(labels, scores, scores, np.arange(4)) == (0, 0, 0, 1)
    opposite = compare_areas(labels, scores, -scores, np.arange(4))
    assert opposite.difference == 1
    assert np.isnan(opposite.p)


def test_bootstrap_agrees_with_the_published_example():
    assert np.corrcoef(LSAT, GPA)[0, 1] == pytest.approx(0.776, abs=5e-4)
    values = [np.corrcoef(LSAT[rows], GPA[rows])[0, 1] for rows in _rows(patient_weights(np.arange(15), 3200, seed=0))]
    assert np.std(values, ddof=1) == pytest.approx(0.132, abs=0.004)  # table 6.1, 3200 resamples
    low, high = bootstrap(lambda x, y: np.corrcoef(x, y)[0, 1], (LSAT, GPA), np.arange(15), n=3200)
    assert (low, high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=1e-12)


def _rows(weights):
    return (np.repeat(np.arange(15), row.astype(int)) for row in weights)


def test_paired_bootstrap_is_surer_than_an_unpaired_one_and_never_certain():
    rng = np.random.default_rng(2)
    noise = rng.normal(size=999)
    paired = paired_bootstrap(0.9, 0.8, 0.9 + noise, 0.8 + noise + rng.normal(scale=0.01, size=999))
    unpaired = paired_bootstrap(0.9, 0.8, 0.9 + noise, 0.8 + rng.permutation(noise))
    assert paired.p == pytest.approx(2 / 1000)
    assert unpaired.p > 0.5
    assert paired.low < paired.difference < paired.high
    assert paired_bootstrap(0.5, 0.5, noise, noise).p == 1


def test_resamples_that_one_of_two_cannot_score_are_left_out():
    first, second = np.array([0.5, np.nan, 0.7, 0.9]), np.array([0.4, 0.1, np.nan, 0.4])
    found = paired_bootstrap(0.6, 0.4, first, second)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile([0.1, 0.5], [2.5, 97.5])))
    assert found.p == pytest.approx(2 / 3)
    assert np.isnan(paired_bootstrap(0.6, 0.4, first[1:2], second[1:2]).p)


def test_resamples_of_different_length_are_no_pairs():
    with pytest.raises(EvaluationError, match="999 and 1000 resamples are not paired"):
        paired_bootstrap(0, 0, np.zeros(999), np.zeros(1000))
    with pytest.raises(EvaluationError, match="3 scores do not fit 2 labels of 3 patients"):
        delong(np.array([0, 1]), np.zeros((3, 1)), np.arange(3))


def test_holm_equals_its_definition():
    # Holm (1979): compare the sorted p-values with alpha / m, alpha / (m - 1), ... and stop at the first that fails
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert len(holm([])) == 0


def test_seeds_have_mean_and_std():
    # three runs with the std that MGCA's error-bar table would print
    assert summarise_seeds([0.5, 0.6, 0.7]) == pytest.approx((0.6, 0.1, 3))
    alone = summarise_seeds([0.5])
    assert alone.mean == 0.5
    assert np.isnan(alone.std)
