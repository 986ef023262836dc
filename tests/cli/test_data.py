"""``featx data``: check, split, show, fetch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from featx.data import load_manifest
from featx_cache import open_cache
from tests.dicoms import dicom

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


@pytest.fixture
def data(phantom_data: Path, tmp_path: Path) -> Path:
    """A copy of the drawn X-rays, to be changed."""
    return Path(shutil.copytree(phantom_data, tmp_path / "data"))


def leak(data: Path) -> None:
    """Put a training image into the test split as well."""
    image = sorted((data / "train" / "PNEUMONIA").iterdir())[0]
    shutil.copy(image, data / "test" / "PNEUMONIA" / f"x{image.name}")


class TestCheck:
    def test_a_page_worst_first_and_exit_code_1(self, featx: Featx, data: Path) -> None:
        leak(data)
        answer = featx("data", "check", data)
        assert answer.code == 1
        words = [line.split()[0] for line in answer.out.splitlines() if line[:1].isupper()]
        ranks = [["ERROR", "WARNING", "NOTE"].index(w) for w in words if w.isupper()]
        assert ranks[0] == 0
        assert ranks == sorted(ranks)
        assert "1 group of byte-identical images in different splits" in answer.out
        assert "would make results wrong." in answer.out.splitlines()[-1]
        assert "Traceback" not in answer.err

    def test_warnings_leave_the_exit_code_alone(self, featx: Featx, data: Path) -> None:
        answer = featx("data", "check", data)
        assert answer.code == 0
        assert "WARNING" in answer.out
        assert answer.out.rstrip().endswith("Nothing was found that makes results wrong.")

    def test_json(self, featx: Featx, data: Path) -> None:
        leak(data)
        answer = featx("data", "check", data, "--json")
        assert answer.code == 1
        found = json.loads(answer.out)
        assert found["ok"] is False
        assert found["images"] == sum(sum(row.values()) for row in found["counts"].values())
        first = found["findings"][0]
        assert first["severity"] == "error"
        assert set(first) == {
            "check", "severity", "count", "title", "advice", "examples", "details",
        }  # fmt: skip

    def test_fixed_splits_pass_the_check(self, featx: Featx, data: Path, tmp_path: Path) -> None:
        leak(data)
        out = tmp_path / "fixed.csv"
        answer = featx("data", "check", data, "--fix-splits", out)
        assert answer.code == 1
        assert f"images are in another split in {out}" in answer.err
        assert featx("data", "check", out).code == 0
        assert load_manifest(out).table["path"].str.startswith("data/").all()

    def test_what_is_there_is_not_replaced(self, featx: Featx, data: Path, tmp_path: Path) -> None:
        (tmp_path / "m.csv").write_text("mine")
        answer = featx("data", "check", data, "--fix-splits", tmp_path / "m.csv")
        assert answer.code == 2
        assert "Give another --fix-splits, or --force to replace it." in answer.error
        assert (tmp_path / "m.csv").read_text() == "mine"

    @pytest.mark.long
    def test_doubtful_labels_of_a_cache(
        self, featx: Featx, phantom_data: Path, tiny_cache: Path, tmp_path: Path
    ) -> None:
        sheet = tmp_path / "sheet.png"
        answer = featx("data", "check", phantom_data, "--cache", tiny_cache, "--sheet", sheet)
        assert answer.code == 0
        assert sheet.is_file()
        assert f"The most doubtful labels are drawn in {sheet}." in answer.err

    def test_names_that_no_screen_can_show(self, featx: Featx, data: Path) -> None:
        strange = b"\xff,\n\x1b[31m.png".decode(errors="surrogateescape")
        (data / "train" / "NORMAL" / strange).write_bytes(b"no image")
        answer = featx("data", "check", data)
        assert "?,??[31m.png: text, not an image" in answer.out
        assert json.loads(featx("data", "check", data, "--json").out)

    def test_files_that_are_left_out_are_counted_by_kind(self, featx: Featx, data: Path) -> None:
        content = next((data / "train" / "NORMAL").iterdir()).read_bytes()
        planted = {
            "train/NORMAL/x.gif": b"GIF89a", "train/NORMAL/y.gif": b"GIF89a",
            "train/SICK/notes.txt": b"hello", "train/NORMAL/masks/1.png": content,
            "train/loose.png": content, "external/NORMAL/1.png": content, "top.png": content,
            "train/NORMAL/.thumbnails/1.png": content,
        }  # fmt: skip
        for name, written in planted.items():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(written)
        answer = featx("data", "check", data)
        (line,) = (line for line in answer.out.splitlines() if "left out" in line)
        assert line.startswith(
            "WARNING 8 files left out: 2 GIF (an image format that featx doesn't"
        )
        for kind in (
            "1 .txt (not an image)",
            "1 named as a mask",
            "1 in no class folder",
            "1 in the folder external, which names no split",
        ):
            assert kind in line
        assert "1 hidden, 1 in no class folder" in line
        findings = json.loads(featx("data", "check", data, "--json").out)["findings"]
        (found,) = (finding for finding in findings if finding["check"] == "left-out")
        assert found["count"] == 8
        assert set(found["details"]["paths"]) == set(planted)
        assert found["details"]["kinds"]["hidden"] == found["details"]["kinds"]["named as a mask"]

    def test_text_beside_images_is_a_note(self, featx: Featx, data: Path) -> None:
        (data / "README.md").write_text("Read me.")
        answer = featx("data", "check", data)
        assert "NOTE    1 file left out: 1 .md (not an image)" in answer.out

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["nowhere"], "the data folder nowhere does not exist"),
            (["DATA", "--root", "."], "--root and --allow-outside are for CSV"),
            (["DATA", "--classes", "A,B"], "there is no class 'A'"),
            (["DATA", "--group-regex", "("], "is not a regular expression"),
            (["DATA", "--cache", "nowhere"], "there is no cache at nowhere"),
            (["DATA", "--fix-splits", "x.txt"], "a manifest is CSV or Parquet, not 'x.txt'"),
        ],
    )
    def test_misuse_is_one_line(
        self, featx: Featx, data: Path, arguments: list[str], said: str
    ) -> None:
        answer = featx("data", "check", *[str(data) if a == "DATA" else a for a in arguments])
        assert answer.code == 2
        assert said in answer.error


class TestSplit:
    def test_the_manifest_is_for_extract(self, featx: Featx, data: Path, tmp_path: Path) -> None:
        out = tmp_path / "m.csv"
        answer = featx("data", "split", data, "--out", out, "--test", "0.25", "--val", "0")
        assert answer.code == 0
        assert f"Next: featx extract {out} --cache CACHE" in answer.err
        table = load_manifest(out).table
        assert set(table["split"]) == {"train", "test"}
        assert table.groupby("group")["split"].nunique().max() == 1
        assert 0.15 < (table["split"] == "test").mean() < 0.35
        cache = tmp_path / "cache"
        answer = featx(
            "extract", out, "--cache", cache, "--backbone", "vgg16", "--weights", "random",
            "--input-size", "32", "--copies", "0",
        )  # fmt: skip
        assert answer.code == 0
        assert json.loads(featx("cache", "info", cache, "--json").out)["images"] == len(table)

    def test_elsewhere_it_says_where_the_images_are(
        self, featx: Featx, data: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "elsewhere" / "m.parquet"
        out.parent.mkdir()
        answer = featx("data", "split", data, "--out", out, "--positive", "NORMAL")
        assert f"--root {data} --positive NORMAL --cache CACHE" in answer.err
        assert len(load_manifest(out, root=data)) > 0

    def test_folds_are_a_column(self, featx: Featx, data: Path, tmp_path: Path) -> None:
        out = tmp_path / "m.csv"
        assert featx("data", "split", data, "--out", out, "--folds", "3").code == 0
        assert set(load_manifest(out).table["fold"]) == set("123")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--folds", "3", "--test", "0.1"], "--folds can't be had with --test"),
            (["--test", "0.9", "--val", "0.2"], "leave nothing to train on"),
            (["--folds", "500"], "too few for 500 folds"),
        ],
    )
    def test_misuse_is_one_line_and_writes_nothing(
        self, featx: Featx, data: Path, tmp_path: Path, arguments: list[str], said: str
    ) -> None:
        answer = featx("data", "split", data, "--out", tmp_path / "m.csv", *arguments)
        assert answer.code == 2
        assert said in answer.error
        assert not (tmp_path / "m.csv").exists()

    def test_a_manifest_is_replaced_on_request_only(
        self, featx: Featx, data: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "m.csv").write_text("mine")
        answer = featx("data", "split", data, "--out", tmp_path / "m.csv")
        assert answer.code == 2
        assert "exists already" in answer.error
        assert (tmp_path / "m.csv").read_text() == "mine"
        assert featx("data", "split", data, "--out", tmp_path / "m.csv", "--force").code == 0


class TestTable:
    """A hospital's table: patients are hashed, and the rest isn't kept unless asked for."""

    @pytest.fixture
    def listing(self, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("FEATX_SALT", "secret")
        shutil.copytree(phantom_data, tmp_path / "images")
        lines = [",path,label,mrn,hospital,reader"]
        for number, drawn in enumerate(sorted((tmp_path / "images").rglob("*.png"))):
            path = drawn.rename(drawn.with_name(f"{number}.png"))
            name = str(path.relative_to(tmp_path)).replace("/", "\\")
            label = "abnormal" if path.parent.name == "PNEUMONIA" else "normal"
            ward = "abc"[number % 3]
            lines.append(f"{number},{name},{label},MRN-{number // 2},{ward},Dr Quirrel")
        (tmp_path / "m.csv").write_text("\n".join(lines))
        return tmp_path / "m.csv"

    def test_from_the_table_to_an_evaluation(
        self, featx: Featx, listing: Path, tmp_path: Path
    ) -> None:
        split, cache, run = tmp_path / "s.csv", tmp_path / "cache", tmp_path / "run"
        checked = featx("data", "check", listing, "--fix-splits", tmp_path / "f.csv")
        assert "Positive class (sick): abnormal. Negative class (healthy): normal." in checked.out
        assert "The column 'mrn' of m.csv tells the patient." in checked.err
        answer = featx("data", "split", listing, "--out", split, "--keep", "hospital")
        assert answer.out.splitlines()[0].startswith("Positive class (sick): abnormal.")
        assert f"featx extract {split} --keep hospital --cache CACHE" in answer.err
        assert "--positive" not in answer.err
        tiny = ["--backbone", "vgg16", "--weights", "random", "--input-size", "32", "--copies", "0"]
        assert featx("extract", split, "--keep", "hospital", "--cache", cache, *tiny).code == 0
        fit = featx("fit", cache, "--head", "lda", "--run", run, "--accuracy-floor", "0.3")
        assert "patient is known" not in fit.err
        assert featx("evaluate", run, "--by", "hospital").code == 0
        assert featx("evaluate", run, split, "--by", "hospital").code == 0
        missing = featx("evaluate", run, "--by", "reader")
        assert missing.code == 2
        assert "that was named in --keep" in missing.error
        table = open_cache(cache).images
        assert table["group"].nunique() == (len(table) + 1) // 2
        assert set(open_cache(cache).details["hospital"]) == set("abc")
        written = [p for p in tmp_path.rglob("*") if p.suffix in (".csv", ".h5", ".json")]
        contents = {p.name: p.read_bytes() for p in written if p != listing}
        assert {"s.csv", "f.csv", "index.h5", "oof.csv"} <= set(contents)
        for name, content in contents.items():
            assert b"MRN-" not in content, name
            assert b"Quirrel" not in content, name

    def test_a_table_without_patients_is_told_of(
        self, featx: Featx, listing: Path, tmp_path: Path
    ) -> None:
        listing.write_text(listing.read_text().replace(",mrn,", ",number,"))
        page = featx("data", "check", listing).out
        assert "WARNING No patient is known: every image counts as its own" in page
        assert "--group-column" in page
        told = json.loads(featx("data", "check", listing, "--json", "--positive", "normal").out)
        assert told["positive_class"] == "normal"
        assert "--positive abnormal" in told["positive_warning"]
        assert "patients-unknown" in [finding["check"] for finding in told["findings"]]
        answer = featx("data", "check", listing, "--group-column", "number", "--json")
        known = json.loads(answer.out)
        assert (known["positive_class"], known["positive_warning"]) == ("abnormal", "")
        assert "patients-unknown" not in [finding["check"] for finding in known["findings"]]
        answer = featx("data", "split", listing, "--out", tmp_path / "s.csv", "--group-column", "m")
        assert answer.code == 2
        assert "there is no column 'm'" in answer.error


class TestShow:
    def test_prints_the_figures(self, featx: Featx, data: Path, tmp_path: Path) -> None:
        answer = featx("data", "show", data, "--out", tmp_path / "figures", "--augment", "chest")
        assert answer.code == 0
        paths = [Path(line) for line in answer.out.splitlines()]
        assert len(paths) == 7
        assert all(path.is_file() for path in paths)

    def test_an_unknown_preset(self, featx: Featx, data: Path, tmp_path: Path) -> None:
        answer = featx("data", "show", data, "--out", tmp_path / "f", "--preset", "ches")
        assert answer.code == 2
        assert "Did you mean chest?" in answer.error
        assert not (tmp_path / "f").exists()


class TestFetch:
    def test_unknown_names(self, featx: Featx) -> None:
        answer = featx("data", "fetch", "pneumoniamnist-225")
        assert answer.code == 2
        assert "Did you mean pneumoniamnist-224?" in answer.error

    def test_no_way_to_the_server_leaves_nothing(
        self, featx: Featx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda _: None)
        out = tmp_path / "new"
        answer = featx(
            "data", "fetch", "pneumoniamnist", "--out", out, "--mirror", "http://127.0.0.1:9"
        )
        assert answer.code == 1
        assert "pneumoniamnist.npz can't be downloaded from http://127.0.0.1:9/" in answer.error
        assert not out.exists()


class TestDicom:
    """From a hospital's export to verdicts, and no name in any file on the way."""

    def test_no_identifier_reaches_a_file_or_the_screen(
        self, featx: Featx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FEATX_SALT", "secret")
        random, data = np.random.default_rng(0), tmp_path / "data"
        for patient in range(12):
            label = ("NORMAL", "PNEUMONIA")[patient % 2]
            pixels = random.integers(0, 2000, (40, 40)).astype(np.uint16) + 2000 * (patient % 2)
            for view in range(2):
                dicom(
                    data / label / f"{patient}-{view}.dcm",
                    pixels + view,
                    PatientID=f"SECRET{patient}",
                    PatientName="Secret^Name",
                    BitsStored=12,
                    HighBit=11,
                )
        (data / "NORMAL" / "broken.dcm").write_bytes(b"SECRET" * 50)
        cache, run = tmp_path / "cache", tmp_path / "run"
        said = ""
        for command in (
            ["-v", "extract", data, "--cache", cache, "--backbone", "vgg16", "--weights", "random",
             "--input-size", "32", "--copies", "0"],
            ["-v", "fit", cache, "--head", "logreg", "--run", run, "--accuracy-floor", "0.5"],
            ["-v", "predict", run, data / "NORMAL", "--format", "csv"],
            ["-v", "data", "check", data, "--json"],
            ["-v", "data", "split", data, "--out", tmp_path / "m.csv"],
        ):  # fmt: skip
            answer = featx(*command)
            assert answer.code in (0, 3), answer.err  # 3: the broken file of predict
            said += answer.out + answer.err
        assert "0-0.dcm" in said
        assert json.loads(featx("cache", "info", cache, "--json").out)["patients"] == 12
        written = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".dcm"]
        contents = b"".join(path.read_bytes() for path in written) + said.encode()
        assert len(written) > 5
        assert b"SECRET" not in contents.upper().replace(b"FEATX_SALT", b"")
