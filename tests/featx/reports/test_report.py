"""The report: a page that needs nothing else, the same as Markdown, and what couldn't be shown."""

from __future__ import annotations

import base64
import errno
import hashlib
import html
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from PIL import Image

from featx._progress import SILENT
from featx._run import load_run
from featx.data import positive_sentence
from featx.errors import InputError, StorageError
from featx.evaluation import counts_in_words
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.reports import Report, report
from featx.reports._collect import ReportRequest, collect_data
from featx.reports._document import Notice
from featx.reports._results_sections import summary_section
from featx.runs._record import read_record, write_record
from featx.thresholds import Criterion
from tests.featx.reports.conftest import CALIBRATED, PROMISE, Page, Sample

if TYPE_CHECKING:
    from tests.featx.conftest import Contents, MakeCache

OLD_RUNS = Path(__file__).parents[1] / "runs" / "fixtures"
NUMBER = re.compile(r"\d+\.\d{3,4}\b")


class TestThePage:
    def test_it_needs_no_other_file_and_no_network(self, made: Sample) -> None:
        for _, attributes in made.page.tags:
            for name in ("src", "href", "srcset", "data", "action"):
                value = attributes.get(name)
                assert value is None or value.startswith(("data:", "#"))
        assert "url(" not in made.page.html
        assert "@import" not in made.page.html
        assert not made.page.all("script")

    def test_links_of_the_contents_lead_to_sections(self, made: Sample) -> None:
        anchors = [section["id"] for section in made.page.all("section")]
        assert len(anchors) == len(set(anchors))
        links = [link["href"] for link in made.page.all("a")]
        assert len(links) >= 8
        assert {f"#{anchor}" for anchor in anchors} >= set(links)

    def test_each_picture_opens_and_is_told_in_words(self, made: Sample) -> None:
        kinds = set()
        for image in made.page.all("img"):
            kind, content = (image["src"] or "").split(",", 1)
            kinds.add(kind)
            binary = base64.b64decode(content, validate=True)
            if "svg" in kind:
                assert ET.fromstring(binary).tag.endswith("svg")
            else:
                assert min(Image.open(io.BytesIO(binary)).size) > 200
        assert kinds == {"data:image/svg+xml;base64", "data:image/jpeg;base64"}
        assert all(len(words) > 10 for words in made.page.words)

    def test_it_is_small(self, made: Sample) -> None:
        assert made.written.html.stat().st_size < 2_000_000

    def test_first_thing_it_says_that_it_is_no_medical_device(self, made: Sample) -> None:
        assert 0 < made.page.text.index("not a medical device") < made.page.text.index("Contents")

    def test_numbers_have_their_intervals(self, made: Sample) -> None:
        metrics = load_run(made.run).evaluate().metrics
        for name in ("accuracy", "recall", "specificity", "roc_auc", "brier"):
            interval = metrics.intervals[name]
            between = f"({interval.low:.3f} – {interval.high:.3f})"
            assert f"{getattr(metrics, name):.4f} {between}" in made.page.text

    def test_out_of_fold_numbers_are_kept_apart_and_called_so(self, made: Sample) -> None:
        record = load_run(made.run).record
        test, own = (
            made.page.text.split("Out of fold (internal validation)")[1:][-1],
            record.metrics,
        )
        assert "The threshold was chosen on these same scores" in test
        assert f"{own['out_of_fold']['roc_auc']:.4f}" in test
        before = made.page.text.split("Performance on split test of cache")[-1].split("Out of")[0]
        assert "chosen on these same scores" not in before

    def test_it_says_what_was_trained_on_what_and_how_to_do_it_again(self, made: Sample) -> None:
        record = load_run(made.run).record
        text = made.page.text
        assert record.fingerprint in text
        assert f"scikit-learn {record.versions['scikit-learn']}" in text
        assert f"featx fit {made.cache.path.resolve()} --head logreg" in text
        assert "--accuracy-floor 0.6 --use-copies --choose-on both" in text
        assert "untrained" not in text
        assert "Platt's map of the out-of-fold scores; the threshold is for scores" in text

    def test_the_operating_point_is_told_with_the_floor(self, made: Sample) -> None:
        record = load_run(made.run).record
        told = [words for words in made.page.words if words.startswith("Recall and accuracy of")]
        assert len(told) == 2
        for words in told:
            assert f"highest recall with accuracy ≥ 0.6, threshold {record.threshold:.4g}" in words
            assert record.band is not None
            assert f"uncertain range {record.band[0]:.4g} to {record.band[1]:.4g}" in words

    def test_a_decision_curve_says_whether_acting_on_the_run_is_worth_it(
        self, made: Sample
    ) -> None:
        told = [words for words in made.page.words if words.startswith("Decision curve of")]
        assert [words.split(" with its")[0] for words in told] == [
            "Decision curve of logreg on split test of cache",
            "Decision curve of logreg on out of fold",
        ]
        curve = load_run(made.run).evaluate().decision_curve()
        assert told[0].endswith(curve.in_words)
        assert "Is it worth acting on the model?" in made.page.text
        assert made.page.text.count(curve.in_words) >= 1
        assert "Vickers AJ, Elkin EB" in made.page.text

    def test_images_are_shown_only_of_training_and_of_errors(self, made: Sample) -> None:
        words = [words for words in made.page.words if ".png" in words]
        samples = [w for w in words if w.startswith("Training image")]
        assert len(samples) == 12
        assert not any("test/" in w for w in samples)
        confusion = load_run(made.run).evaluate().metrics.confusion
        wrong = [w for w in words if not w.startswith("Training image")]
        assert len(wrong) == min(6, confusion["fn"]) + min(6, confusion["fp"])


