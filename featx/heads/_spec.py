"""Which head, with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from featx._specs import Spec, require_known
from featx.errors import InputError
from featx.heads._settings import SETTINGS, BaselineSettings, HeadName, KerasSettings

HEADS: tuple[HeadName, ...] = get_args(HeadName)
OPTIONS = ("seed", "calibration", "epochs", "copies_per_epoch", "ensemble", "precision")
"""What has an option of its own on the command line."""

Calibration = Literal["sigmoid", "isotonic", "temperature"]


class HeadSpec(Spec):
    """A head and its settings.

    Attributes
    ----------
    name
        ``keras`` is a network, the others are estimators of scikit-learn; `featx.heads.TITLES`
        says what each is.
    seed
        Of everything random in it.
    calibration
        How scores become probabilities, on held-out patients: ``sigmoid`` (Platt 1999),
        ``isotonic`` (Zadrozny and Elkan 2002), ``temperature`` (Guo et al. 2017), or None for the
        head's own. The svm has none of its own and takes ``sigmoid``.
    settings
        The head's own; a mapping with some of them becomes all of them.
    """

    name: HeadName
    seed: int = Field(0, ge=0, lt=2**32)
    calibration: Calibration | None = None
    settings: SerializeAsAny[KerasSettings | BaselineSettings]

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Fill in the settings of the head that was named."""
        if not isinstance(values, dict) or values.get("name") not in HEADS:
            return values
        values = dict(values)
        kind, given = SETTINGS[values["name"]], values.get("settings", {})
        if isinstance(given, Spec):
            given = given.model_dump()
        values["settings"] = kind.model_validate(given)
        if values["name"] == "svm" and values.get("calibration") is None:
            values["calibration"] = "sigmoid"
        return values

    @property
    def keras(self) -> KerasSettings | None:
        """Settings of the Keras head; None for the others."""
        return self.settings if isinstance(self.settings, KerasSettings) else None

    @property
    def baseline(self) -> BaselineSettings | None:
        """Settings of a head of scikit-learn; None for the Keras head."""
        return self.settings if isinstance(self.settings, BaselineSettings) else None

    @classmethod
    def choose(
        cls,
        name: str,
        *,
        seed: int = 0,
        calibration: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> HeadSpec:
        """Make a spec from what a user typed.

        Parameters
        ----------
        name, seed, calibration
            See the attributes.
        settings
            Some of the head's settings. A precision of ``auto``, the default here, goes by the
            hardware.

        Raises
        ------
        InputError
            When there is no such head, setting or layer, or a value is out of range; names that
            look like it are suggested.
        """
        kind = SETTINGS[require_head(name)]
        chosen = dict(settings or {})
        for setting in chosen:
            require_known(
                f"setting of {name}",
                setting,
                kind.model_fields,
                f"`featx heads {name}` lists them.",
            )
        if name == "keras" and chosen.get("precision", "auto") == "auto":
            chosen["precision"] = _fastest_precision()
        try:
            spec = cls.model_validate(
                {"name": name, "seed": seed, "calibration": calibration, "settings": chosen}
            )
        except ValidationError as error:
            raise _complaint(error, chosen) from error
        if spec.keras is not None and spec.keras.layers is not None:
            from featx.heads._own_layers import check_layers

            check_layers(spec.keras.layers)
        return spec


def require_head(name: str) -> HeadName:
    """Return the name of a head as it was typed.

    Raises
    ------
    InputError
        When there is no such head; one that looks like it is suggested.
    """
    require_known("head", name, HEADS)
    return cast(HeadName, name)


def _fastest_precision() -> str:
    from featx.backbones._precision import resolve_precision

    return "bfloat16" if resolve_precision("auto")[0] == "bfloat16" else "float32"


def _complaint(error: ValidationError, settings: Mapping[str, Any]) -> InputError:
    """Say in one line which setting can't have which value."""
    first = error.errors()[0]
    names = [str(part) for part in first["loc"]]
    name = next((part for part in names if part in settings), names[0] if names else "")
    value = settings.get(name, first["input"])
    why = first["msg"].removeprefix("Value error, ")
    if not name:
        return InputError(f"these settings can't be used: {why}")
    shown = f"--{name.replace('_', '-')}" if name in OPTIONS else f"the setting {name}"
    return InputError(
        f"{shown} can't be {value!r}: {why[:1].lower()}{why[1:]}",
        "`featx heads HEAD` lists the settings of a head with their defaults.",
    )
