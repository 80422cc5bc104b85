"""The settings of an audit."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.errors import EvaluationError
from evaluation.metrics.units import VIEWS
from imaging.dicom.views import FRONTAL
from store.settings import check_bounds, setting

YOUDEN = "youden"  # the operating point with the best sum of sensitivity and specificity


@dataclass(frozen=True)
class AuditSettings:
    """What an audit examines, and what it calls found."""

    bins: int = setting(15, "Bins of the reliability curves and of the expected calibration error.", least=2)
    equal_mass: bool = setting(False, "Bins that hold equally many images, in place of bins of equal width.")
    sensitivities: list[float] = setting([0.9, 0.95], "Operating points with these sensitivities on validate.")
    operating_point: str = setting(
        YOUDEN, "Operating point of miss and false alarm rates: `youden`, or one of `sensitivities`, such as 0.9."
    )
    age_bands: list[int] = setting([40, 60, 80], "First years of the age bands after the lowest band.")
    view: str = setting(FRONTAL, "Images that are audited: `frontal`, `lateral` or `all`.", choices=(*VIEWS,))
    fewest: int = setting(
        20, "Patients with a finding, and as many without, that a group needs to be measured.", least=5
    )
    level: float = setting(
        0.02, "Probability that an audit calls anything found where there is nothing.", above=0, below=1
    )
    resamples: int = setting(1000, "Resamples of the patients behind an interval.", least=40)
    cues: list[str] = setting([], "Labels that may be shortcuts. Empty: those that mean a support device.")
    occluded: int = setting(400, "Test images at most in which a cue is painted over; 0: none.", least=0)

    def __post_init__(self) -> None:
        check_bounds(self)
        if wrong := [value for value in self.sensitivities if not 0 < value < 1]:
            raise EvaluationError(f"audit: a sensitivity lies between 0 and 1, which {wrong[0]} does not.")
        if self.operating_point not in self.operating_points:
            raise EvaluationError(
                f"audit: `operating_point` is {self.operating_point!r}, but must be one of "
                f"{', '.join(self.operating_points)}."
            )
        if list(self.age_bands) != sorted({int(age) for age in self.age_bands if age > 0}):
            raise EvaluationError(f"audit: `age_bands` must be years that rise, not {self.age_bands}.")

    @property
    def operating_points(self) -> list[str]:
        """The names of all operating points."""
        return [YOUDEN, *(f"{value:g}" for value in self.sensitivities)]
