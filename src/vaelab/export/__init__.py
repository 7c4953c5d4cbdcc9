"""Models that leave: as ONNX or TorchScript files that need no vaelab, with scaling and names inside."""

from vaelab.export.files import FORMATS, export_model
from vaelab.export.parts import Part, parts_of

__all__ = ["FORMATS", "Part", "export_model", "parts_of"]
