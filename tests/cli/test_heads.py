"""``featx heads``: what there is, and the settings of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from featx.heads import HEADS, SETTINGS

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


def test_it_lists_every_head(featx: Featx) -> None:
    code, out, _ = featx("heads")
    assert code == 0
    first = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert [word for word in first if word in HEADS] == list(HEADS)


@pytest.mark.parametrize("head", HEADS)
def test_it_lists_every_setting_with_its_default(featx: Featx, head: str) -> None:
    code, out, _ = featx("heads", head)
    assert code == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.split()}
    for name, field in SETTINGS[head].model_fields.items():  # type: ignore[index]
        default = "none" if field.default is None else str(field.default).lower()
        assert lines[name][1].lower() == default


def test_choices_are_named(featx: Featx) -> None:
    out = featx("heads", "keras").out
    assert "adam | rmsprop | sgd" in out
    assert "dual | patience | best_recall" in out


def test_an_unknown_head_is_answered_with_did_you_mean(featx: Featx) -> None:
    answer = featx("heads", "kera")
    assert answer.code == 2
    assert "Did you mean keras?" in answer.error
