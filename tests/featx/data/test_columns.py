"""Columns of a listing: who tells the patient, what is kept, and that no identifier is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data import Manifest, load_manifest
from featx.data._dicom import Pseudonyms, own_salt
from featx.errors import InputError
from tests.dicoms import dicom
from tests.featx.data.conftest import Recorder
from tests.featx.data.test_folders import draw

HEX = r"[0-9a-f]{16}"


pytestmark = pytest.mark.usefixtures("salt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        draw(tmp_path / "images" / f"{number}.png", 9 * number + 5)
    return tmp_path / "images"


def of(identifier: str) -> str:
    return Pseudonyms(own_salt).of(identifier)


def read(folder: Path, header: str, values: list[str], **options: Any) -> tuple[Manifest, Recorder]:
    """Read six images with more columns. The first three are healthy."""
    rows = [f"{n}.png,{'AB'[n > 2]},{value}" for n, value in enumerate(values)]
    (folder / "m.csv").write_text("\n".join([f"path,label,{header}", *rows]))
    notes = Recorder()
    return load_manifest(folder / "m.csv", progress=notes, **options), notes


MRN = ["M1", "M1", "M2", "M3", "M4", "M4"]


class TestPatient:
    @pytest.mark.parametrize(
        "name", ["mrn", "MRN", "patient_id", "Patient ID", "PatientID", "subject", "case", "pat_id"]
    )
    def test_usual_names_are_recognised_and_hashed(self, folder: Path, name: str) -> None:
        manifest, notes = read(folder, name, MRN)
        assert manifest.table["group"].tolist() == [of(m) for m in MRN]
        assert name not in manifest.table
        assert notes.notes == [f"The column {name!r} of m.csv tells the patient."]

    def test_any_column_can_be_named(self, folder: Path) -> None:
        manifest, notes = read(folder, "who", MRN, group_column="who")
        assert manifest.table["group"].tolist() == [of(m) for m in MRN]
        assert notes.notes == []

    def test_a_named_column_goes_before_group(self, folder: Path) -> None:
        values = [f"{m},x{n}" for n, m in enumerate(MRN)]
        manifest, _ = read(folder, "who,group", values, group_column="who")
        assert manifest.table["group"].tolist() == [of(m) for m in MRN]

    def test_a_misspelled_column_is_answered(self, folder: Path) -> None:
        with pytest.raises(InputError, match=r"no column 'mnr'\. Did you mean mrn\?"):
            read(folder, "mrn", MRN, group_column="mnr")

    @pytest.mark.parametrize("name", ["patinet_id", "subjectt", "patients"])
    def test_a_name_that_is_almost_one_is_asked_about(self, folder: Path, name: str) -> None:
        manifest, notes = read(folder, name, MRN)
        assert manifest.table["group"].tolist() == manifest.table["path"].tolist()
        assert f"Did you mean `group_column={name!r}`?" in notes.notes[0]

    def test_case_and_control_are_no_patients(self, folder: Path) -> None:
        manifest, notes = read(folder, "case", ["0", "0", "0", "1", "1", "1"])
        assert manifest.table["group"].nunique() == 6
        assert "Did you mean `group_column='case'`?" in notes.notes[0]

    def test_age_and_sex_of_patients_are_none(self, folder: Path) -> None:
        manifest, notes = read(folder, "Patient Age,Patient Gender", ["50,M"] * 6)
        assert manifest.table["group"].nunique() == 6
        assert len(notes.notes) == 1
        assert notes.notes[0].startswith("Columns of m.csv that are left out: Patient Age")

    def test_several_that_differ_are_refused_and_those_that_agree_are_not(
        self, folder: Path
    ) -> None:
        with pytest.raises(InputError, match=r"patient_id, case\. Say which with `group_column`"):
            read(folder, "patient_id,case", [f"{m},{n}" for n, m in enumerate(MRN)])
        manifest, _ = read(folder, "patient_id,case", [f"{m},c{m}" for m in MRN])
        assert manifest.table["group"].tolist() == [of(m) for m in MRN]

    def test_rows_without_a_value_are_their_own(self, folder: Path) -> None:
        manifest, _ = read(folder, "mrn", ["", *MRN[1:]])
        assert manifest.table["group"].tolist()[:2] == ["0.png", of("M1")]

    def test_a_patient_written_in_two_ways_is_one(self, folder: Path) -> None:
        values = ["Mu\u0308ller", "M\u00fcller", *MRN[2:]]
        manifest, _ = read(folder, "who", values, group_column="who")
        assert manifest.table["group"][0] == manifest.table["group"][1]

    def test_folders_have_no_columns(self, folder: Path) -> None:
        for option in ({"group_column": "mrn"}, {"keep": ["mrn"]}):
            with pytest.raises(InputError, match="`group_column` and `keep` are for CSV"):
                load_manifest(folder, **option)


class TestGroup:
    def test_what_people_write_is_hashed(self, folder: Path) -> None:
        manifest, _ = read(folder, "group", MRN)
        assert manifest.table["group"].tolist() == [of(m) for m in MRN]

    def test_numbers_of_16_digits_are_no_pseudonyms(self, folder: Path) -> None:
        number = "1234567890123456"
        manifest, _ = read(folder, "group", [number, *MRN[1:]])
        assert manifest.table["group"][0] == of(number)

    def test_identifiers_can_be_kept(self, folder: Path) -> None:
        manifest, _ = read(folder, "group", MRN, keep_identifiers=True)
        assert manifest.table["group"].tolist() == MRN

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_nothing_is_hashed_twice(self, folder: Path, suffix: str) -> None:
        first, _ = read(folder, "mrn", ["", *MRN[1:]])
        seen = first.seen_from(folder.parent)
        for manifest in (first, seen):
            manifest.save(folder.parent / f"saved{suffix}", force=True)
            again = load_manifest(folder.parent / f"saved{suffix}", root=manifest.root)
            assert again.table.equals(manifest.table)

    def test_nor_where_rows_without_hashes_are_added(self, folder: Path) -> None:
        first, _ = read(folder, "mrn", MRN)
        lines = [f"{r.path},{r.label},{r.group}" for r in first.table.itertuples()]
        lines[-1] = lines[-1].replace(of("M4"), "M5")
        (folder / "m.csv").write_text("\n".join(["path,label,group", *lines]))
        again = load_manifest(folder / "m.csv").table["group"].tolist()
        assert again == [*(of(m) for m in MRN[:5]), of("M5")]

    def test_patients_of_file_names_keep_theirs(self, tmp_path: Path) -> None:
        for n, name in enumerate(("NORMAL/IM-0117-0001.png", "SICK/person12_virus_34.png")):
            draw(tmp_path / "data" / name, n)
        kaggle = load_manifest(tmp_path / "data")
        named = load_manifest(tmp_path / "data", group_regex=r"(\d+)")
        for manifest in (kaggle, named):
            manifest.save(tmp_path / "saved.csv", force=True)
            again = load_manifest(tmp_path / "saved.csv", root=manifest.root)
            assert again.table.equals(manifest.table)
        assert kaggle.table["group"].tolist() == ["IM-0117", "person12_virus"]
        assert named.table["group"].tolist() == ["0117", "12"]

    def test_a_saved_manifest_into_which_identifiers_were_put(self, folder: Path) -> None:
        manifest, _ = read(folder, "x", ["1"] * 6)
        table = manifest.table.assign(group=MRN)
        Manifest(folder, table, manifest.classes).save(folder / "saved.csv")
        assert load_manifest(folder / "saved.csv").table["group"].tolist() == [of(m) for m in MRN]


class TestKept:
    VALUES = ("x,M1", "x,M1", "y,M2", "x,M3", "y,M4", "y,M4")

    def test_no_other_column_unless_asked_for(self, folder: Path) -> None:
        manifest, notes = read(folder, "hospital,mrn", [*self.VALUES])
        assert "hospital" not in manifest.table
        assert "left out: hospital. Name in `keep`" in notes.notes[1]
        manifest, notes = read(folder, "hospital,mrn", [*self.VALUES], keep=["hospital"])
        assert manifest.table["hospital"].tolist() == ["x", "x", "y", "x", "y", "y"]
        assert len(notes.notes) == 1
        manifest.save(folder / "saved.csv")
        assert "hospital" not in load_manifest(folder / "saved.csv").table
        again = load_manifest(folder / "saved.csv", keep=["hospital"])
        assert again.table.equals(manifest.table)

    def test_a_misspelled_column_is_answered(self, folder: Path) -> None:
        with pytest.raises(InputError, match=r"no column 'hospitl'\. Did you mean hospital\?"):
            read(folder, "hospital,mrn", [*self.VALUES], keep=["hospitl"])

    def test_identifiers_are_kept_hashed(self, folder: Path) -> None:
        for keep in (["mrn"], None):
            manifest, _ = read(folder, "hospital,mrn", [*self.VALUES], keep=keep)
            assert manifest.table["mrn"].tolist() == [of(m) for m in MRN]
        manifest.save(folder / "saved.csv")
        again = load_manifest(folder / "saved.csv", keep=["mrn"])
        assert again.table["mrn"].tolist() == [of(m) for m in MRN]

    def test_what_equals_the_patient_is_hashed_whatever_it_is_called(self, folder: Path) -> None:
        values = [f"{m},{m}" for m in MRN]
        manifest, _ = read(folder, "mrn,remark", values, keep=["remark"])
        assert manifest.table["remark"].tolist() == [of(m) for m in MRN]

    def test_what_equals_the_patient_id_of_dicom_is_hashed(self, tmp_path: Path) -> None:
        lines = ["path,label,code,where"]
        for n in range(4):
            pixels = np.full((8, 8), 40 * n, np.uint16)
            dicom(tmp_path / f"{n}.dcm", pixels, PatientID=f"HID-{n}", StudyInstanceUID=f"1.2.{n}")
            lines.append(f"{n}.dcm,{'AB'[n % 2]},{f'HID-{n}' if n else 'HID-X'},1.2.{n}")
        (tmp_path / "m.csv").write_text("\n".join(lines))
        manifest = load_manifest(tmp_path / "m.csv", keep=["code", "where"])
        assert manifest.table["group"].tolist() == [of(f"HID-{n}") for n in range(4)]
        assert manifest.table["code"].str.fullmatch(HEX).all()
        assert manifest.table["where"].str.fullmatch(HEX).all()
        manifest.save(tmp_path / "saved.csv")
        assert b"HID-" not in (tmp_path / "saved.csv").read_bytes()
        table = manifest.table.assign(study=[f"1.2.{n}" for n in range(4)])
        Manifest(tmp_path, table, manifest.classes).save(tmp_path / "saved.csv", force=True)
        assert load_manifest(tmp_path / "saved.csv").table["study"].str.fullmatch(HEX).all()


class TestNumbers:
    def test_are_the_same_as_pandas_and_spreadsheets_write_them(self, folder: Path) -> None:
        whole = ["007001", "7002", "0", "10", "11", "12"]
        of_whole = read(folder, "mrn", whole)[0].table["group"].tolist()
        for values in (
            [value.lstrip("0") or "0" for value in whole],
            [f"{int(value)}.0" for value in whole],
        ):
            assert read(folder, "mrn", values)[0].table["group"].tolist() == of_whole
        assert of("007001") == of("7001") == of_whole[0]
        assert of("0") == of_whole[2]

    def test_other_texts_stay_as_they_are(self, folder: Path) -> None:
        values = ["a.0", "a", "1.0", "1", "A-01", "A-1"]
        groups = read(folder, "mrn", values)[0].table["group"]
        assert groups.nunique() == 6
