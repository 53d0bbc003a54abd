"""The methods of the service moby.exporter.v1.Exporter. Mirrors session/exporter/exporter.proto, v0.32.2."""

from __future__ import annotations

from pybuildkit.rpc import Method
from pybuildkit.session.exporter.exporter_pb2 import (
    FinalizeExportRequest,
    FinalizeExportResponse,
    FindExportersRequest,
    FindExportersResponse,
)

FIND_EXPORTERS = Method.of("/moby.exporter.v1.Exporter/FindExporters", FindExportersRequest, FindExportersResponse)
FINALIZE_EXPORT = Method.of("/moby.exporter.v1.Exporter/FinalizeExport", FinalizeExportRequest, FinalizeExportResponse)
