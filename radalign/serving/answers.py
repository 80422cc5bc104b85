"""What the server is asked and what it answers, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

NOTICE = "Not a medical device. For research only."
MOST_FINDINGS, LONGEST_FINDING = 32, 300


class Problem(BaseModel):
    """Why there is no answer."""

    problem: str = Field(description="One sentence.")
    reason: str = Field(
        default="", description="A code, where an image cannot be read: `not_an_image`, `truncated_dicom`, ..."
    )


class ModelFacts(BaseModel):
    """A model that is served."""

    model: str = Field(description="Its name here.")
    method: str
    run: str = Field(description="The folder of the run, without those above it.")
    weights: str = Field(description="trained, untrained, or a file of the run.")
    digest: str = Field(description="SHA-256 of the file of weights.")
    released: bool = Field(description="Whether others trained it.")
    knows: str = Field(description="`names`: findings that it knows by name; `texts`: any words.")
    calibrated: list[str] = Field(description="Findings whose scores are also given as calibrated probabilities.")


class Server(BaseModel):
    """What the server holds."""

    models: list[ModelFacts]
    suggestions: list[str] = Field(description="Names of findings.")
    most_bytes: int = Field(description="Of an image.")
    notice: str = NOTICE


class ImageFacts(BaseModel):
    """A radiograph that was read. No identifier of a patient is among the attributes."""

    height: int = Field(description="Of the file, pixels.")
    width: int
    display: str = Field(description="How stored values became grey levels.")
    display_fallback: str = Field(description="What is shown where the file describes nearly one grey; else empty.")
    attributes: dict[str, Any] = Field(description="Of a DICOM file: modality, view and format.")


class HeldImage(ImageFacts):
    """A radiograph that is held in memory for a while."""

    image: str = Field(description="The name by which it is asked for.")
    shown_height: int = Field(description="Of `/images/{image}/pixels`.")
    shown_width: int


class HeatMap(BaseModel):
    """Where in the image the model sees a finding. Level 0 is the least value of the map and 255 the greatest."""

    rows: int
    columns: int
    least: float
    greatest: float
    levels: str = Field(description="rows x columns bytes, row by row, in base64.")
    left: float = Field(description="Left edge of the map, in shares of the image's width from its left edge.")
    top: float = Field(description="Top edge of the map, in shares of the image's height.")
    width: float = Field(description="In shares of the image's width; a map may reach beyond the image.")
    height: float


class Calibrated(BaseModel):
    """A probability, for images like those that the calibration was made on."""

    probability: float
    data: str = Field(description="The images that it was made on.")
    images: int
    positives: int


class FindingAnswer(BaseModel):
    """What a model says of a finding."""

    finding: str = Field(description="As it was asked.")
    score: float | None = Field(description="0..1; it orders images and is no probability. Null: see `problem`.")
    calibrated: Calibrated | None = Field(default=None, description="Null where there is no calibration.")
    warning: str = Field(default="", description="Why the score may mean nothing, or what the words were taken for.")
    problem: str = Field(default="", description="Why there is no score.")
    map: HeatMap | None = None


class ModelAnswer(BaseModel):
    """What a model says of an image."""

    model: str
    method: str
    digest: str
    findings: list[FindingAnswer]


class Answer(BaseModel):
    """What the models say of an image."""

    image: ImageFacts
    models: list[ModelAnswer]
    notice: str = NOTICE


class Question(BaseModel):
    """A question as JSON. The image is one that is held, or is sent along."""

    findings: list[str] = Field(min_length=1, max_length=MOST_FINDINGS, description="Findings or phrases.")
    models: list[str] = Field(default=[], description="Names of models; none: all.")
    maps: bool = Field(default=False, description="Whether heat maps are wanted.")
    image: str = Field(default="", description="The name of an image that is held.")
    content: str = Field(default="", description="An image file in base64.")
