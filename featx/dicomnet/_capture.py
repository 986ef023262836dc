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
from featx.worklist._scoring_worker import Shown

SERIES_NUMBER = 9802
DOTS_PER_INCH = 110


def make_capture(result: Result, source: Source, shown: Shown, picture: bytes) -> Any:
    """Make a secondary capture of the figure of `featx explain`.

    Parameters
    ----------
    result, source
        Prediction, and the header of its X-ray.
    shown
        Heat map of the X-ray.
    picture
        PNG file of the X-ray.
    """
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset
    from pydicom.valuerep import DA, TM

    item, run = result.item, result.run
    reference = source.reference
    capture = SCImage(
        pixel_array=_figure(result, shown, picture),
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


def _figure(result: Result, shown: Shown, picture: bytes) -> NDArray[np.uint8]:
    """Draw the figure of `featx explain`, with the image's code for its name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from featx.explain import Method, Neighbor, Verdict
    from featx.explain._figure import explanation_figure

    prediction, run = result.prediction, result.run
    assert prediction.score is not None
    neighbors = [
        (
            Neighbor("", one.label, one.distance),
            None if one.picture is None else _pixels(one.picture),
        )
        for one in shown.nearest
    ]
    figure = explanation_figure(
        f"image {result.item.code}",
        _pixels(picture),
        shown.heat,
        Method(shown.method, shown.unit, shown.meaning),
        Verdict(prediction.score, prediction.threshold, run.band, run.classes),
        neighbors,
        shown.notes,
    )
    figure.set_dpi(DOTS_PER_INCH)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _pixels(png: bytes) -> NDArray[np.float32]:
    """Read a PNG file that the scoring process wrote."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(png)), np.float32)
    return pixels[..., None] if pixels.ndim == 2 else pixels
