"""Exporters: how a client gets a build's result."""

from fake_buildkitd.exporters._exporters import ExportContext, Exporter, resolve_exporter

__all__ = ["ExportContext", "Exporter", "resolve_exporter"]
