"""CSV and Parquet manifests: what is read, and what is refused, with the number of the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from featx._progress import SILENT
from featx.data import Manifest, load_manifest
from featx.data._dicom import Pseudonyms, own_salt
from featx.data._tables import read_table
from featx.errors import InputError
from tests.conftest import _megabytes
from tests.featx.data.test_folders import draw

pytestmark = pytest.mark.usefixtures("salt")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four images in a folder, and one outside of it."""
    for number, name in enumerate(("a.png", "b.png", "c.jpeg", "d.png")):
        draw(tmp_path / "images" / name, 10 * number + 5, size=8 + number)
    draw(tmp_path / "outside.png", 99)
    return tmp_path / "images"


GOOD = "path,label\na.png,NORMAL\nb.png,PNEUMONIA\n"


def listing(images: Path, text: str | bytes, name: str = "m.csv") -> Path:
    file = images / name
    file.write_bytes(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    return file


def complaint(images: Path, text: str | bytes, **options: object) -> str:
    file = listing(images, text)
    with pytest.raises(InputError) as caught:
        load_manifest(file, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestReading:
    def test_path_and_label_are_enough(self, images: Path) -> None:
        manifest = load_manifest(listing(images, GOOD))
        table = manifest.table
        assert manifest.root == images
        assert manifest.classes == ("NORMAL", "PNEUMONIA")
        assert table["path"].tolist() == ["a.png", "b.png"]
        assert table["label"].tolist() == ["NORMAL", "PNEUMONIA"]
        assert table["split"].tolist() == ["train", "train"]
        assert table["group"].tolist() == ["a.png", "b.png"]
        assert table["width"].tolist() == [8, 9]
        assert table["width"].dtype == table["height"].dtype == np.int32
        assert table["source"].tolist() == ["PNG", "PNG"]

    def test_split_group_and_cause_are_read(self, images: Path) -> None:
        text = "label,group,cause,split,path\nA,p1,virus,Validation,a.png\nB,,,test,b.png\n"
        table = load_manifest(listing(images, text)).table
        assert table["split"].tolist() == ["val", "test"]
        assert table["group"].tolist() == [Pseudonyms(own_salt).of("p1"), "b.png"]
        assert table["cause"].tolist() == ["virus", ""]

    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_the_separator_is_found_in_the_header(self, images: Path, separator: str) -> None:
        manifest = load_manifest(listing(images, GOOD.replace(",", separator)))
        assert len(manifest) == 2

    def test_spreadsheets_byte_order_mark_line_ends_and_capitals(self, images: Path) -> None:
        text = "\ufeffPath, Label\r\na.png, NORMAL\r\n\r\nb.png,PNEUMONIA \r\n"
        assert load_manifest(listing(images, text)).table["label"].tolist() == [
            "NORMAL",
            "PNEUMONIA",
        ]

    def test_paths_are_relative_to_the_root_that_was_given(self, images: Path) -> None:
        file = listing(images.parent, GOOD)
        assert load_manifest(file, root=images).table["path"].tolist() == ["a.png", "b.png"]

    def test_paths_are_written_in_one_way(self, images: Path) -> None:
        text = f"path,label\n./a.png,A\nx/../b.png,B\n{images}/c.jpeg,A\n"
        table = load_manifest(listing(images, text)).table
        assert table["path"].tolist() == ["a.png", "b.png", "c.jpeg"]

    def test_hashes_may_be_in_capitals(self, images: Path) -> None:
        known = load_manifest(listing(images, GOOD)).table
        columns = (known["path"], known["label"], known["sha256"].str.upper())
        lines = [",".join(row) for row in zip(*columns, strict=True)]
        again = load_manifest(listing(images, "\n".join(["path,label,sha256", *lines])))
        assert again.unreadable == {}
        assert again.table.equals(known)

    def test_other_classes_are_left_out_when_two_are_chosen(self, images: Path) -> None:
        text = "path,label\na.png,A\nb.png,B\nc.jpeg,C\n"
        manifest = load_manifest(listing(images, text), classes=["C", "A"])
        assert manifest.classes == ("C", "A")
        assert manifest.table["path"].tolist() == ["a.png", "c.jpeg"]
        assert manifest.left_out == {"b.png": "of class B, which was not chosen"}

    def test_files_that_cannot_be_read_are_listed(self, images: Path) -> None:
        (images / "empty.png").touch()
        (images / "text.png").write_text("no image")
        rows = "empty.png,A\ntext.png,A\nmissing.png,A\n"
        manifest = load_manifest(listing(images, GOOD.replace("NORMAL", "A") + rows))
        assert manifest.unreadable == {
            "empty.png": "the file is empty",
            "text.png": "text, not an image",
            "missing.png": "no such file or directory",
        }
        assert len(manifest) == 2

    def test_names_with_commas_line_breaks_and_bytes_that_are_not_utf8(self, images: Path) -> None:
        strange = [b"with, comma.png", b"line\nbreak.png", b"\xff\xe9.png"]
        lines = [b"path,label"]
        for number, name in enumerate(strange):
            draw(images / "x.png", number).rename(images / name.decode(errors="surrogateescape"))
            lines.append(b'"' + name + b'",' + (b"A" if number else b"B"))
        manifest = load_manifest(listing(images, b"\n".join(lines)))
        names = [name.decode(errors="surrogateescape") for name in strange]
        assert manifest.table["path"].tolist() == names


class TestComplaints:
    """Each has the file, the line, what is wrong and what to do, in one line."""

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "m.csv is empty"),
            ("path,label\n", "m.csv has a header and no rows"),
            ("path\na.png\n", "line 1: there is no column 'label' in 'path'"),
            ("label,file\nA,a.png\n", "line 1: there is no column 'path'"),
            ("path,label,label\na.png,A,B\n", "line 1: the column 'label' is there twice"),
            ("path,label,\na.png,A,\n", "line 1: an unnamed column"),
            (GOOD + "c.jpeg;NORMAL\n", "line 4: 1 field, where the header has 2"),
            (GOOD + "\n\nc.jpeg,NORMAL,x\n", "line 6: 3 fields, where the header has 2"),
            (GOOD + "a.png,NORMAL\n", "line 4: the path 'a.png' was there before (line 2)"),
            (GOOD + "./a.png,NORMAL\n", "line 4: the path 'a.png' was there before (line 2)"),
            (GOOD + "c.jpeg,normal\n", "line 4: the label 'normal' is almost 'NORMAL' (line 2)"),
            ("path,label\na.png,L O\nb.png,L  O\n", "line 3: the label 'L  O' is almost 'L O'"),
            (GOOD + "c.jpeg,\n", "line 4: no label"),
            (GOOD + ",NORMAL\n", "line 4: no path"),
            ("path,label,split\na.png,A,trian\n", "line 2: there is no split 'trian'. Did you"),
            (GOOD + "../outside.png,NORMAL\n", "leads out of"),
            (GOOD + "/etc/hostname,NORMAL\n", "line 4: the path '/etc/hostname' leads out of"),
            (GOOD + 'c.jpeg,"NORMAL\n', "line 4 or below: unexpected end of data"),
            ("path,label\na.png,A\nb.png,A\n", "m.csv: featx needs exactly two classes"),
            (
                GOOD + "c.jpeg,MAYBE\n",
                "line 4: featx needs exactly two classes, and here there are 3",
            ),
        ],
    )
    def test_is_one_line_that_says_where(self, images: Path, text: str, said: str) -> None:
        assert said in complaint(images, text)

    def test_the_line_is_that_of_the_file_where_names_have_line_breaks(self, images: Path) -> None:
        text = 'path,label\n"two\nlines.png",A\na.png,B\na.png,B\n'
        assert "line 5: the path 'a.png' was there before (line 4)" in complaint(images, text)

    def test_root_that_is_not_there(self, images: Path) -> None:
        assert "the folder nowhere does not exist" in complaint(images, GOOD, root="nowhere")

    def test_group_regex_that_does_not_match(self, images: Path) -> None:
        said = complaint(images, GOOD, group_regex="p(.)x")
        assert "line 2: `group_regex` 'p(.)x' doesn't match 'a.png'" in said

    def test_class_without_a_readable_image(self, images: Path) -> None:
        text = "path,label\na.png,A\n missing.png,B\n"
        said = complaint(images, text)
        assert "m.csv, line 3: class 'B' has no readable image" in said
        assert "(for example ' missing.png': no such file" in said

    def test_text_of_another_encoding(self, images: Path) -> None:
        assert "line 1: it isn't text in UTF-8" in complaint(images, GOOD.encode("utf-16"))

    def test_a_wrong_column_is_not_read_out_in_full(self, images: Path) -> None:
        rows = "".join(f"{number}.png,patient {number}\n" for number in range(500))
        said = complaint(images, "path,label\n" + rows)
        assert "line 4: featx needs exactly two classes, and here there are 500: " in said
        assert len(said) < 400

    def test_columns_of_a_saved_manifest_are_checked(self, images: Path) -> None:
        header = "path,label,sha256,width,height,mode,source\n"
        good = f"a.png,A,{'0' * 64},8,8,L,PNG\n"
        bad_hash = f"b.png,B,{'0' * 63},8,8,L,PNG\n"
        assert "line 3: the sha256" in complaint(images, header + good + bad_hash)
        bad_width = f"b.png,B,{'0' * 64},wide,8,L,PNG\n"
        assert "line 3: the width 'wide'" in complaint(images, header + good + bad_width)


