"""Which networks a home holds: the trainings on each cohort, newest first, and what each was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from cohorts.phantom import PHANTOM
from cohorts.registry import cohort_names
from ingestion.inventory import listed_root
from ingestion.pipeline import dataset_state
from ingestion.pooling.names import members_of, pools_in
from ingestion.workspace import Workspace
from models.registry import evaluated_names, recipe, settings_class
from models.run_files import IMPORTED, ORIGIN, RESULT
from store.errors import UserError
from store.presets import PAPER, PRESETS, has_preset
from store.seals import is_intact
from tracking.runs import TrainedRun, known_runs
from training.config import TrainingConfig
from training.recipes import NESTED, preset_settings

RECIPE = "own recipe"  # in place of a preset: what the method states in code
OWN = ("method", "seed")  # what is told beside the preset
SIMULATED = "simulated"


@dataclass(frozen=True)
class Training:
    """A finished training, and what it was trained with. What its folder does not say is empty."""

    run: TrainedRun
    folder: Path
    preset: str = ""  # the nearest one
    changed: tuple[str, ...] = ()  # settings that have another value than in the preset: `epochs = 1`
    seconds: float | None = None
    finished: datetime | None = None  # local time
    imported: str = ""  # the released file, of weights that were not trained here

    @property
    def name(self) -> str:
        """The method, its variant, and its seed where that is not the usual one."""
        return f"{self.run.name} seed {self.run.seed}" if self.run.seed else self.run.name

    @property
    def preset_text(self) -> str:
        """The preset and how many settings differ from it, or the file that the weights were imported from."""
        if self.imported:
            return f"from {self.imported}"
        name = f"preset {self.preset}" if self.preset in PRESETS else self.preset
        return f"{name}, {len(self.changed)} changed" if self.changed else name

    @property
    def departure(self) -> str:
        """What tells it from a training with a paper's preset; empty where nothing does, or nothing is known of it."""
        if self.imported:
            return f"holds the released weights {self.imported} and was not trained here"
        differs = bool(self.changed) or self.preset in set(PRESETS) - {PAPER}
        return f"was trained with {self.preset_text}" if self.preset and differs else ""

    @property
    def duration(self) -> str:
        """How long it took."""
        return "" if self.seconds is None else format_seconds(self.seconds)

    @property
    def date(self) -> str:
        """When it was finished."""
        return "" if self.finished is None else f"{self.finished:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Pretraining:
    """A cohort and the networks that were pretrained on it, newest first."""

    workspace: Workspace
    simulated: bool
    trainings: tuple[Training, ...] = ()

    @property
    def cohort(self) -> str:
        """Its name."""
        return self.workspace.cohort_name()

    @property
    def datasets(self) -> list[str]:
        """The datasets that its networks saw: itself, or the members of the pool."""
        return members_of(self.cohort)

    @property
    def title(self) -> str:
        """Its name, and whether it is a simulation."""
        return name_cohort(self.cohort, self.simulated)


def find_pretrainings(workspace: Workspace) -> list[Pretraining]:
    """Every cohort of the home that networks were pretrained on, the one of the newest training first."""
    pools = pools_in(workspace.home_path())
    places = [_place(workspace, name) for name in (*cohort_names(), *pools)]
    found = [Pretraining(place, is_simulation(place), _find_trainings(place)) for place in places]
    trained = [one for one in found if one.trainings]
    return sorted(trained, key=lambda one: _time(one.trainings[0]), reverse=True)


def name_cohort(cohort: str, simulated: bool) -> str:
    """The name of a cohort, and whether it is a simulation."""
    return f"{cohort} ({SIMULATED})" if simulated else cohort


def is_simulation(place: Workspace) -> bool:
    """Whether the images of a cohort are simulated, as far as that is known while its archive is away."""
    try:
        return place.shows_simulation() or bool(dataset_state(place, place.cohort_name()).get(SIMULATED))
    except UserError:
        return place.cohort_name() == PHANTOM


def find_archive(place: Workspace) -> str:
    """Folder or address of the archive that the tables of a cohort were made from; empty where that is unknown."""
    if place.is_pool:
        return ""  # those of its members are named with their results
    listed = listed_root(place) or str(dataset_state(place, place.cohort_name()).get("root", ""))
    simulated = place.folder("archive")
    return listed or (str(simulated) if simulated.is_dir() else "")


def format_seconds(seconds: float) -> str:
    """A time in the two units that matter: 45 s, 2 min 5 s, 3 h 10 min, 2 d 4 h."""
    whole = round(seconds)
    for size, unit, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def _place(workspace: Workspace, cohort: str) -> Workspace:
    is_own = cohort == workspace.cohort_name()
    own, description = (workspace.archive_root, workspace.description) if is_own else ("", "")
    return replace(workspace, cohort=cohort, archive_root=own, description=description, version="")


def _find_trainings(place: Workspace) -> tuple[Training, ...]:
    runs = [run for method in evaluated_names() for run in known_runs(place, method)]
    return tuple(sorted((describe_run(place, run) for run in runs), key=_time, reverse=True))


def _time(training: Training) -> float:
    return training.finished.timestamp() if training.finished else 0.0


def describe_run(place: Workspace, run: TrainedRun) -> Training:
    """What the folder of a run of the workspace's cohort says of its training."""
    folder = place.home_path() / run.output
    origin, result = _read(folder / ORIGIN), folder / RESULT
    settings = origin.get("settings")
    if imported := origin.get(IMPORTED):
        return Training(run, folder, finished=datetime.fromtimestamp(_changed(result)), imported=imported["file"])
    preset, changed = _nearest_preset(run.method, settings) if settings else ("", ())
    if not is_intact(result):
        return Training(run, folder, preset, changed)
    finished = datetime.fromtimestamp(result.stat().st_mtime)
    return Training(run, folder, preset, changed, _read(result).get("seconds"), finished)


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def _nearest_preset(method: str, settings: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The preset that the settings differ least from, and in what."""
    presets = [name for name in PRESETS if has_preset(name, method)]
    try:
        found = {name: _differences(method, name, settings) for name in presets or [RECIPE]}
    except UserError:  # the method, or one of its settings, is none any more
        return "", ()
    nearest = min(found, key=lambda name: len(found[name]))
    return nearest, found[nearest]


def _differences(method: str, preset: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    usual = _usual_settings(method, preset)
    return tuple(
        f"{name} = {value}" for name, value in _flat(settings).items() if name not in OWN and usual.get(name) != value
    )


@cache
def _usual_settings(method: str, preset: str) -> dict[str, Any]:
    """All settings of a training with nothing given but the preset."""
    chosen = recipe(method) if preset == RECIPE else preset_settings(method, preset)
    network = {**asdict(settings_class(method)()), **chosen.get("method_config", {})}
    whole = TrainingConfig.from_dict({**chosen, "method": method, "method_config": network}, preset)
    return _flat(json.loads(json.dumps(asdict(whole))))


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    inner = {f"{part}.{name}": value for part in NESTED for name, value in settings.get(part, {}).items()}
    return {**{name: value for name, value in settings.items() if name not in NESTED}, **inner}
