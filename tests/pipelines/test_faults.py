"""benchmarks/faults.py in small: what the product heals is healed, and a fault planted in the product is found."""

from __future__ import annotations

import pytest

from benchmarks.faults import ARCHIVE, HEALED, WRONG, Bench, try_fault
from store import batches, seals


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), lambda _: None, ("ingest",), counterparts=False)


@pytest.mark.parametrize(("kind", "damage"), [("shard", "one bit, old time"), (ARCHIVE, "unmounted")])
def test_a_fault_is_healed(bench: Bench, kind: str, damage: str) -> None:
    verdict = try_fault(bench, kind, damage)
    assert (verdict.state, verdict.text) == (HEALED, "")


def test_a_product_that_verifies_nothing_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (seals, batches):
        monkeypatch.setattr(module, "is_intact", lambda path: path.exists(), raising=False)
    verdict = try_fault(bench, "images batch", "one bit, old time")
    assert verdict.state == WRONG
