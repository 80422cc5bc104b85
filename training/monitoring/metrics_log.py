"""`metrics.jsonl`: one line per report, written as training goes, for those who watch the run."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from store.atomic import replacing
from store.remote import mirror
from training.monitoring.lines import parse_lines
from training.monitoring.telemetry import Hardware, Stopwatch, memory
from training.state.checkpoint import explain_write_errors

logger = logging.getLogger(__name__)


def lines_until(path: Path, step: int) -> str:
    """The text of the lines of a log up to `step`, without damaged ones."""
    lines, _ = parse_lines(path.read_bytes() if path.exists() else b"")
    return "".join(json.dumps(line) + "\n" for line in lines if line["step"] <= step)


class MetricsLog:
    """Averages what the loop reports over `every` steps and appends it as one JSON line.

    `before` are the lines up to the step that the run goes on from; those after it go, as their steps are done again.
    `extra` gives values of the moment, such as a temperature, and is called once per line.
    """

    def __init__(self, path: Path, before: str, every: int, extra: Callable[[], Mapping[str, float]] = dict) -> None:
        self.path = path
        self.text = before
        self.every = every
        self.hardware: Hardware | None = None  # where it is known, lines say how much of it is used
        self._extra = extra
        self._sums: dict[str, float] = defaultdict(float)
        self._notes: dict[str, float] = {}
        self._samples = self._steps = 0
        self._watch = Stopwatch()
        if path.exists() and not path.read_bytes().startswith(before.encode()):
            logger.warning("%s is damaged; it is made again up to the step that the run goes on from", path)
        self.rewrite()

    def rewrite(self) -> None:
        """Write all lines as a new file, so that whoever follows the old one notices."""
        with explain_write_errors(self.path), replacing(self.path) as partial:
            partial.write_text(self.text, encoding="utf-8")

    def close(self) -> None:
        """Mend the file where somebody has changed it meanwhile."""
        if not self.path.exists() or self.path.read_bytes() != self.text.encode():
            self.rewrite()

    def time_waiting(self) -> AbstractContextManager[None]:
        """Count the time of the block as waiting for data."""
        return self._watch.waiting()

    def pause_timing(self) -> AbstractContextManager[None]:
        """Leave the time of the block, such as a validation's, out of the speed of training."""
        return self._watch.stopped()

    def add(self, samples: int, terms: Mapping[str, float], facts: Mapping[str, float]) -> None:
        """Note one step of this process's `samples`; loss `terms` and `facts` are averaged over the steps of a line."""
        for name, value in {**{f"train/loss_{key}": term for key, term in terms.items()}, **facts}.items():
            self._sums[name] += value
        self._samples += samples
        self._steps += 1

    def note(self, values: Mapping[str, float]) -> None:
        """Values of the moment, such as a validation's, for the next line."""
        self._notes.update(values)

    def report(self, step: int, epoch: float, last: bool = False) -> None:
        """Append a line about the steps since the last one if it is due; there is one line for a step at most."""
        if not self._steps or (step % self.every and not last):
            return
        means = {name: total / self._steps for name, total in self._sums.items()}
        metrics = {**means, **self._notes, **self._extra(), **self._speed(), **memory()}
        line = json.dumps({"step": step, "epoch": round(epoch, 4), "metrics": metrics}) + "\n"
        self.text += line
        with explain_write_errors(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(line)
        mirror.note(self.path)  # it is published with the next checkpoint
        self._sums.clear()
        self._notes.clear()
        self._samples = self._steps = 0

    def _speed(self) -> dict[str, float]:
        seconds, waited = self._watch.read()
        per_second = self._samples / seconds
        speed = {"samples_per_second": per_second, "data_wait": waited / seconds}
        if self.hardware:
            speed["utilisation"] = self.hardware.utilisation(per_second)
        return speed
