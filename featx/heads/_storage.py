"""Heads on disk, read back without running foreign code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.utils.validation import check_is_fitted

from featx._archives import require_modest
from featx._arguments import names_of_types
from featx.errors import InputError
from featx.heads._estimators import PUBLIC
from featx.heads._head import Head
from featx.heads._keras_head import KerasHead
from featx_cache._text import first_line
from featx_cache.files import open_regular

TRUSTED = (
    "featx.heads.CalibratedHead",
    "featx.heads.KerasHead",
    "featx.heads.LimitedKNeighbors",
    "featx.heads.LimitedPCA",
    "featx.heads.ShrunkLDA",
    "featx.heads.SpatialPooling",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # Heads of runs of schema 1.
    "sklearn.model_selection._split.StratifiedGroupKFold",
)
"""Types that a head may hold besides those that skops itself trusts."""

RENAMED = {
    "Discriminant": "ShrunkLDA",
    "NearestNeighbors": "LimitedKNeighbors",
    "Reduction": "LimitedPCA",
}
"""Classes in files of earlier versions, which were in modules below `featx.heads`."""


def head_file(head: Any) -> str:
    """Return the name of the file that keeps a head. Its ending says what wrote it."""
    return "head.keras" if isinstance(head, KerasHead) else "head.skops"


def save_head(head: Head, folder: Path, trusted: Iterable[str] = ()) -> str:
    """Write a fitted head into a folder.

    Parameters
    ----------
    head
        Fitted head.
    folder
        Folder that exists. A head in it is replaced.
    trusted
        Types that the head may hold besides those that featx knows; see `load_head`.

    Returns
    -------
    str
        Name of the file: ``head.keras`` for a network, ``head.skops`` for all others.

    Raises
    ------
    InputError
        If the head holds types that aren't trusted. Nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from featx.heads import HeadSpec, build
    >>> head = build(HeadSpec.choose("logreg")).fit([[0.0], [1.0], [2.0]], [0, 0, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     name = save_head(head, Path(folder))
    ...     back = load_head(Path(folder) / name)
    >>> name, bool((back.predict_proba([[2.0]]) == head.predict_proba([[2.0]])).all())
    ('head.skops', True)
    """
    path = folder / head_file(head)
    if isinstance(head, KerasHead):
        head.save(path)
    else:
        path.write_bytes(readable_content(head, trusted))
    return path.name


def readable_content(estimator: Any, trusted: Iterable[str]) -> bytes:
    """Return the content of a skops file that can be read back.

    Raises
    ------
    InputError
        If the estimator holds types that neither skops nor featx nor the caller trusts, which are
        listed, or if skops can't write it or read it back.
    """
    what = f"a {type(estimator).__name__}"
    foreign = set(names_of_types(trusted))
    try:
        content = bytes(skops.io.dumps(estimator))
        unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - {*TRUSTED, *foreign})
        if foreign and not unknown:  # a trusted class may still be one that can't be imported
            skops.io.loads(content, trusted=sorted({*TRUSTED, *foreign}))
    except Exception as error:  # classes of the user's own may raise anything here
        raise InputError(
            f"{what} can't be kept in a file: {first_line(error)}",
            "It may hold numbers, text, arrays, containers and estimators, and functions and "
            "classes that can be imported.",
            parameter="head",
        ) from error
    if unknown:
        raise InputError(
            f"{what} holds types that are read from a file only if you trust them: {unknown}",
            "If you know their code, give them as `trusted`, and again when you load the run.",
            parameter="trusted",
        )
    return content


def load_head(path: Path, trusted: Iterable[str] = ()) -> Head:
    """Read a fitted head.

    Parameters
    ----------
    path
        File ``head.keras`` or ``head.skops`` of a run.
    trusted
        Types that a head of skops may hold besides those that featx knows, such as
        ``"sklearn.tree._tree.Tree"`` or ``"my_package.MyClassifier"``. Name only types whose code
        you know: what a file says about itself is never believed.

    Returns
    -------
    Head
        It works wherever scikit-learn takes a fitted classifier.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds anything but known estimators. The message
        names the types that were refused.

    Examples
    --------
    A fitted head, as `load_head` and ``run.head`` give it, inside scikit-learn:

    >>> import numpy as np
    >>> from featx.heads import build, head_spec
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.model_selection import FixedThresholdClassifier, permutation_test_score
    >>> random = np.random.default_rng(0)
    >>> y = np.arange(40) % 2
    >>> X = random.normal(size=(40, 3, 3, 8)) + y[:, None, None, None]
    >>> head = build(head_spec("logreg")).fit(X, y)
    >>> careful = FixedThresholdClassifier(FrozenEstimator(head), threshold=0.2).fit(X, y)
    >>> bool(careful.predict(X).sum() >= head.predict(X).sum())
    True
    >>> score, _, p = permutation_test_score(FrozenEstimator(head), X, y, n_permutations=20, cv=2)
    >>> bool(score > 0.9), bool(p < 0.05)
    (True, True)
    """
    trusted = names_of_types(trusted)
    if not path.is_file():
        raise InputError(f"the run has no {path.name} ({path})", "Fit it again with `featx.fit`.")
    hint = "Use only runs that featx made; fit it again with `featx.fit`."
    try:
        if path.suffix == ".keras":
            return KerasHead.load(path, classes=np.array([0, 1]))
        require_modest(path)
        content = _with_public_names(path)
        allowed = {*TRUSTED, *names_of_types(trusted)}
        if unknown := sorted(set(skops.io.get_untrusted_types(data=content)) - allowed):
            hint = "Name these types in `trusted` only if you know their code. " + hint
            raise ValueError(f"it holds types that aren't trusted: {unknown}")
        head: Any = skops.io.loads(content, trusted=sorted(allowed))
        if not callable(getattr(head, "predict_proba", None)):
            raise ValueError(f"it holds a {type(head).__name__}, not a classifier")
        check_is_fitted(head)
        fitted: Head = head
        return fitted
    except Exception as error:  # a file made to do harm raises anything
        reason = " ".join(str(error).split())[:400] or type(error).__name__
        raise InputError(f"{path} can't be loaded safely: {reason}", hint) from error


def _with_public_names(path: Path) -> bytes:
    """Return the content of a skops file, in which classes of featx have today's names."""

    def rename(node: dict[str, Any]) -> dict[str, Any]:
        module, name = node.get("__module__"), node.get("__class__")
        if isinstance(module, str) and module.startswith(f"{PUBLIC}."):
            node["__module__"] = PUBLIC
            node["__class__"] = RENAMED.get(name, name) if isinstance(name, str) else name
        return node

    content = io.BytesIO()
    with (
        open_regular(path) as file,
        zipfile.ZipFile(file) as old,
        zipfile.ZipFile(content, "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            if name == "schema.json":
                data = json.dumps(json.loads(data, object_hook=rename)).encode()
            new.writestr(name, data)
    return content.getvalue()
