"""Exporters: how a client gets a build's result."""

from fake_buildkitd.exporters._resolve import resolve_exporter
from fake_buildkitd.exporters._source import ExportContext, Exporter

__all__ = ["ExportContext", "Exporter", "resolve_exporter"]
