"""A node of the DICOM network: X-rays in, Structured Reports out."""

from featx.dicomnet._deliverer import Deliverer
from featx.dicomnet._node import DicomNode
from featx.dicomnet._receiver import Receiver

__all__ = ["Deliverer", "DicomNode", "Receiver"]
