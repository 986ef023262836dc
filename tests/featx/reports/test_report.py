"""The HTML report: one page that needs nothing else, and says what was measured."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from featx.errors import StorageError
from featx.heads import HeadSpec
from featx.reports import write_report
from featx.runs import Evaluation, Run, fit, load_run

if TYPE_CHECKING:
    from tests.featx.conftest import Contents, MakeCache

Result = tuple[Run, Evaluation]


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += " ".join(data.split()) + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def result(make_cache: MakeCache, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run on embeddings of a trained backbone, and how it did."""
    folder = tmp_path_factory.mktemp("report")
    cache = make_cache(folder / "cache")
    run = load_run(fit(cache, HeadSpec(name="logreg"), folder / "run", accuracy_floor=0.6).run)
    return run, run.evaluate(cache)


@pytest.fixture(scope="module")
def page(result: Result, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report([result], tmp_path_factory.mktemp("page") / "report.html"))


def test_the_page_needs_no_other_file_and_no_network(page: Page) -> None:
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#"))
    assert "url(" not in page.html
    assert "@import" not in page.html
    assert not page.all("script")


def test_each_figure_is_a_picture_that_opens(page: Page) -> None:
    figures = page.all("img")
    assert len(figures) == 3
    for figure in figures:
        source = figure["src"]
        assert source is not None
        kind, content = source.split(",", 1)
        assert kind == "data:image/png;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
        assert min(picture.size) > 200
        assert len(picture.convert("L").getcolors() or range(9)) > 5


def test_each_figure_is_told_in_words_too(page: Page, result: Result) -> None:
    run, evaluation = result
    words = [figure["alt"] or "" for figure in page.all("img")]
    roc, threshold, confusion = words
    assert f"recall {evaluation.metrics.recall:.3f}" in roc
    assert f"threshold {run.record.threshold:.4g}" in threshold
    assert "accuracy floor 0.6" in threshold
    assert str(dict(evaluation.metrics.confusion)) in confusion


def test_the_numbers_are_there_with_their_intervals(page: Page, result: Result) -> None:
    run, evaluation = result
    metrics = evaluation.metrics
    for name in ("accuracy", "recall", "specificity"):
        interval = metrics.intervals[name]
        expected = f"{getattr(metrics, name):.4f} ({interval.low:.3f} – {interval.high:.3f})"
        assert expected in page.text
    assert f"{metrics.roc_auc:.4f}" in page.text
    assert f"{metrics.threshold:.4g}" in page.text
    out_of_fold = run.record.metrics["out_of_fold"]
    assert f"ROC AUC {out_of_fold['roc_auc']:.4f}" in page.text


def test_it_says_what_was_trained_on_what_and_by_which_version(page: Page, result: Result) -> None:
    record = result[0].record
    assert "40 images of 20 patients, 0 augmented copies" in page.text
    assert "vgg16 at 64x64, trained weights, float32" in page.text
    assert record.fingerprint in page.text
    assert f"featx {record.versions['featx']}" in page.text
    assert "logreg, split test" in page.text


def test_it_says_that_it_is_no_medical_device(page: Page) -> None:
    assert "not a medical device" in page.text


def test_trained_embeddings_bring_no_warning_of_untrained_ones(page: Page) -> None:
    assert "untrained" not in page.text


def test_untrained_embeddings_are_said_to_be_so(
    tiny_run: Path, result: Result, tmp_path: Path
) -> None:
    tiny = load_run(tiny_run)
    results = [result, (tiny, tiny.evaluate())]
    assert "these embeddings are untrained" in Page(write_report(results, tmp_path / "r.html")).text


def test_each_run_has_a_row_and_a_section_in_the_order_given(
    result: Result, tmp_path: Path
) -> None:
    page = Page(write_report([result, result], tmp_path / "r.html", title="Two runs"))
    assert len(page.all("img")) == 6
    assert page.text.count("logreg, split test") == 2
    assert page.text.split()[:2] == ["Two", "runs"]


def test_names_from_outside_are_escaped(result: Result, tmp_path: Path) -> None:
    run, evaluation = result
    evaluation = dataclasses.replace(evaluation, split="<script>alert(1)</script>")
    page = Page(write_report([(run, evaluation)], tmp_path / "r.html", title="a <b> & c"))
    assert not page.all("script")
    assert "<title>a &lt;b&gt; &amp; c</title>" in page.html


def test_a_test_split_of_one_class_still_has_its_page(
    make_cache: MakeCache, result: Result, tmp_path: Path
) -> None:
    def change(made: Contents) -> None:
        made.images.loc[made.images["split"] == "test", "label"] = "NORMAL"

    run = result[0]
    evaluation = run.evaluate(make_cache(tmp_path / "cache", change=change))
    assert math.isnan(evaluation.metrics.roc_auc)
    page = Page(write_report([(run, evaluation)], tmp_path / "r.html"))
    assert "undefined" in page.text
    assert len(page.all("img")) == 1


def test_all_images_and_tables_can_be_read_by_machines(page: Page) -> None:
    assert page.html.startswith("<!doctype html>")
    assert page.all("html") == [{"lang": "en"}]
    assert all(figure["alt"] for figure in page.all("img"))
    assert page.all("th")


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    out = tmp_path / "report.html"
    out.write_text("old")

    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageError, match="no room"):
        write_report([result], out)
    monkeypatch.undo()
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_figures_are_not_kept_by_pyplot(result: Result, tmp_path: Path) -> None:
    from matplotlib import pyplot

    write_report([result], tmp_path / "r.html")
    assert pyplot.get_fignums() == []
