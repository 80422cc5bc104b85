"""benchmarks/faults.py in small: what the product heals is healed, and a fault planted in the product is found."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.faults import HEALED, WRONG
from store.code import ROOT
from tests.pipelines.some_faults import FAULTS


def test_faults_are_healed_and_a_product_that_verifies_nothing_is_found(tmp_path):
    command = [sys.executable, "-m", "tests.pipelines.some_faults", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *healed, planted = json.loads(done.stdout.splitlines()[-1])
    assert healed == [[HEALED, ""]] * len(FAULTS)
    assert planted[0] == WRONG
