"""Columns of a listing: which one tells the patient, which are kept, and which identify people."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from featx._progress import Progress
from featx._specs import require_known
from featx.data._build import PROBED
from featx.data._dicom import Pseudonyms
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
"""Names of columns that tell the patient, in small letters and digits alone."""

IDENTIFYING_COLUMNS = PATIENT_COLUMNS | {
    "accession", "accessionnumber", "birthdate", "dateofbirth", "dob", "familyname", "firstname",
    "givenname", "lastname", "name", "nhsnumber", "patientaddress", "patientbirthdate",
    "patientname", "seriesinstanceuid", "seriesuid", "sopinstanceuid", "ssn", "studyinstanceuid",
    "studyuid", "surname",
}  # fmt: skip
"""Names of columns that identify people; their values are hashed wherever they are kept."""

_PSEUDONYM = re.compile(r"[0-9a-f]{16}")
_FLOAT = re.compile(r"\d+\.0")
_INDEX = re.compile(r"(Unnamed: \d+(\.\d+)?)?")
"""What pandas calls the row numbers that it writes as a column."""

_ALIKE = 0.85
"""From "patients" to "patient", and not from "patient age"."""


def choose_columns(table: Table, options: ReadingOptions, progress: Progress) -> None:
    """Make a listing's columns those of a manifest: ``group`` first of all, and what is kept.

    Parameters
    ----------
    table
        Its columns are changed.
    options
        Which column tells the patient, and which are kept besides featx's own. A ``group`` that
        featx wrote stays as it is.
    progress
        Is told which column tells the patient, and which were left out.

    Raises
    ------
    InputError
        When there is no such column, or several columns tell different patients.
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
            require_known("column", name, others, f"{table.path.name} {there}.")
    left = [name for name in others if name not in keep]
    for name in left:
        del columns[name]
    if told := [name for name in left if name != source]:
        progress.note(
            f"Columns of {table.path.name} that are left out: {', '.join(told)}. "
            "`keep` COLUMN keeps one."
        )


def hide_identifiers(manifest: Manifest, pseudonyms: Pseudonyms) -> Manifest:
    """Hash kept columns that identify people: by their names, or because they equal an identifier.

    The latter are columns in which a value is the patient of its own image, such as DICOM's
    PatientID, or the study.
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
    """Find the column that tells the patient, and say which it is, where nobody did."""
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
            f"{table.path.name} has several columns that may tell the patient: {', '.join(usable)}",
            "Say which with `group_column`.",
        )
    if usable:
        progress.note(f"The column {usable[0]!r} of {table.path.name} tells the patient.")
        return usable[0]
    others = [n for n in columns if n not in OWN_COLUMNS]
    plain = {_plain(name): name for name in others}
    near = [
        plain[name]
        for name in plain
        if difflib.get_close_matches(name, PATIENT_COLUMNS, n=1, cutoff=_ALIKE)
    ]
    if near:
        progress.note(
            f"No column of {table.path.name} is taken for the patient. Did you mean `group_column` "
            f"{near[0]}?"
        )
    return None


def _tells_patients(values: Sequence[str]) -> bool:
    """Say whether a column has more values than yes and no, or case and control."""
    different = len(set(values) - {""})
    return different > 2 or different == len(values)


def _numbered(values: Sequence[str]) -> list[int]:
    """Number values in the order of their first use: equal for columns that divide alike."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def _take_groups(columns: dict[str, list[str]], source: str, pseudonyms: Pseudonyms) -> None:
    """Fill ``group`` from a column, hashed.

    In a column called ``group`` featx's own names of patients stay: pseudonyms, names of the
    Kaggle set, images that are each a patient, and in a manifest that featx saved whatever a
    ``--group-regex`` had found in the paths.
    """
    values, paths = columns[source], columns["path"]
    if source != "group":
        columns["group"] = _hashed(values, pseudonyms)
        return
    pairs = list(zip(paths, values, strict=True))
    known = {v for v in set(values) if is_kaggle_patient(v)}
    foreign = {v for p, v in pairs if not ((v in known and v in p) or is_own_patient(p, v))}
    if set(PROBED) <= set(columns) and all(v in p for p, v in pairs if v in foreign):
        return
    columns["group"] = _hashed(values, pseudonyms, only=foreign)


def is_pseudonym(name: str) -> bool:
    """Say whether a name is surely one that `featx.data._dicom.Pseudonyms` made."""
    return _PSEUDONYM.fullmatch(name) is not None and not name.isdecimal()


def _hashed(
    values: Sequence[str], pseudonyms: Pseudonyms, only: set[str] | None = None
) -> list[str]:
    """Return stand-ins for identifiers; those that are stand-ins already stay.

    Numbers of 16 digits look like stand-ins. They are none unless others beside them have letters.
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
