"""The notebooks run from top to bottom, as scripts: Jupyter is not needed for that."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd

from store.code import ROOT

ORDER = ("archive_to_table.ipynb", "checkpoint_to_heat_map.ipynb")  # the second one loads the network of the first
REPORT = "auroc.to_csv(home / 'auroc.csv'); found.to_frame().to_csv(home / 'scores.csv')"


def cells(name: str) -> list[dict]:
    return json.loads((ROOT / "notebooks" / name).read_text())["cells"]


def code(name: str) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code")


def test_every_notebook_is_run_here_and_holds_no_output():
    assert sorted(path.name for path in (ROOT / "notebooks").iterdir() if path.suffix) == sorted(ORDER)
    for name in ORDER:
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells(name))


def test_the_notebooks_run(tmp_path):
    script = tmp_path / "notebooks.py"
    script.write_text("\n".join([*map(code, ORDER), REPORT]))
    settings = {**os.environ, "RADALIGN_HOME": str(tmp_path), "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    home = tmp_path / "notebooks"
    table, scores = pd.read_csv(home / "auroc.csv"), pd.read_csv(home / "scores.csv", index_col=0)
    assert set(table["method"]) == {"convirt", "untrained:convirt"}
    assert set(table["task"]) == {"zero_shot_classification", "linear_probe"}
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    assert scores.shape == (2, 3)
    assert scores.stack().between(0, 1).all()
    assert (home / "heat_maps.png").stat().st_size > 10_000
