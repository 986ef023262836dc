"""Options of the commands that fit heads, and the specs of what was typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from featx_cli import completion
from featx_cli.data_options import warn_of_cache
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx.heads import HeadSpec
    from featx.heads._settings import HeadName
    from featx_cache import Cache

CacheArgument = Annotated[
    Path, typer.Argument(metavar="CACHE", help="Folder that `featx extract` filled.")
]
HeadConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="YAML file with settings of the head, among them `layers`: a Keras head of your own.",
    ),
]
CalibrationOption = Annotated[
    str | None,
    typer.Option(
        help="Method that makes probabilities of scores, on held-out patients: sigmoid, isotonic "
        "or temperature. Default: sigmoid for the svm, none for the others.",
        show_default=False,
        autocompletion=completion.one_of(*completion.CALIBRATIONS),
    ),
]
UseCopiesOption = Annotated[
    bool,
    typer.Option(
        help="Train on augmented copies too, if the cache has some. An image counts once, however "
        "many copies it has.",
    ),
]
ChooseOnOption = Annotated[
    Literal["untouched", "copies", "both"] | None,
    typer.Option(
        help="Out-of-fold scores that the threshold is chosen on: of untouched images, of their "
        "copies, which are disturbed as images are at other hospitals, or of both. Default: both "
        "if the head is trained on copies, else untouched.",
        show_default=False,
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="FEATX_STORAGE",
        help="Database of the study, such as sqlite:///study.db or "
        "postgresql+psycopg://user@host/name. Machines that name the same one share its trials. "
        "Default: a file in the run. What a run says isn't followed.",
        show_default=False,
    ),
]


def open_for_fitting(path: Path) -> Cache:
    """Open a cache, warn of what a fit on it can't tell, and load TensorFlow."""
    from featx_cache import open_cache

    cache = open_cache(path)
    import_quietly()
    warn_of_cache(cache)
    return cache


@dataclass(frozen=True)
class HeadOptions:
    """Heads and settings as they were typed. `keras` has options that only that head takes."""

    heads: str
    config: Path | None
    pairs: list[str] | None
    seed: int
    calibration: str | None
    keras: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def names(self) -> list[HeadName]:
        """Names of the heads."""
        from featx.heads._spec import HEADS, require_head

        if self.heads == "all":
            return list(HEADS)
        names = [require_head(name.strip()) for name in self.heads.split(",")]
        return list(dict.fromkeys(names))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings of the file, and those of the command line over them."""
        from featx.errors import InputError
        from featx.heads._own_layers import read_head_config

        settings = {} if self.config is None else read_head_config(self.config)
        for pair in self.pairs or []:
            name, equals, value = pair.partition("=")
            if not equals:
                raise InputError(
                    f"--set {pair} has no value", "Write it like --set learning_rate=0.002."
                )
            settings[name.strip().replace("-", "_")] = value.strip()
        return settings

    def specs(self) -> list[HeadSpec]:
        """Make the specs. Among several heads, each takes the settings that it has."""
        from featx.errors import InputError
        from featx.heads._settings import SETTINGS
        from featx.heads._spec import HEADS

        known = {name for head in HEADS for name in SETTINGS[head].model_fields}
        if len(self.names) > 1 and (unknown := [s for s in self.settings if s not in known]):
            raise InputError(
                f"no head has a setting {unknown[0]!r}", "`featx heads HEAD` lists those of one."
            )
        if "keras" in self.names:
            import_quietly()  # its precision goes by the hardware, its layers by Keras
        return [self._spec(name) for name in self.names]

    def _spec(self, name: HeadName) -> HeadSpec:
        from featx.errors import InputError
        from featx.heads import HeadSpec
        from featx.heads._settings import SETTINGS

        settings, given = self.settings, {k: v for k, v in self.keras.items() if v is not None}
        if name == "keras":
            settings = settings | given
        elif given and len(self.names) == 1:
            raise InputError(
                f"--{next(iter(given)).replace('_', '-')} is for --head keras, not {name}",
                f"`featx heads {name}` lists its settings.",
            )
        if len(self.names) > 1:
            fields = SETTINGS[name].model_fields
            settings = {key: value for key, value in settings.items() if key in fields}
        return HeadSpec.choose(
            name, seed=self.seed, calibration=self.calibration, settings=settings
        )
