"""An X-ray and its heat map as a secondary capture, with the words that belong to them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.dicomnet._marks import CAUTION, ascii_text, equipment, uid_of
from featx.dicomnet._report import finish
from featx.dicomnet._source import Source
from featx.worklist import Result

SERIES_NUMBER = 9802


def make_capture(result: Result, source: Source, figure: bytes) -> Any:
    """Make a secondary capture of the figure of `featx explain`.

    Parameters
    ----------
    result, source
        Prediction, and the header of its X-ray.
    figure
        PNG file of the figure.
    """
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset
    from pydicom.valuerep import DA, TM

    item, run = result.item, result.run
    reference = source.reference
    capture = SCImage(
        pixel_array=_pixels(figure),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        study_instance_uid=reference.StudyInstanceUID,
        series_instance_uid=uid_of("capture series", item.id, run.id),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid_of("capture", item.id, run.id),
        instance_number=1,
        series_description=f"featx {ascii_text(run.name, 40)}: heat map, research only"[:64],
        content_date=result.scored.date(),
        content_time=result.scored.time(),
        **equipment(),
    )
    # A page with two pictures and a legend. It has no side of the patient.
    capture.PatientOrientation = capture.Laterality = None
    capture.ConversionType = "WSD"
    capture.DateOfSecondaryCapture = DA(result.scored.date())
    capture.TimeOfSecondaryCapture = TM(result.scored.time())
    # It has writing in it, and nobody knows what the X-ray has. So nothing takes it for an X-ray,
    # and those who pseudonymize look at it.
    capture.BurnedInAnnotation = "YES"
    capture.DerivationDescription = f"X-ray and heat map of featx. {CAUTION}"
    image = Dataset()
    image.ReferencedSOPClassUID = reference.SOPClassUID
    image.ReferencedSOPInstanceUID = reference.SOPInstanceUID
    capture.SourceImageSequence = [image]
    finish(capture, result, source)
    return capture


def _pixels(png: bytes) -> NDArray[np.uint8]:
    """Read a PNG file that the scoring process wrote."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGB"))
