"""What runs reach at several accuracy floors, from their out-of-fold scores.

For each run and floor the threshold is chosen as `featx fit --accuracy-floor FLOOR` chooses it. A
folder of runs, as `featx fit --head all` writes one, stands for all of them. Usage::

    python benchmarks/floors.py RUN... [--floors 0.90,0.95,0.96]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

from featx._run import load_run
from featx._scores import Scores
from featx.errors import NoFeasibleThresholdError
from featx.thresholds import choose_threshold


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--floors", default="0.90,0.95,0.96")
    arguments = parser.parse_args()
    floors = [float(floor) for floor in arguments.floors.split(",")]
    folders = [
        folder
        for path in arguments.runs
        for folder in ([path] if (path / "run.json").is_file() else sorted(path.iterdir()))
        if (folder / "run.json").is_file()
    ]
    titles = " | ".join(f"recall / accuracy at ≥ {floor:.2f}" for floor in floors)
    print(f"| head | copies | ROC AUC | {titles} |\n|---|---|---|" + "---|" * len(floors))
    for folder in folders:
        record = load_run(folder).record
        scores = Scores.from_table(pd.read_csv(folder / "oof.csv"), record.classes)
        cells = []
        for floor in floors:
            try:
                point = choose_threshold(scores, accuracy_floor=floor)
                cells.append(f"{point.recall:.4f} / {point.accuracy:.4f}")
            except NoFeasibleThresholdError as error:
                cells.append(f"none (accuracy {error.best_accuracy:.4f})")
        copies = f"{record.copies}" if record.copies else "none"
        copies += f", averaged over {record.tta}" if record.tta else ""
        auc = roc_auc_score(scores.positive, scores.score)
        print(f"| {record.head.name} | {copies} | {auc:.4f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