class TestTheFirstLines:
    """Page, Markdown and card say which class is the sick one, and what became of the sick."""

    def test_they_have_the_positive_class_and_counts(self, made: Sample) -> None:
        run = load_run(made.run)
        classes = run.record.classes
        counts = counts_in_words(run.evaluate().metrics.confusion, classes)
        people = run.evaluate().per_thousand
        assert people is not None
        for text in (made.page.text, made.markdown, made.report.model_card):
            assert positive_sentence(classes) in text
            assert f"logreg, split test of cache: {counts} Per" in text.replace("\\", "")
            assert people.in_words in text.replace("\\", "")
        before = made.page.text.split("Contents")[0]
        assert positive_sentence(classes) in before
        assert counts in before
        card = made.report.model_card.replace("\\", "")
        assert card.index(positive_sentence(classes)) < card.index("Intended uses")


class TestWhatWasPromised:
    """Recall and specificity below what chose the threshold are told, where it isn't chance."""

    @staticmethod
    def told(made: Sample, promised: dict[str, Any], **record: Any) -> list[str]:
        data = collect_data([load_run(made.run)], ReportRequest(), SILENT)
        (run,) = data.runs
        assert run.out_of_fold is not None
        own = replace(run.out_of_fold, metrics=replace(run.out_of_fold.metrics, **promised))
        none = {"accuracy_floor": 0.0, "criterion": Criterion(accuracy_floor=0.0)}
        run.run.record = run.record.model_copy(update={**none, **record})
        section = summary_section(replace(data, runs=(replace(run, out_of_fold=own),)))
        return [block.text for block in section.blocks if isinstance(block, Notice)]

    @pytest.mark.parametrize("name", ["recall", "specificity"])
    def test_more_than_chance(self, made: Sample, name: str) -> None:
        metrics = load_run(made.run).evaluate().metrics
        high = metrics.intervals[name].high
        quiet = {"recall": 0.0, "specificity": 0.0, "roc_auc": 0.0}
        assert self.told(made, quiet | {name: high}) == []
        same_digits = round(high, 3) + 0.0004
        assert self.told(made, quiet | {name: same_digits}) == []
        (notice,) = self.told(made, quiet | {name: high + 0.001})
        value = getattr(metrics, name)
        assert notice.startswith(f"logreg: {name} is {value:.4f} (")
        assert f"on split test of cache, and was {high + 0.001:.4f} out of fold" in notice
        assert notice.endswith({"recall": "missed.", "specificity": "called sick."}[name])

    def test_a_recall_that_was_promised_is_held_to_its_floor(self, made: Sample) -> None:
        quiet = {"recall": 0.0, "specificity": 0.0, "roc_auc": 0.0}
        recall = load_run(made.run).evaluate().metrics.recall
        assert self.told(made, quiet, promise=PROMISE | {"recall_floor": recall}) == []
        (notice,) = self.told(made, quiet, promise=PROMISE | {"recall_floor": 1.0 + 1e-9})
        assert "below the 1 that was promised: more sick people are missed" in notice

    def test_a_calibrated_run_is_held_to_the_images_that_chose_its_threshold(
        self, made: Sample
    ) -> None:
        calibrated = CALIBRATED | {"new": {"recall": 1.1, "specificity": 0.0}}
        (notice,) = self.told(made, {"roc_auc": 0.0}, calibrated=calibrated)
        assert "was 1.1000 on the images that the threshold was chosen on" in notice


