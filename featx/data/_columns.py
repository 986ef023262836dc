"""Columns of a table: which tells the patient, which are kept, and which identify people."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from featx._progress import Progress
from featx._specs import require_known
from featx.data._dicom import Pseudonyms
from featx.data._make_manifest import FILE_COLUMNS
from featx.data._manifest import OWN_COLUMNS, Manifest
from featx.data._options import ReadingOptions
from featx.data._patients import is_kaggle_patient, is_own_patient
from featx.data._tables import Table
from featx.errors import InputError
from featx_cache._index import TEXT

PATIENT_COLUMNS = frozenset(
    {
        "case", "caseid", "casenumber", "medicalrecordnumber", "mrn", "participant",
        "participantid", "patid", "patient", "patientid", "patientno", "patientnr",
        "patientnumber", "person", "personid", "pid", "subject", "subjectid", "subjectnumber",
    }
)  # fmt: skip
"""Names of columns that tell the patient, in lower case and without punctuation."""

IDENTIFYING_COLUMNS = PATIENT_COLUMNS | {
    "accession", "accessionnumber", "birthdate", "dateofbirth", "dob", "familyname", "firstname",
    "givenname", "lastname", "name", "nhsnumber", "patientaddress", "patientbirthdate",
    "patientname", "seriesinstanceuid", "seriesuid", "sopinstanceuid", "ssn", "studyinstanceuid",
    "studyuid", "surname",
}  # fmt: skip
"""Names of columns that identify people. If they are kept, their values are hashed."""

_PSEUDONYM = re.compile(r"[0-9a-f]{16}")
_FLOAT = re.compile(r"\d+\.0")
_INDEX = re.compile(r"(Unnamed: \d+(\.\d+)?)?")
"""Names that pandas gives to row numbers that it writes as a column."""

_MIN_SIMILARITY = 0.85
"""Similarity of a name that is probably misspelt: "patients", and not "patient age"."""


def choose_columns(table: Table, options: ReadingOptions, progress: Progress) -> None:
    """Fill ``group`` in a table, and drop the columns that aren't kept.

    `progress` is told which column tells the patient, and which are dropped. A ``group`` that featx
    wrote stays as it is. An unknown column, or several that tell different patients, are refused.
    """
    columns, keep = table.columns, options.keep
    for name in [
        name for name in columns if _INDEX.fullmatch(name) and name != options.group_column
    ]:
        del columns[name]
    source = _patient_column(table, options.group_column, progress)
    if source is not None:
        _take_groups(columns, source, options.pseudonyms)
    if "study" in columns:
        columns["study"] = _hashed(columns["study"], options.pseudonyms)
    if keep is None:
        return
    others = [name for name in columns if name not in OWN_COLUMNS]
    there = f"has: {', '.join(others)}" if others else "has no other columns"
    for name in keep:
        if name not in OWN_COLUMNS:
            require_known("column", name, others, f"{table.name} {there}.")
    left = [name for name in others if name not in keep]
    for name in left:
        del columns[name]
    if told := [name for name in left if name != source]:
        progress.note(
            f"Columns of {table.name} that are left out: {', '.join(told)}. "
            "Name in `keep` what is to be kept."
        )


def hide_identifiers(manifest: Manifest, pseudonyms: Pseudonyms) -> Manifest:
    """Hash kept columns that identify people.

    They have one of `IDENTIFYING_COLUMNS` as their name, or a value that is the patient or the
    study of its own image, such as DICOM's PatientID.
    """
    table, changed = manifest.table, {}
    for name in table.columns:
        if name in OWN_COLUMNS:
            continue
        values = table[name].tolist()
        hashed = _hashed(values, pseudonyms)
        known = [table[column] for column in ("group", "study") if column in table]
        if _plain(name) in IDENTIFYING_COLUMNS or any(
            value and value in people for value, *people in zip(hashed, *known, strict=True)
        ):
            changed[name] = pd.Series(hashed, index=table.index, dtype=TEXT)
    return replace(manifest, table=table.assign(**changed)) if changed else manifest


def _patient_column(table: Table, asked: str | None, progress: Progress) -> str | None:
    """Find the column that tells the patient. If nobody named it, say which it is."""
    columns = table.columns
    if asked is not None:
        require_known("column", asked, columns)
        return asked
    if any(columns.get("group", ())):
        return "group"
    named = [n for n in columns if _plain(n) in PATIENT_COLUMNS and any(columns[n])]
    usable = [n for n in named if _tells_patients(columns[n])]
    if len({tuple(_numbered(columns[name])) for name in usable}) > 1:
        raise InputError(
            f"{table.name} has several columns that may tell the patient: {', '.join(usable)}",
            "Say which with `group_column`.",
        )
    if usable:
        progress.note(f"The column {usable[0]!r} of {table.name} tells the patient.")
        return usable[0]
    others = [n for n in columns if n not in OWN_COLUMNS]
    plain = {_plain(name): name for name in others}
    near = [
        plain[name]
        for name in plain
        if difflib.get_close_matches(name, PATIENT_COLUMNS, n=1, cutoff=_MIN_SIMILARITY)
    ]
    if near:
        progress.note(
            f"No column of {table.name} is taken for the patient. Did you mean "
            f"`group_column={near[0]!r}`?"
        )
    return None


def _tells_patients(values: Sequence[str]) -> bool:
    """Say whether a column has more than two values, such as case and control."""
    different = len(set(values) - {""})
    return different > 2 or different == len(values)


def _numbered(values: Sequence[str]) -> list[int]:
    """Give values numbers in the order of their first use: equal for columns that divide alike."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def _take_groups(columns: dict[str, list[str]], source: str, pseudonyms: Pseudonyms) -> None:
    """Fill ``group`` from a column, hashed.

    If the column is called ``group``, featx's own names of patients stay: pseudonyms, names of the
    Kaggle set and images that are each a patient. In a manifest that featx saved, names that
    `group_regex` found in the paths stay, too.
    """
    values, paths = columns[source], columns["path"]
    if source != "group":
        columns["group"] = _hashed(values, pseudonyms)
        return
    pairs = list(zip(paths, values, strict=True))
    known = {v for v in set(values) if is_kaggle_patient(v)}
    foreign = {v for p, v in pairs if not ((v in known and v in p) or is_own_patient(p, v))}
    if set(FILE_COLUMNS) <= set(columns) and all(v in p for p, v in pairs if v in foreign):
        return
    columns["group"] = _hashed(values, pseudonyms, only=foreign)


def is_pseudonym(name: str) -> bool:
    """Say whether a name is surely one that `featx.data._dicom.Pseudonyms` made."""
    return _PSEUDONYM.fullmatch(name) is not None and not name.isdecimal()


def _hashed(
    values: Sequence[str], pseudonyms: Pseudonyms, only: set[str] | None = None
) -> list[str]:
    """Return pseudonyms of identifiers. Values that are pseudonyms already stay.

    Numbers of 16 digits look like pseudonyms. They count as such if other values have letters.
    """
    different = set(values)
    made = any(map(is_pseudonym, different))
    stay = {v for v in different if made and _PSEUDONYM.fullmatch(v)}
    changed = (different if only is None else different & only) - stay
    # Whole numbers beside missing ones are floats to pandas: 7001.0.
    floats = all(map(_FLOAT.fullmatch, filter(None, different)))
    of = {
        value: pseudonyms.of(
            unicodedata.normalize("NFC", value.strip().removesuffix(".0" if floats else ""))
        )
        for value in changed
    }
    return [of.get(value, value) for value in values]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
