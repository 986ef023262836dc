"""The settings of each head: names, defaults, ranges, and what they mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from featx._specs import Spec
from featx.heads._pooling import Pooling

Precision = Literal["float32", "bfloat16"]
PCA_COMPONENTS = 300


def _none(value: Any) -> Any:
    """Read the word none as None."""
    return None if isinstance(value, str) and value.lower() in ("none", "null", "") else value


def _numbers(value: Any) -> Any:
    """Read 512,256 as a list, and 512 as a list of one."""
    value = _none(value)
    if isinstance(value, str):
        return [part for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) else value


Units = Annotated[int, Field(ge=1, le=2**14)]
Fraction = Annotated[float, Field(ge=0, le=1)]
ClassWeight = Annotated[
    Literal["balanced"] | None,
    BeforeValidator(_none),
    Field(description="balanced weighs classes inversely to their frequency"),
]
Components = Annotated[
    int | None,
    Field(ge=1, description="principal components that the features are reduced to; none: all"),
    BeforeValidator(_none),
]


class KerasSettings(Spec):
    """Settings of the Keras head. Each field has a description.

    Examples
    --------
    >>> KerasSettings(dense_units="512,256", epochs=20).widths
    (512, 256)
    """

    architecture: Literal["study", "gap"] = Field(
        "study",
        description="study: three stages of convolutions, then Dense; gap: small, global average "
        "pooling, then Dense",
    )
    pooling: Literal["max", "average"] = Field("max", description="pooling in the study's network")
    dense_units: Annotated[tuple[Units, ...] | None, BeforeValidator(_numbers)] = Field(
        None,
        description="width of each Dense layer, such as 512,256; none: 1024,1024,1024 for study, "
        "64 for gap",
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="rate of dropout before the last layer")
    batch_normalization: bool = Field(
        True, description="normalization after the study's first convolutions"
    )
    layers: tuple[dict[str, Any], ...] | None = Field(
        None, description="a network of your own, from `head_config`; see docs/heads.md"
    )
    optimizer: Literal["adam", "rmsprop", "sgd"] = Field("adam", description="sgd has momentum 0.9")
    learning_rate: float = Field(5e-4, gt=0, le=10, description="learning rate at the first step")
    schedule: Literal["cosine", "step", "constant"] = Field(
        "cosine",
        description="cosine: to zero along half a cosine; step: halved every 10 epochs; constant",
    )
    epochs: int = Field(8, ge=1, description="passes over the training images")
    batch_size: int = Field(32, ge=1, le=4096, description="images a step")
    class_weight: ClassWeight = "balanced"
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="distance of targets from 0 and 1"
    )
    copies_per_epoch: Literal["one", "all"] = Field(
        "one", description="an epoch sees one copy of each image, drawn at random, or all"
    )
    stopping: Annotated[
        Literal["dual", "patience", "best_recall"] | None, BeforeValidator(_none)
    ] = Field(
        None,
        description="dual: accuracy and recall, as in the study; patience: one metric; "
        "best_recall: all epochs, then back to the best; none: the last epoch",
    )
    monitor: Literal["loss", "accuracy", "recall"] = Field(
        "loss", description="metric on the validation images that stopping=patience goes by"
    )
    patience: int = Field(10, ge=1, description="epochs without a better one before it stops")
    accuracy_target: Fraction = Field(0.94, description="stopping=dual: validation accuracy")
    recall_target: Fraction = Field(0.95, description="stopping=dual: validation recall")
    train_recall_target: Annotated[Fraction | None, BeforeValidator(_none)] = Field(
        None, description="stopping=dual: recall on the training images, 0.98 in the study"
    )
    validation_fraction: float = Field(
        0.15, gt=0, lt=1, description="share of patients held out if there is a stopping rule"
    )
    ensemble: int = Field(1, ge=1, le=100, description="networks whose scores are averaged")
    ensemble_of: Literal["seeds", "folds"] = Field(
        "seeds", description="members differ by seed, or each leaves out one fold of patients"
    )
    precision: Precision = Field(
        "float32", description="precision of the arithmetic; `featx fit` takes the faster"
    )

    @model_validator(mode="after")
    def _folds(self) -> Self:
        if self.ensemble_of == "folds" and self.ensemble == 1:
            raise ValueError("an ensemble of folds needs 2 members at least")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each Dense layer before the last."""
        if self.dense_units is not None:
            return self.dense_units
        return (1024, 1024, 1024) if self.architecture == "study" else (64,)