class TestMarkdown:
    def test_it_has_the_numbers_of_the_page_and_no_others(self, made: Sample) -> None:
        text = made.page.text + " ".join(made.page.words)
        assert sorted(set(NUMBER.findall(text))) == sorted(set(NUMBER.findall(made.markdown)))

    def test_its_figures_are_beside_it_and_those_of_the_page(self, made: Sample) -> None:
        named = re.findall(r"\]\((report_files/[^)]+)\)", made.report.markdown)
        there = {f"report_files/{path.name}" for path in made.written.figures.glob("[!.]*")}
        assert set(named) == there
        assert len(named) == len(there) == len(made.page.all("img"))

    def test_tables_have_as_many_cells_in_each_line(self, made: Sample) -> None:
        tables = re.findall(r"(?:^\|.*\n)+", made.report.markdown, re.MULTILINE)
        assert len(tables) >= 6
        for table in tables:
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(widths) == 1


class TestTheModelCard:
    def test_it_says_what_the_model_is_for_and_how_it_did(self, made: Sample) -> None:
        card = made.report.model_card
        metrics = load_run(made.run).evaluate().metrics
        assert card.startswith("---\n")
        for heading in ("Intended uses", "Limitations", "Training data", "Evaluation"):
            assert re.search(rf"^#+ {heading}$", card, re.MULTILINE)
        assert "not a medical device" in card
        assert f"{metrics.roc_auc:.4f}" in card
        assert "More Information needed" not in card


class TestSeveralRuns:
    def test_each_is_in_every_table_and_curves_are_drawn_together(
        self, made: Sample, tmp_path: Path
    ) -> None:
        other = fit(made.cache, HeadSpec.choose("lda"), tmp_path / "lda", accuracy_floor=0.6).path
        page = Page(report([made.run, other, made.run], progress=False))
        (together,) = [w for w in page.words if w.startswith("ROC curve on split test")]
        assert "logreg: ROC AUC" in together
        assert "lda: ROC AUC" in together
        assert sum(words.startswith("Confusion matrix of lda") for words in page.words) == 2
        assert sum(words.startswith("Confusion matrix of logreg") for words in page.words) == 2

    @pytest.mark.usefixtures("words_only")
    def test_runs_of_one_name_are_told_apart(self, made: Sample, tmp_path: Path) -> None:
        copy = shutil.copytree(made.run, tmp_path / "other" / "logreg")
        page = Page(report([made.run, copy], progress=False))
        assert "other/logreg" in page.text
        assert f"{made.run.parent.name}/logreg" in page.text
        assert len({section["id"] for section in page.all("section")}) == len(page.all("section"))


