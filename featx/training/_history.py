"""History of a training: a table of epochs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(slots=True)
class History:
    """Epochs of all trainings of a run.

    Attributes
    ----------
    table : DataFrame
        One line an epoch: training (``fold 1``, ``final``), member, epoch, loss, accuracy, recall,
        the same with ``val_`` if patients were held out, seconds.
    outcomes
        Epoch that the stopping rule kept in each training, and why.
    """

    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    outcomes: list[str] = field(default_factory=list)

    def add(self, training: str, head: Any) -> None:
        """Append the epochs of a fitted head, if it has some."""
        epochs = getattr(head, "history_", [])
        if not epochs:
            return
        members = max(1, int(head.ensemble))
        table = pd.DataFrame(epochs)
        # A stopping rule may end members early: each begins at epoch 1 again.
        table.insert(0, "epoch", table.pop("epoch").astype(int))
        table.insert(0, "member", (table["epoch"] == 1).cumsum())
        table.insert(0, "training", training)
        self.table = pd.concat([self.table, table], ignore_index=True)
        for member, outcome in enumerate(head.outcomes_, start=1):
            if outcome:
                which = f", member {member}" if members > 1 else ""
                self.outcomes.append(f"{training}{which}: {outcome}")
