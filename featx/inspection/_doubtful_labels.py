"""Labels that look wrong once embeddings exist."""

from __future__ import annotations

import numpy as np
import pandas as pd

from featx._progress import SILENT, Progress
from featx.data import Manifest
from featx.heads import HeadSpec
from featx.inspection._findings import Finding, first_examples
from featx.training import load_training_data, out_of_fold
from featx_cache import Cache
from featx_cache._text import plural


def rank_labels(
    manifest: Manifest, cache: Cache, *, seed: int = 0, progress: Progress = SILENT
) -> pd.DataFrame:
    """Sort images by how doubtful their label is, the most doubtful first.

    A logistic regression scores the train and val images of the cache out of fold, and cleanlab's
    ``find_label_issues`` judges labels by these scores (Northcutt et al., Confident Learning, JAIR
    2021). Images that aren't in the cache can't be judged. The columns are path, label, score (of
    the positive class) and doubtful (whether confident learning takes the label for wrong).
    """
    from cleanlab.filter import find_label_issues

    spec = HeadSpec.choose("logreg", seed=seed)
    data = load_training_data(cache, spec, use_copies=False, progress=progress)
    scores = out_of_fold(spec, data, seed=seed, progress=progress).scores
    sha256 = data.table["sha256"].iloc[data.originals].to_numpy(object)
    here = manifest.table.drop_duplicates("sha256").set_index("sha256")
    known = np.isin(sha256, here.index.to_numpy(object))
    score = scores["score"].to_numpy()[known]
    # By the labels of the manifest: the cache may be older.
    table = here.loc[sha256[known]]
    label = (table["label"] == manifest.classes[1]).to_numpy().astype(int)
    if len(np.unique(label)) < 2:
        return pd.DataFrame({"path": [], "label": [], "score": [], "doubtful": []}, dtype=object)
    doubtful = find_label_issues(label, np.column_stack([1.0 - score, score]), n_jobs=1)
    of_own_label = np.where(label == 1, score, 1.0 - score)
    order = np.lexsort([of_own_label, ~doubtful])
    chosen = table.iloc[order]
    return pd.DataFrame(
        {
            "path": chosen["path"].tolist(),
            "label": chosen["label"].tolist(),
            "score": score[order],
            "doubtful": doubtful[order],
        }
    )


def check_labels(manifest: Manifest, ranked: pd.DataFrame) -> list[Finding]:
    """Turn doubtful labels into a finding."""
    doubtful = ranked[ranked["doubtful"].astype(bool)]
    if doubtful.empty:
        return []
    positive = manifest.classes[1]
    examples = [
        f"{path}: labelled {label}, score of {positive} {score:.3f}"
        for path, label, score, _ in doubtful.itertuples(index=False)
    ]
    count = len(doubtful)
    return [
        Finding(
            "doubtful-labels",
            "warning",
            count,
            f"{plural(count, 'label')} that the embeddings contradict",
            "Some are hard cases, some mistakes: have somebody read these images again.",
            first_examples(examples),
            {"paths": doubtful["path"].tolist()},
        )
    ]