class BaselineSettings(Spec):
    """Settings that all heads of scikit-learn share: how an embedding becomes a feature vector."""

    representation: Pooling = Field(
        "pyramid",
        description="average or max over the grid, both, pyramid (1x1 and 3x3 averages), or "
        "flatten (always reduced)",
    )
    standardize: bool = Field(
        True, description="whether each pooled vector of an image gets mean 0 and deviation 1"
    )
    components: Components = None

    @model_validator(mode="before")
    @classmethod
    def _flatten_is_reduced(cls, values: Any) -> Any:
        """Reduce 41,472 columns first. An SVM on them would take hours."""
        if isinstance(values, dict) and values.get("representation") == "flatten":
            values = dict(values)
            if _none(values.setdefault("components", PCA_COMPONENTS)) is None:
                raise ValueError("representation=flatten needs a number of components")
        return values


class LogregSettings(BaselineSettings):
    """Settings of logistic regression."""

    C: float = Field(0.01, gt=0, description="inverse strength of regularization")
    penalty: Literal["l2", "l1", "elasticnet"] = Field("l2", description="kind of regularization")
    l1_ratio: Fraction = Field(0.5, description="share of L1 in penalty=elasticnet")
    class_weight: ClassWeight = "balanced"


class SvmSettings(BaselineSettings):
    """Settings of the support vector machine."""

    components: Components = PCA_COMPONENTS
    kernel: Literal["rbf", "linear"] = "rbf"
    C: Annotated[float | None, Field(gt=0), BeforeValidator(_none)] = Field(
        None, description="cost of an error; none: 10 for rbf, 0.01 for linear"
    )
    gamma: Literal["scale", "auto"] | Annotated[float, Field(gt=0)] = Field(
        "scale", description="width of the RBF kernel"
    )
    class_weight: ClassWeight = "balanced"

    @property
    def cost(self) -> float:
        """C, or the kernel's default."""
        return self.C if self.C is not None else {"rbf": 10.0, "linear": 0.01}[self.kernel]


class KnnSettings(BaselineSettings):
    """Settings of nearest neighbors."""

    components: Components = PCA_COMPONENTS
    n_neighbors: int = Field(25, ge=1, description="neighbors, weighted by distance")
    metric: Literal["euclidean", "cosine", "manhattan"] = "euclidean"


class LdaSettings(BaselineSettings):
    """Settings of linear discriminant analysis."""

    components: Components = PCA_COMPONENTS
    shrinkage: Annotated[Literal["auto"] | Fraction | None, BeforeValidator(_none)] = Field(
        0.1, description="shrinkage of the covariance; auto is Ledoit and Wolf's"
    )


class HgbSettings(BaselineSettings):
    """Settings of histogram gradient boosting."""

    components: Components = 64
    learning_rate: float = Field(0.1, gt=0, le=1)
    max_iter: int = Field(150, ge=1, description="trees")
    max_bins: int = Field(32, ge=2, le=255, description="bins of each feature; more cost time")
    max_leaf_nodes: int = Field(15, ge=2)
    l2_regularization: float = Field(1.0, ge=0)
    class_weight: ClassWeight = "balanced"


class CustomSettings(BaselineSettings):
    """Settings of a classifier of the user's own: its features, and what it is, for readers."""

    classifier: str = Field("", description="module and name of its class")
    parameters: str = Field("", description="class and parameters, as scikit-learn writes them")


HeadName = Literal["keras", "logreg", "svm", "knn", "lda", "hgb"]
CUSTOM: Literal["custom"] = "custom"
SETTINGS: dict[HeadName | Literal["custom"], type[KerasSettings] | type[BaselineSettings]] = {
    "keras": KerasSettings,
    "logreg": LogregSettings,
    "svm": SvmSettings,
    "knn": KnnSettings,
    "lda": LdaSettings,
    "hgb": HgbSettings,
    CUSTOM: CustomSettings,
}
TITLES: dict[HeadName | Literal["custom"], str] = {
    "keras": "a Keras network: the study's, a small one, or your own",
    "logreg": "logistic regression",
    "svm": "support vector machine",
    "knn": "nearest neighbors",
    "lda": "linear discriminant analysis",
    "hgb": "gradient boosting on histograms",
    CUSTOM: "a scikit-learn classifier of your own",
}
