"""What becomes of the copies in a cache: whether they are fitted on, and chosen on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from featx._specs import require_known
from featx.errors import InputError
from featx.training._data import FITTED_SPLITS, ChooseOn, require_copies
from featx_cache import Cache


@dataclass(frozen=True, slots=True)
class CopiesChoice:
    """Whether copies are fitted on and scored, and which scores the threshold is chosen on."""

    use_copies: bool
    score_copies: bool
    choose_on: ChooseOn


def copies_choice(
    cache: Cache, *, use_copies: bool, choose_on: ChooseOn | None, tta: bool = False
) -> CopiesChoice:
    """Settle what becomes of the copies in a cache. See `featx.fit`.

    Raises
    ------
    InputError
        If copies are asked for that the cache doesn't have, or scores of copies that are averaged.
    """
    if choose_on is not None:
        require_known("kind of scores to choose on", choose_on, get_args(ChooseOn))
    rows = cache.row_numbers(splits=FITTED_SPLITS, copies=True)
    if tta:
        require_copies(cache, rows)
        if choose_on not in (None, "untouched"):
            raise InputError(
                "with `tta=True` the scores of an image and its copies are one, so there are none "
                "of copies to choose a threshold on",
                "Leave `choose_on` or `tta` out.",
                parameter="choose_on",
            )
        return CopiesChoice(use_copies, True, "untouched")
    has_copies = bool(cache.rows["copy"].to_numpy()[rows].any())
    if choose_on is None:
        choose_on = "both" if has_copies and use_copies else "untouched"
    if choose_on != "untouched" and not has_copies:
        raise InputError(
            f"the cache {cache.path} has no copies to choose a threshold on",
            "Extract into another cache with `augmentation='shift'`, or take "
            "`choose_on='untouched'`.",
            parameter="choose_on",
        )
    return CopiesChoice(use_copies, choose_on != "untouched", choose_on)