class TestOutside:
    def test_links_out_of_the_root_are_refused(self, images: Path) -> None:
        (images / "link.png").symlink_to(images.parent / "outside.png")
        text = GOOD + "link.png,NORMAL\n"
        assert "line 4: the path 'link.png' leads out of" in complaint(images, text)

    def test_links_of_folders_out_of_the_root_are_refused(self, images: Path) -> None:
        (images / "elsewhere").symlink_to(images.parent)
        text = GOOD + "elsewhere/outside.png,NORMAL\n"
        assert "line 4: the path 'elsewhere/outside.png' leads out of" in complaint(images, text)

    def test_links_within_the_root_are_fine(self, images: Path) -> None:
        (images / "link.png").symlink_to(images / "d.png")
        assert len(load_manifest(listing(images, GOOD + "link.png,NORMAL\n"))) == 3

    def test_allow_outside_allows_all_of_it(self, images: Path) -> None:
        (images / "link.png").symlink_to(images.parent / "outside.png")
        text = GOOD + "link.png,NORMAL\n../outside.png,NORMAL\n"
        table = load_manifest(listing(images, text), allow_outside=True).table
        assert table["path"].tolist()[2:] == ["link.png", str(images.parent / "outside.png")]
        assert table["sha256"].iloc[2] == table["sha256"].iloc[3]

    def test_options_of_listings_are_refused_for_folders(self, images: Path) -> None:
        with pytest.raises(InputError, match="`root` and `allow_outside=True` are for CSV"):
            load_manifest(images, root=images)


