"""What the API answers, as its OpenAPI description has it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

EXAMPLE_ID = "4b4ca0e24c59963fb12e3477b4de82e1"
EXAMPLE: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "state": "scored",
    "path": "IM-0115-0001.jpeg",
    "score": 0.8125,
    "probability": 0.775,
    "threshold": 0.412,
    "prediction": "PNEUMONIA",
    "uncertain": False,
    "unlike_training": False,
    "distance": 24.1,
    "error": "",
    "view": "PA",
    "received": "2026-11-29T06:33:58.288040+00:00",
    "reading": None,
}
WAITING: dict[str, Any] = (
    EXAMPLE
    | dict.fromkeys(("score", "probability", "uncertain", "unlike_training", "distance"))
    | {"state": "waiting", "prediction": "", "view": ""}
)
REFUSED: dict[str, Any] = WAITING | {
    "id": None,
    "state": "refused",
    "error": "the file is empty",
    "received": None,
}


class PredictionRow(BaseModel):
    """Prediction of a run for an image: what `featx predict` writes as JSON, and more."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: str | None = Field(
        description="Identifier of the image: SHA-256 of its content, the first 128 bits. Null if "
        "it was refused."
    )
    state: Literal["waiting", "scored", "failed", "refused"] = Field(
        description="`waiting` for its score, `scored`, `failed` or `refused`: then `error` says "
        "why."
    )
    run: str = Field("", description="Name of the run. It is there only if there are several.")
    path: str = Field(
        description="Name of the file. Names of DICOM files often name patients, so such an image "
        "has a made one."
    )
    score: float | None = Field(description="Score, 0..1. Null without one.")
    probability: float | None = Field(
        description="Calibrated probability of the positive class. Null if the run has none."
    )
    threshold: float | None = Field(
        description="Score from which on an image is called positive. Null if it was refused."
    )
    prediction: str = Field(description="Class that it is called. Empty without a score.")
    uncertain: bool | None = Field(
        description="Whether the score is so near to the threshold that a reader should look."
    )
    unlike_training: bool | None = Field(
        description="Whether the image is unlike the training images, so that the score may mean "
        "nothing."
    )
    distance: float | None = Field(description="Distance from the training images.")
    error: str = Field(description="Reason why there is no score. Empty if there is one.")
    view: str | None = Field(description="View of the X-ray from a DICOM header, such as `PA`.")
    received: datetime | None = Field(description="Time when it came. Null if it was refused.")
    reading: str | None = Field(description="Class that a reader saw. Null if nobody read it.")


class ErrorFacts(BaseModel):
    """What went wrong, and what to do."""

    code: str = Field(description="Kind of the error, for programs.")
    what: str = Field(description="Description.")
    hint: str = Field(description="Advice. It may be empty.")


class ErrorAnswer(BaseModel):
    """Answer to a request that failed."""

    error: ErrorFacts
    predictions: list[PredictionRow] | None = Field(
        None,
        description="Rows of the files of an upload up to where it failed. Those that have an `id` "
        "were taken. An image that is sent again isn't taken twice.",
    )


class Health(BaseModel):
    """State of the server."""

    status: Literal["ok"] = Field(description="`ok`, if it answers.")
    scoring: Literal["running", "stopped"] = Field(
        description="Whether the process that scores images runs. It is started again when an "
        "image comes."
    )


_TEXTS = {
    400: ("The body is broken.", "form", "the form is broken, or it ends too early"),
    401: ("The server needs a token.", "token", "the server needs a token"),
    403: ("The request isn't for this server, or another site sent it.", "host",
          "this server isn't called that"),
    404: ("There is no such image.", "not-found", "there is no image 4b4ca0e2"),
    405: ("The method isn't taken.", "method", "this address doesn't take this method"),
    408: ("The client was too slow.", "slow", "the request takes too long"),
    413: ("The request is too large.", "too-large", "the request is larger than 2,048 MiB"),
    415: ("The body is of another type.", "media-type", "the body is neither a form nor an image"),
    422: ("A value can't be used, or all files were refused.", "refused-image",
          "no file was taken"),
    429: ("Too many images wait, or too many requests came. `Retry-After` says when to come again.",
          "full-queue", "1,000 images wait for a score"),
    503: ("The server is busy, or the process that scores died. Try again.", "scoring-died",
          "the process that scores images died"),
    507: ("The disk is full.", "storage", "the server can't write to its disk"),
}  # fmt: skip


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of errors, besides those that every request can have."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 401, 403, 429, 503}):
        description, code, what = _TEXTS[status]
        example = {"error": {"code": code, "what": what, "hint": ""}}
        found[status] = {
            "model": ErrorAnswer,
            "description": description,
            "content": {"application/json": {"example": example}},
        }
    return found
