"""`metrics.jsonl`: one line per report, written as training goes, for whoever watches the run."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from time import perf_counter

from torch import Tensor

from shards.atomic import replacing


class MetricsLog:
    """Averages what the loop reports over `every` steps and appends it as one JSON line."""

    def __init__(self, path: Path, resumed_from: int, every: int) -> None:
        self.path = path
        self.every = every
        self._sums: dict[str, float] = defaultdict(float)
        self._samples = 0
        self._steps = 0
        self._since = perf_counter()
        self._drop_lines_after(resumed_from)

    def _drop_lines_after(self, step: int) -> None:
        """Steps after the checkpoint are done again, so their lines go."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        with replacing(self.path) as partial:  # a new file, so that whoever follows the old one notices
            partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def add(self, step: int, epoch: float, samples: int, terms: dict[str, Tensor], facts: dict[str, float]) -> None:
        """Note one step: loss `terms` and `facts` are averaged; `step` counts from 1."""
        for name, value in {**{f"train/loss_{key}": float(term) for key, term in terms.items()}, **facts}.items():
            self._sums[name] += value
        self._samples += samples
        self._steps += 1
        if step % self.every == 0:
            self.flush(step, epoch)

    def flush(self, step: int, epoch: float) -> None:
        """Append a line about the steps since the last one, if there were any."""
        if not self._steps:
            return
        means = {name: total / self._steps for name, total in self._sums.items()}
        means["samples_per_second"] = self._samples / (perf_counter() - self._since)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, "epoch": round(epoch, 4), "metrics": means}) + "\n")
        self._sums.clear()
        self._samples = self._steps = 0
        self._since = perf_counter()
