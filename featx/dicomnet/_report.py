"""A prediction as a Structured Report: TID 1500 of DICOM PS3.16, Measurement Report."""

from __future__ import annotations

from typing import Any

from featx._version import __version__
from featx.dicomnet._marks import CAUTION, MODEL_NAME, SCHEME, ascii_text, equipment, uid_of
from featx.dicomnet._source import Source
from featx.worklist import Result

SERIES_NUMBER = 9801
"""High, so that the series stands behind those of the X-rays."""

LONGEST_CODE = 16
"""Characters of a code value (PS3.5 table 6.2-1, SH)."""

_FINDINGS = {
    "PNEUMONIA": ("233604007", "SCT", "Pneumonia"),
    "NORMAL": ("17621005", "SCT", "Normal"),
}
"""Standard codes of classes (SNOMED CT). Other classes have a code of featx's own scheme."""


def make_report(result: Result, source: Source) -> Any:
    """Make the report of a prediction. The same prediction gives the same report, byte by byte."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import ComprehensiveSR

    item, run = result.item, result.run
    report = ComprehensiveSR(
        evidence=[source.reference],
        content=_content(result, source)[0],
        series_instance_uid=uid_of("report series", item.id, run.id),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid_of("report", item.id, run.id),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=f"featx {ascii_text(run.name, 40)}: research, not a medical device"[:64],
        content_date=result.scored.date(),
        content_time=result.scored.time(),
        coding_schemes=[
            CodingSchemeIdentificationItem(
                SCHEME, name="Codes of featx", version="1", responsible_organization="featx"
            )
        ],
        **equipment(),
    )
    finish(report, result, source)
    return report


def finish(dataset: Any, result: Result, source: Source) -> None:
    """Give an object the X-ray's patient and study, and the time of the score."""
    from pydicom.valuerep import DA, DT, TM

    for library in dataset.get("ContributingEquipmentSequence", []):
        library.ContributionDateTime = DT(result.scored.replace(tzinfo=None))
    dataset.InstanceCreationDate = DA(result.scored.date())
    dataset.InstanceCreationTime = TM(result.scored.time())
    dataset.SeriesDate, dataset.SeriesTime = DA(result.scored.date()), TM(result.scored.time())
    source.copy_to(dataset)


def _content(result: Result, source: Source) -> Any:
    from highdicom import sr
    from pydicom.sr.coding import Code

    run, code = result.run, result.item.code
    observer = sr.DeviceObserverIdentifyingAttributes(
        uid=uid_of("device", run.id),
        name="featx",
        manufacturer_name="featx",
        model_name=MODEL_NAME,
        serial_number=run.id,
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(Code("121007", "DCM", "Device"), observer)
    )
    algorithm = sr.AlgorithmIdentification(
        name="featx",
        version=__version__,
        parameters=[f"run {ascii_text(run.name)}", f"run id {run.id}", f"head {run.head}"],
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=uid_of("tracking", result.item.id, run.id), identifier=f"featx image {code}"
        ),
        algorithm_id=algorithm,
        finding_sites=[sr.FindingSite(Code("816094009", "SCT", "Chest"))],
        measurements=_measurements(result),
        qualitative_evaluations=_evaluations(result),
        source_images=[
            sr.SourceImageForMeasurementGroup(
                source.reference.SOPClassUID, source.reference.SOPInstanceUID
            )
        ],
    )
    group[0].ContentSequence.extend(_texts(result))
    return sr.MeasurementReport(
        observation_context=context,
        procedure_reported=Code("399208008", "SCT", "Plain chest X-ray"),
        imaging_measurements=[group],
    )


def _own(value: str, meaning: str) -> Any:
    from pydicom.sr.coding import Code

    return Code(value, SCHEME, meaning)


def _measurements(result: Result) -> list[Any]:
    from highdicom import sr
    from pydicom.sr.coding import Code

    prediction, unit = result.prediction, Code("1", "UCUM", "no units")
    positive = ascii_text(result.run.positive, 40)
    found = [
        ("score", f"Score of {positive}", prediction.score),
        ("probability", f"Probability of {positive}", prediction.probability),
        ("threshold", "Score from which on it is positive", prediction.threshold),
        ("distance", "Distance to the training images", prediction.distance),
    ]
    return [
        sr.Measurement(_own(value, meaning), _decimal(number), unit)
        for value, meaning, number in found
        if number is not None
    ]


def _decimal(number: float) -> float:
    """Keep as many digits as a decimal string of 16 characters has room for."""
    return float(f"{number:.8g}")


def _evaluations(result: Result) -> list[Any]:
    from highdicom import sr
    from pydicom.sr.coding import Code

    prediction = result.prediction
    yes, no = Code("373066001", "SCT", "Yes"), Code("373067005", "SCT", "No")
    found = [
        sr.QualitativeEvaluation(
            _own("verdict", "Verdict of the classifier"),
            finding_code(prediction.prediction, result.run.classes),
        )
    ]
    for value, meaning, answer in (
        ("uncertain", "The verdict is uncertain", prediction.uncertain),
        ("unlike", "Unlike the training images", prediction.unlike_training),
    ):
        if answer is not None:
            found.append(sr.QualitativeEvaluation(_own(value, meaning), yes if answer else no))
    return found


def finding_code(label: str, classes: tuple[str, str]) -> Any:
    """Return the code of a class, which the other class of the run never has."""
    from pydicom.sr.coding import Code

    if label.upper() in _FINDINGS:
        return Code(*_FINDINGS[label.upper()])
    meaning = ascii_text(label, 64)
    if meaning == label and len(label) <= LONGEST_CODE:
        return _own(label, meaning)
    # What is left of it may be what is left of the other one.
    side = "positive class" if label == classes[1] else "negative class"
    return _own(side, f"{side}: {meaning}"[:64].strip())


def _texts(result: Result) -> list[Any]:
    from highdicom import sr
    from pydicom.sr.coding import Code

    comment = Code("121106", "DCM", "Comment")
    found = [(comment, f"Image {result.item.code} of featx's worklist."), (comment, CAUTION)]
    if (view := result.prediction.view) is not None:
        said = ascii_text(view) or "upright, frontal"
        found.insert(0, (_own("view", "View of the image"), said))
    return [
        sr.TextContentItem(name, text, sr.RelationshipTypeValues.CONTAINS) for name, text in found
    ]
