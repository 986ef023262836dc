"""The options of the criterion that chooses a threshold, the same for every command that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from featx_cli.option_groups import Command, with_options_for

OWN_DEFAULT = "0.9, if no other option of the criterion is given"
COST_HINT = "Give two numbers above 0 with a colon between, such as 10:1."

RecallFloorOption = Annotated[
    float | None,
    typer.Option(
        metavar="FRACTION",
        help="Recall that the threshold must keep. Specificity is then as high as it can be, "
        "instead of recall. Default: none.",
        show_default=False,
    ),
]
SpecificityFloorOption = Annotated[
    float | None,
    typer.Option(
        metavar="FRACTION",
        help="Specificity that the threshold must keep. Default: none.",
        show_default=False,
    ),
]
CostOption = Annotated[
    str | None,
    typer.Option(
        metavar="FN:FP",
        help="Cost of a missed sick patient and of a false alarm, such as 10:1. The expected cost "
        "is then as low as it can be. Default: none.",
        show_default=False,
    ),
]
YoudenOption = Annotated[
    bool,
    typer.Option(
        "--youden", help="Make recall + specificity - 1 as high as it can be (Youden's index)."
    ),
]


def with_criterion_options(*, default: str = OWN_DEFAULT) -> Callable[[Command], Command]:
    """Give a command the options of the criterion.

    They take the place of its keyword `criterion`, which gets them as a dictionary of keywords, as
    `featx.choose_threshold` takes them.

    Parameters
    ----------
    default
        Accuracy floor if the option isn't given, in words.
    """
    accuracy = Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help=f"Accuracy that the threshold must keep. Default: {default}.",
            show_default=False,
        ),
    ]
    options = {
        "accuracy_floor": (accuracy, None),
        "recall_floor": (RecallFloorOption, None),
        "specificity_floor": (SpecificityFloorOption, None),
        "cost": (CostOption, None),
        "youden": (YoudenOption, False),
    }
    return with_options_for("criterion", options, _criterion)


def _criterion(cost: str | None, **others: Any) -> dict[str, Any]:
    from featx.errors import InputError

    if cost is None:
        return {**others, "cost": None}
    try:
        missed, alarm = (float(each) for each in cost.split(":"))
    except ValueError as error:
        raise InputError(f"{cost!r:.60} isn't FN:FP", COST_HINT, parameter="cost") from error
    if not (0.0 < missed < float("inf") and 0.0 < alarm < float("inf")):
        raise InputError(f"{cost!r:.60} has a cost that isn't above 0", COST_HINT, parameter="cost")
    return {**others, "cost": (missed, alarm)}
