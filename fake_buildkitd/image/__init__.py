"""Images: their parts, their layers, what they are written to."""

from fake_buildkitd.image._layers import Compression, Layer, export_layers, note_blob
from fake_buildkitd.image._spec import Descriptor, ImageError

__all__ = [
    "Compression",
    "Descriptor",
    "ImageError",
    "Layer",
    "export_layers",
    "note_blob",
]