class TestRoundTrip:
    @pytest.fixture
    def manifest(self, images: Path) -> Manifest:
        strange = 'comma, line\nbreak "quoted" \' 100% é.png'
        draw(images / strange, 77)
        escaped = strange.replace('"', '""')
        text = f'path,label,group,cause\na.png,A,"p\n1",\n"{escaped}",B,p2,virus\n'
        return load_manifest(listing(images, text))

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_is_exact_and_opens_no_image(
        self, manifest: Manifest, tmp_path: Path, suffix: str
    ) -> None:
        file = tmp_path / "new" / "folder" / f"saved{suffix}"
        manifest.save(file)
        for path in manifest.table["path"]:
            (manifest.root / path).write_bytes(b"changed")
        read = load_manifest(file, root=manifest.root)
        assert read.table.equals(manifest.table)
        assert read.table.dtypes.to_dict() == manifest.table.dtypes.to_dict()
        assert read.classes == manifest.classes
        assert read.root == manifest.root

    def test_spaces_at_the_ends_of_names_stay(self, tmp_path: Path) -> None:
        draw(tmp_path / "data" / " A " / "a.png", 1)
        draw(tmp_path / "data" / "B" / " b .png", 2)
        manifest = load_manifest(tmp_path / "data")
        manifest.save(tmp_path / "m.csv")
        assert load_manifest(tmp_path / "m.csv", root=manifest.root).table.equals(manifest.table)

    def test_names_that_are_not_utf8(self, images: Path, tmp_path: Path) -> None:
        (images / "a.png").rename(images / b"\xff.png".decode(errors="surrogateescape"))
        manifest = load_manifest(
            listing(images, b"path,label\n\xff.png,A\nb.png,B\n"), positive="A"
        )
        manifest.save(tmp_path / "saved.csv")
        read = load_manifest(tmp_path / "saved.csv", root=images, positive="A")
        assert read.table.equals(manifest.table)
        with pytest.raises(InputError, match="Parquet can't hold file names that aren't UTF-8"):
            manifest.save(tmp_path / "saved.parquet")
        assert not (tmp_path / "saved.parquet").exists()

    def test_seen_from_a_folder_above_paths_lead_to_the_images(
        self, manifest: Manifest, tmp_path: Path
    ) -> None:
        seen = manifest.seen_from(tmp_path)
        assert seen.root == tmp_path
        assert seen.table["path"].tolist()[0] == "images/a.png"
        seen.save(tmp_path / "saved.csv")
        assert load_manifest(tmp_path / "saved.csv").table.equals(seen.table)

    def test_seen_from_elsewhere_it_stays_what_it_is(
        self, manifest: Manifest, tmp_path: Path
    ) -> None:
        assert manifest.seen_from(tmp_path / "elsewhere") is manifest

    def test_other_suffixes_are_refused(self, manifest: Manifest, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"CSV or Parquet, not 'saved\.xlsx'"):
            manifest.save(tmp_path / "saved.xlsx")

    def test_a_file_that_is_not_parquet(self, tmp_path: Path) -> None:
        (tmp_path / "m.parquet").write_text("no")
        with pytest.raises(InputError, match=r"m\.parquet can't be read as Parquet"):
            load_manifest(tmp_path / "m.parquet")

    def test_a_changed_file_is_left_out_where_images_are_opened(
        self, manifest: Manifest, tmp_path: Path
    ) -> None:
        table = manifest.table.drop(columns=["width"])
        extra = table.iloc[[0]].assign(path="d.png")
        Manifest(manifest.root, table, manifest.classes).save(tmp_path / "m.csv")
        with (tmp_path / "m.csv").open("a") as file:
            extra.to_csv(file, header=False, index=False)
        read = load_manifest(tmp_path / "m.csv", root=manifest.root)
        assert read.unreadable == {"d.png": "its content is not what the manifest's sha256 says"}
        assert read.table["path"].tolist() == manifest.table["path"].tolist()


