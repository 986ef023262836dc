"""A run as a file that other programs read."""

from featx.exporting._onnx import Export, export_onnx

__all__ = ["Export", "export_onnx"]
