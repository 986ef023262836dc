"""The state of a training after each epoch, so that a killed training can resume."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras.callbacks import Callback
from numpy.typing import NDArray

from featx._archives import require_modest
from featx.heads._stopping import BestEpoch
from featx_cache.files import atomic_path

History = list[dict[str, float]]
UNREADABLE_FILE_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,  # also NotImplementedError: flipped bits look like an unknown kind of zip
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of NumPy and zipfile on a damaged file."""


@dataclass(frozen=True, slots=True)
class State:
    """A training after some epochs. If it is finished, its weights are those that were kept."""

    history: History
    finished: bool
    outcome: str


class Checkpoint(Callback):  # type: ignore[misc]
    """Write weights, optimizer, dropout's seeds and the stopping rule after each epoch.

    The file appears whole or not at all. (Keras's `BackupAndRestore` keeps weights and optimizer,
    but neither a stopping rule's best epoch nor the history, and writes two files.)

    Parameters
    ----------
    path
        File in NumPy's ``.npz`` format.
    history
        History of the training. The caller appends to it.
    rule
        Stopping rule, if there is one.
    """

    def __init__(self, path: Path, history: History, rule: BestEpoch | None) -> None:
        super().__init__()
        self.path, self.history, self.rule = path, history, rule

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._write(finished=False)

    def finish(self) -> None:
        """Write that the training is over, with the weights that were kept."""
        self._write(finished=True)

    def load(self, model: Any) -> State | None:
        """Restore a compiled model whose optimizer is built.

        If there is no file, or it is damaged or of another network, the model stays as it is and
        None is returned.
        """
        if not self.path.is_file():
            return None
        try:
            require_modest(self.path)
            with np.load(self.path, allow_pickle=False) as file:
                facts = json.loads(str(file["facts"]))
                variables, best = _list(file, "variable"), _list(file, "best")
                optimizer = _list(file, "optimizer")
        except UNREADABLE_FILE_ERRORS:
            return None
        shapes = [v.shape for v in model.variables] == [v.shape for v in variables]
        wanted = 0 if facts["finished"] else len(model.optimizer.variables)
        if not shapes or len(optimizer) != wanted:
            return None
        _assign(model.variables, variables)
        _assign(model.optimizer.variables, optimizer)
        if self.rule is not None and facts["rule"] is not None:
            self.rule.resume(facts["rule"], best)
        self.history[:] = facts["history"]
        return State(self.history, facts["finished"], facts["outcome"])

    def _write(self, *, finished: bool) -> None:
        arrays = _named("variable", self.model.variables)
        rule = self.rule.state() if self.rule is not None else None
        if not finished:
            arrays |= _named("optimizer", self.model.optimizer.variables)
            if self.rule is not None and self.rule.best is not None:
                arrays |= {f"best{i}": w for i, w in enumerate(self.rule.best.weights)}
        facts = {
            "history": self.history,
            "finished": finished,
            "outcome": self.rule.outcome if self.rule is not None else "",
            "rule": None if finished else rule,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)


def _named(word: str, variables: Any) -> dict[str, NDArray[Any]]:
    return {f"{word}{i}": np.asarray(variable) for i, variable in enumerate(variables)}


def _list(file: Any, word: str) -> list[NDArray[Any]]:
    arrays: list[NDArray[Any]] = []
    while f"{word}{len(arrays)}" in file:
        arrays.append(file[f"{word}{len(arrays)}"])
    return arrays


def _assign(variables: Any, values: list[NDArray[Any]]) -> None:
    """Fill variables. A finished training has no values for the optimizer."""
    for variable, value in zip(variables, values, strict=False):
        variable.assign(value)
