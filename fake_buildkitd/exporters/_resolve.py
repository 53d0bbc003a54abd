"""Exporters by their names. Mirrors worker/base/worker.go (Exporter), v0.32.2."""

from __future__ import annotations

from collections.abc import Mapping

from fake_buildkitd.exporters._source import Exporter, ExportError
from fake_buildkitd.exporters._trees import LocalExporter, TarExporter
from pybuildkit.golang.strconv import quote


def resolve_exporter(kind: str, index: int, attrs: Mapping[str, str]) -> Exporter:
    """The exporter of a kind, with its attributes.

    Raises:
        BuildkitError: there is none, or it does not take the attributes.
    """
    if kind == "local":
        return LocalExporter(index, attrs)
    if kind == "tar":
        return TarExporter(index, attrs)
    if kind not in ("oci", "docker", "image"):
        raise ExportError(f"exporter {quote(kind)} could not be found")
    from fake_buildkitd.exporters._images import ImageExporter, LayoutExporter

    if kind != "image":
        return LayoutExporter(kind, index, attrs)
    return ImageExporter(index, attrs)