class TestWhatIsMissing:
    @pytest.mark.parametrize("name", ["run-schema-1", "run-schema-2-keras", "run-schema-2-svm"])
    def test_a_run_of_an_earlier_version_has_a_report_out_of_fold(self, name: str) -> None:
        made = report(OLD_RUNS / name, progress=False)
        page = Page(made)
        assert "These are out-of-fold numbers" in page.text.split("Contents")[0]
        assert "there is no cache at" in page.text.split("What couldn't be shown")[-1]
        assert any("cache" in item.what for item in made.missing)
        assert any(words.startswith("ROC curve on out of fold") for words in page.words)
        keras = any(words.startswith("loss of") for words in page.words)
        assert keras == ("keras" in name)

    @pytest.mark.usefixtures("words_only")
    def test_images_that_were_moved_or_changed_are_said_to_be_so(
        self, made: Sample, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        cache = make_cache(tmp_path / "cache")  # its images were never anywhere
        moved = report(made.run, caches=cache, anonymous=False, progress=False)
        assert any("/nowhere" in item.why for item in moved.missing)
        assert "/nowhere" in Page(moved).text

    @pytest.mark.usefixtures("words_only")
    def test_a_run_without_its_scores_still_has_those_on_test_images(
        self, made: Sample, tmp_path: Path
    ) -> None:
        run = shutil.copytree(made.run, tmp_path / "run")
        (run / "oof.csv").unlink()
        page = Page(report([run], progress=False))
        assert "the run has no oof.csv" in page.text
        assert any(words.startswith("ROC curve on split test") for words in page.words)

    def test_augmented_copies_are_measured_out_of_fold_if_the_run_has_their_scores(
        self, made: Sample, tmp_path: Path
    ) -> None:
        run = shutil.copytree(made.run, tmp_path / "run")
        table = pd.read_csv(run / "oof.csv")
        table.insert(4, "copy", 1)
        pd.concat([table, table.assign(copy=2)]).to_csv(run / "oof_copies.csv", index=False)
        record = read_record(run)
        (run / "run.json").unlink()
        write_record(run, record)
        page = Page(report(run, evaluate=False, progress=False))
        assert "Under disturbances" in page.text
        assert f"{2 * len(table)} " in page.text.partition("augmented copies, out of fold")[2]
        (run / "oof_copies.csv").write_text("path\n")
        damaged = report(run, evaluate=False, progress=False)
        assert "augmented copies of run" in {item.what for item in damaged.missing}

    def test_a_run_without_any_scores_is_refused(self, tmp_path: Path) -> None:
        run = shutil.copytree(OLD_RUNS / "run-schema-1", tmp_path / "run")
        (run / "oof.csv").unlink()
        with pytest.raises(InputError, match="no scores to report on"):
            report(run, progress=False)

    @pytest.mark.usefixtures("words_only")
    def test_a_cache_without_a_test_split_is_said_to_have_none(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        def change(made: Contents) -> None:
            made.images.loc[made.images["split"] == "test", "split"] = "train"

        cache = make_cache(tmp_path / "cache", copies=0, change=change)
        run = fit(cache, HeadSpec.choose("logreg"), tmp_path / "run", accuracy_floor=0.6).path
        page = Page(report([run], progress=False))
        assert "These are out-of-fold numbers" in page.text
        missing = page.text.split("What couldn't be shown")[-1]
        assert "run on cache" in missing
        assert "'test'" in missing

    def test_a_test_split_of_one_class_has_no_curves(
        self, made: Sample, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        def change(contents: Contents) -> None:
            contents.images.loc[contents.images["split"] == "test", "label"] = "NORMAL"

        cache = make_cache(tmp_path / "cache", change=change)
        page = Page(report([made.run], caches=[cache.path], progress=False))
        assert "undefined" in page.text
        assert "All these images are of one class" in page.text
        assert not [w for w in page.words if w.startswith("Decision curve of run on split test")]

    def test_a_cache_that_was_asked_for_and_fits_no_run_is_refused(
        self, made: Sample, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        other = make_cache(tmp_path / "cache", classes=("A", "B"), change=_renamed)
        with pytest.raises(InputError, match="tells NORMAL from PNEUMONIA"):
            report(made.run, caches=[other.path], progress=False)

    @pytest.mark.usefixtures("words_only")
    def test_untrained_embeddings_are_said_to_be_so(self, tiny_run: Path) -> None:
        page = Page(report([tiny_run], progress=False))
        assert "these embeddings are untrained" in page.text.split("Contents")[0]


def _renamed(made: Contents) -> None:
    made.images["label"] = made.images["label"].map({"NORMAL": "A", "PNEUMONIA": "B"})


HOSTILE = ("<script>alert(1)</script>", 'a|b `c` *d* [e](http://f) $x_1$ & "g"')


@pytest.fixture(scope="module")
def hostile(make_cache: MakeCache, tmp_path_factory: pytest.TempPathFactory) -> Report:
    def change(made: Contents) -> None:
        names = dict(zip(("NORMAL", "PNEUMONIA"), HOSTILE, strict=True))
        made.images["label"] = made.images["label"].map(names)
        made.images["path"] = "<img src=x onerror=alert(1)>/" + made.images["path"]

    folder = tmp_path_factory.mktemp("hostile")
    cache = make_cache(folder / "a <b> & c|d", classes=HOSTILE, change=change)
    run = fit(cache, HeadSpec.choose("logreg"), folder / "<i>run|", accuracy_floor=0.6).path
    return report(run, title="<u>title</u>", anonymous=False, progress=False)


class TestNamesFromOutside:
    def test_none_becomes_a_tag(self, hostile: Report) -> None:
        page = Page(hostile)
        assert {tag for tag, _ in page.tags}.isdisjoint({"script", "i", "u"})
        assert not [image for image in page.all("img") if "onerror" in image]
        assert "<title>&lt;u&gt;title&lt;/u&gt;</title>" in page.html
        assert HOSTILE[0] in page.text
        assert HOSTILE[1] in page.text

    def test_none_is_read_as_markdown(self, hostile: Report) -> None:
        markdown = hostile.markdown
        prose = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"(?<!\\)<(?!a id=|/a>)", prose)
        assert "[e](http" not in markdown
        for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1

    @pytest.mark.usefixtures("words_only")
    def test_files_and_folders_are_named_on_request_only(
        self, made: Sample, tmp_path: Path
    ) -> None:
        gone = shutil.copytree(made.run, tmp_path / "Doe, Jane 1970" / "gone")
        (gone / "oof.csv").unlink()
        anonymous = report([made.run, gone], progress=False)
        assert "File names are left out here" in anonymous.html
        for text in (anonymous.html, anonymous.markdown, anonymous.model_card):
            assert not re.search(r"p\d\d-\d\.png", text)
            assert str(made.cache.path) not in text
            assert str(made.run) not in text
            assert "Jane" not in text


class TestTheValue:
    def test_it_is_what_is_written(self, made: Sample) -> None:
        assert made.written.html.read_text(encoding="utf-8") == made.report.html
        assert made.written.markdown.read_text(encoding="utf-8") == made.report.markdown
        assert made.written.model_card.read_text(encoding="utf-8") == made.report.model_card
        figures = {path.name: path.read_bytes() for path in made.written.figures.glob("[!.]*")}
        assert figures == made.report.figures
        shown = r"Report\('featx report', \d+ sections, \d+ figures\)"
        assert re.fullmatch(shown, repr(made.report))

    def test_a_notebook_shows_it_in_a_frame_that_keeps_to_itself(self, made: Sample) -> None:
        frame = made.report._repr_html_()
        assert frame.count("<") == 2  # the page is an attribute, whatever is in it
        page = html.unescape(frame.split('srcdoc="')[1].split('" sandbox=""')[0])
        assert page.replace('<base href="about:srcdoc">', "") == made.report.html


class TestWriting:
    """Nothing is computed again: a report is written as often as it is asked for."""

    def test_two_reports_in_a_folder_have_a_model_card_each(
        self, made: Sample, tmp_path: Path
    ) -> None:
        cards = [made.report.save(tmp_path / f"{n}.html").model_card for n in ("report", "knn")]
        assert [card.name for card in cards] == ["model_card.md", "knn_model_card.md"]
        assert all(card.is_file() for card in cards)

    @pytest.mark.parametrize("name", ["r.html", "r.md", "r_model_card.md", "r_files"])
    def test_what_is_there_is_not_replaced_unasked(
        self, made: Sample, name: str, tmp_path: Path
    ) -> None:
        (tmp_path / name).mkdir() if "files" in name else (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=f"{name} exists already"):
            made.report.save(tmp_path / "r.html")
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_it_is_replaced_when_asked_and_old_figures_go(
        self, made: Sample, tmp_path: Path
    ) -> None:
        out = tmp_path / "r.html"
        old = made.report.save(out).figures / "old.svg"
        old.write_text("old")
        listing = old.with_name(".featx.json")
        hashes = json.loads(listing.read_text())
        hashes["old.svg"] = hashlib.sha256(b"old").hexdigest()
        listing.write_text(json.dumps(hashes))
        out.write_text("old")
        made.report.save(out, force=True)
        assert not old.exists()
        assert out.read_text(encoding="utf-8") == made.report.html

    def test_nothing_of_somebody_else_goes_with_it(self, made: Sample, tmp_path: Path) -> None:
        out = tmp_path / "r.html"
        written = made.report.save(out)
        figure = next(written.figures.glob("*.svg"))
        for path in (
            written.markdown, written.model_card, figure, written.figures / "mine.svg",
            written.figures / ".DS_Store",
        ):  # fmt: skip
            before = path.read_bytes() if path.exists() else None
            path.write_text("mine")
            with pytest.raises(InputError, match=f"{path.name} isn't of a report"):
                made.report.save(out, force=True)
            assert path.read_text() == "mine"
            path.write_bytes(before) if before is not None else path.unlink()
        made.report.save(out, force=True)

    def test_links_are_followed_to_files_and_never_to_folders(
        self, made: Sample, tmp_path: Path
    ) -> None:
        (tmp_path / "there").mkdir()
        written = made.report.save(tmp_path / "r.html")
        files = (written.html, written.markdown, written.model_card)
        for path in files:
            path.rename(tmp_path / "there" / path.name)
            path.symlink_to(tmp_path / "there" / path.name)
        written.html.write_text("old")
        made.report.save(written.html, force=True)
        assert (tmp_path / "there" / "r.html").read_text(encoding="utf-8") == made.report.html
        assert all(path.is_symlink() for path in files)
        written.figures.rename(tmp_path / "there" / "figures")
        written.figures.symlink_to(tmp_path / "there" / "figures")
        with pytest.raises(InputError, match="r_files is a link"):
            made.report.save(written.html, force=True)
        assert list((tmp_path / "there" / "figures").iterdir())

    def test_a_report_of_an_earlier_version_is_known_by_its_text(
        self, made: Sample, tmp_path: Path
    ) -> None:
        written = made.report.save(tmp_path / "r.html")
        (written.figures / ".featx.json").unlink()
        made.report.save(written.html, force=True)
        (written.figures / ".featx.json").unlink()
        (written.figures / "mine.svg").write_text("mine")
        with pytest.raises(InputError, match=r"mine\.svg isn't of a report"):
            made.report.save(written.html, force=True)

    @pytest.mark.parametrize("name", ["report", "report.pdf"])
    def test_a_page_has_a_page_s_name(self, made: Sample, name: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"ends in \.html"):
            made.report.save(tmp_path / name)

    def test_a_report_that_cannot_be_written_leaves_the_old_one(
        self, made: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = made.report.save(tmp_path / "r.html")
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

        def full(*_: Any, **__: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(StorageError, match="no room"):
            made.report.save(old.html, force=True)
        monkeypatch.undo()
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before

    def test_the_same_runs_give_the_same_figures(self, made: Sample) -> None:
        assert report(made.run, progress=False).figures == made.report.figures

    def test_figures_are_not_kept_by_pyplot(self, made: Sample) -> None:
        from matplotlib import pyplot

        assert made.page.words
        assert pyplot.get_fignums() == []
