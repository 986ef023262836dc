"""Specs of heads: a name and settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Self, cast, get_args

from pydantic import Field, PrivateAttr, SerializeAsAny, ValidationError, model_validator
from sklearn.base import BaseEstimator

from featx._arguments import names_of_types
from featx._specs import Spec, require_known
from featx.errors import InputError
from featx.heads._custom import class_path, described, require_classifier, seeded_clone
from featx.heads._keras_head import KerasHead
from featx.heads._own_layers import check_layers
from featx.heads._pooling import Pooling
from featx.heads._settings import (
    CUSTOM,
    SETTINGS,
    BaselineSettings,
    HeadName,
    KerasSettings,
)
from featx.heads._storage import readable_content
from featx_cache._text import first_line

HEADS: tuple[HeadName, ...] = get_args(HeadName)
OPTIONS = ("seed", "calibration", "epochs", "copies_per_epoch", "ensemble", "precision")
"""Settings that have options of their own on the command line."""

Calibration = Literal["sigmoid", "isotonic", "temperature"]


class HeadSpec(Spec):
    """A head and its settings.

    Attributes
    ----------
    name
        Kind of head: ``keras`` is a network, ``custom`` a classifier of your own (see
        `head_spec`), the others are estimators of scikit-learn. ``featx heads`` describes them.
    seed
        Seed of everything random in the head.
    calibration
        Method that makes probabilities of scores, on held-out patients: ``sigmoid`` (Platt 1999),
        ``isotonic`` (Zadrozny and Elkan 2002), ``temperature`` (Guo et al. 2017), or None for the
        head's own. The svm has none of its own and takes ``sigmoid``.
    settings
        Settings of this kind of head. A mapping with some of them is completed.

    Examples
    --------
    >>> HeadSpec(name="svm").calibration
    'sigmoid'
    >>> HeadSpec.choose("logreg", settings={"C": 0.1})
    HeadSpec('logreg', C=0.1)
    """

    name: HeadName | Literal["custom"]
    seed: int = Field(0, ge=0, lt=2**32)
    calibration: Calibration | None = None
    # `_complete` fills it in: the default is for type checkers.
    settings: SerializeAsAny[KerasSettings | BaselineSettings] = cast(Any, None)
    _estimator: Any = PrivateAttr(None)
    _trusted: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Fill in the settings of the head that was named."""
        if not isinstance(values, dict) or values.get("name") not in SETTINGS:
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
        """Settings of the Keras head. None for the others."""
        return self.settings if isinstance(self.settings, KerasSettings) else None

    @property
    def baseline(self) -> BaselineSettings | None:
        """Settings of a head of scikit-learn. None for the Keras head."""
        return self.settings if isinstance(self.settings, BaselineSettings) else None

    @property
    def trains_in_epochs(self) -> bool:
        """Whether a fit has epochs to follow, to stop early and to resume after.

        A calibrated Keras head fits its network on several folds, so it has none.
        """
        return self.keras is not None and self.calibration is None

    @property
    def stops_by_accuracy_floor(self) -> bool:
        """Whether the accuracy floor changes the fit: the dual stopping rule looks at it."""
        return self.keras is not None and self.keras.stopping == "dual"

    @property
    def trusted(self) -> tuple[str, ...]:
        """Types that the caller trusts in a classifier of their own. See `head_spec`."""
        return self._trusted

    def classifier(self) -> Any:
        """Return a new unfitted copy of the user's own classifier, seeded.

        Raises
        ------
        InputError
            If the spec was read from a file, which describes the classifier but doesn't hold it.
        """
        if self._estimator is None:
            raise InputError(
                f"a {self.name} head holds a classifier from Python, which its description can't "
                f"make: {getattr(self.settings, 'parameters', '')}",
                "Give the classifier itself: featx.fit(cache, classifier, run).",
                parameter="head",
            )
        return seeded_clone(self._estimator, self.seed)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Name the head and what isn't its default."""
        yield None, self.name
        for spec in (self, self.settings):
            for name, field in type(spec).model_fields.items():
                value = getattr(spec, name)
                if name not in ("name", "settings") and value != field.default:
                    yield name, value

    def _carry(self, estimator: Any, trusted: Iterable[str]) -> Self:
        self._estimator, self._trusted = estimator, names_of_types(trusted)
        return self

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
            Some of the head's settings. A precision of ``auto``, the default here, takes the
            fastest of the hardware.

        Raises
        ------
        InputError
            If there is no such head, setting or layer, or a value is out of range. Names that
            look like it are suggested.
        """
        kind = SETTINGS[require_head(name)]
        chosen = dict(settings or {})
        for setting in chosen:
            require_known(
                f"setting of {name}",
                setting,
                kind.model_fields,
                f"Choose one of {', '.join(kind.model_fields)}.",
            )
        if name == "keras" and chosen.get("precision", "auto") == "auto":
            chosen["precision"] = _fastest_precision()
        values = {"name": name, "seed": seed, "calibration": calibration, "settings": chosen}
        try:
            spec = cls.model_validate(values)
        except ValidationError as error:
            raise _complaint(error, chosen) from error
        if spec.keras is not None and spec.keras.layers is not None:
            check_layers(spec.keras.layers)
        return spec


def head_spec(
    head: str | HeadSpec | BaseEstimator,
    *,
    representation: Pooling | None = None,
    seed: int = 0,
    trusted: Iterable[str] = (),
) -> HeadSpec:
    """Make a spec of a name, of a spec, or of any classifier of scikit-learn.

    A classifier of your own gets the features of the other heads of scikit-learn: embeddings
    pooled to one vector, standardized in each image, then each feature scaled to mean 0 and
    standard deviation 1 over the training images. It is copied before each fit, so yours stays
    unfitted. If it has ``decision_function`` but no ``predict_proba``, its scores become
    probabilities as those of the svm do (``sigmoid``, on held-out patients).

    Parameters
    ----------
    head
        Name of a head, a `HeadSpec` (returned as it is), or an unfitted classifier, such as a
        ``Pipeline``. A `KerasHead` becomes a spec of ``keras`` with its parameters.
    representation
        Pooling of the embeddings. See `SpatialPooling`. None takes the head's default, which is
        ``pyramid``.
    seed
        Seed of the head. Each ``random_state`` that is None in a classifier of your own, or in
        its parts, becomes this seed in every fit. Seeds that you set stay. A `HeadSpec` and a
        `KerasHead` have their own.
    trusted
        Types in a classifier of your own that skops doesn't read from a file unless they are
        trusted, such as ``"sklearn.tree._tree.Tree"``. The error of a fit lists them.

    Raises
    ------
    InputError
        If there is no such head (one that looks like it is suggested), it is no classifier, it
        has no scores, or it holds types that aren't trusted.

    Examples
    --------
    >>> head_spec("logreg").name
    'logreg'
    >>> from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> own = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis())
    >>> spec = head_spec(own, representation="average")
    >>> spec.name, spec.settings.representation, spec.settings.classifier
    ('custom', 'average', 'sklearn.pipeline.Pipeline')
    """
    if isinstance(head, HeadSpec):
        if representation is not None:
            raise InputError(
                "`representation` can't be given beside a HeadSpec",
                "It is one of the HeadSpec's settings.",
                parameter="representation",
            )
        return head
    settings = {} if representation is None else {"representation": representation}
    if isinstance(head, str):
        return HeadSpec.choose(head, seed=seed, settings=settings)
    if isinstance(head, KerasHead):
        return HeadSpec.choose("keras", seed=head.random_state, settings=_parameters_of(head))
    require_classifier(head)
    trusted = names_of_types(trusted)
    readable_content(head, trusted)
    values = {
        "name": CUSTOM,
        "seed": seed,
        "calibration": None if hasattr(head, "predict_proba") else "sigmoid",
        "settings": {"classifier": class_path(head), "parameters": described(head)} | settings,
    }
    try:
        return HeadSpec.model_validate(values)._carry(head, trusted)
    except ValidationError as error:
        raise _complaint(error, settings) from error


def _parameters_of(head: KerasHead) -> dict[str, Any]:
    """Return the settings that a Keras head's parameters stand for."""
    if isinstance(head.class_weight, Mapping):
        raise InputError(
            "a Keras head with weights of its own for each class can't be written to a run",
            "Take class_weight balanced or none.",
            parameter="head",
        )
    try:
        return head._settings().model_dump()
    except ValueError as error:
        raise InputError(f"the Keras head can't be used: {first_line(error)}") from error


def require_head(name: str) -> HeadName:
    """Return the name of a head as it was typed."""
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
    shown = f"`{name}`" if name in OPTIONS else f"the setting {name}"
    return InputError(
        f"{shown} can't be {value!r}: {why[:1].lower()}{why[1:]}",
        parameter=name,
    )