def test_a_folder_and_a_listing_of_it_are_the_same(tmp_path: Path) -> None:
    for name, label in (("a.png", "A"), ("b.png", "B"), ("c.jpeg", "B")):
        draw(tmp_path / "data" / "train" / label / name, len(name))
    scanned = load_manifest(tmp_path / "data")
    lines = [f"{p},{label},{s}" for p, label, s in scanned.table[["path", "label", "split"]].values]
    file = tmp_path / "data" / "m.csv"
    file.write_text("\n".join(["path,label,split", *lines]))
    assert load_manifest(file).table.equals(scanned.table)


def test_what_is_no_source_at_all(tmp_path: Path) -> None:
    (tmp_path / "data.txt").touch()
    with pytest.raises(InputError, match=r"neither a folder nor a \.csv"):
        load_manifest(tmp_path / "data.txt")
    with pytest.raises(InputError, match="does not exist"):
        load_manifest(tmp_path / "nowhere.csv")


class TestParquetBombs:
    """A small file that would fill the memory is refused before it does."""

    @pytest.fixture(
        params=[
            "a dictionary",
            pytest.param("compressed", marks=pytest.mark.long),
            pytest.param("prefixes", marks=pytest.mark.long),
            "rows",
            "a long word",
        ]
    )
    def bomb(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path, word, rows = tmp_path / "m.parquet", "x" * 40_000, 60_000
        options: dict[str, Any] = {"compression": "gzip"}
        if request.param == "a dictionary":
            names = pa.array([word]).dictionary_encode().take(pa.array([0] * rows))
        elif request.param == "rows":
            names = pa.nulls(10**9 // 20, pa.string())
        elif request.param == "a long word":  # of 30 MB, once, in 400 rows
            names = pa.array([word * 750]).dictionary_encode().take(pa.array([0] * 400))
        else:
            names = pa.array([f"{word}{number}" for number in range(rows // 3)])
            encoding = "PLAIN" if request.param == "compressed" else "DELTA_BYTE_ARRAY"
            encodings = {"path": encoding, "label": "PLAIN"}
            options = {"compression": "zstd", "use_dictionary": False, "column_encoding": encodings}
        table = pa.table({"path": names, "label": pa.nulls(len(names), pa.string())})
        pq.write_table(table, path, **options)
        assert path.stat().st_size < 3e6
        return path

    def test_is_refused(self, bomb: Path) -> None:
        import pyarrow as pa

        pa.default_memory_pool().release_unused()  # what writing the bomb took
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here: proc(5)
        before = _megabytes("VmRSS")
        with pytest.raises(InputError, match=r"can't be read as Parquet .*unpacked"):
            load_manifest(bomb)
        assert _megabytes("VmHWM") - before < 600


def test_a_parquet_file_of_any_types_is_text(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "path": pd.Categorical(["b.png", "a.png"]),
            "label": ["N", "P"],
            "count": pd.array([1, None], dtype="Int64"),
            "share": [0.5, float("nan")],
            "seen": [True, False],
        },
        index=[7, 3],
    )
    frame.to_parquet(tmp_path / "m.parquet")
    table = read_table(tmp_path / "m.parquet", SILENT)
    assert table.columns == {
        "path": ["b.png", "a.png"],
        "label": ["N", "P"],
        "count": ["1", ""],
        "share": ["0.5", ""],
        "seen": ["True", "False"],
    }
    assert table.places == [1, 2]
