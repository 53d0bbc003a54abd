"""`--import-cache`. Mirrors cmd/buildctl/build/importcache.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Iterable

from pybuildkit.client import CacheOptionsEntry
from pybuildkit.cmd.buildctl.build._build import typed_attrs
from pybuildkit.cmd.buildctl.build._util import load_github_env
from pybuildkit.util import bklog

_DEPRECATED = (
    "--import-cache <ref> is deprecated. Please use --import-cache "
    "type=registry,ref=<ref>,<opt>=<optval>[,<opt>=<optval>] instead."
)


def parse_import_cache(values: Iterable[str]) -> list[CacheOptionsEntry]:
    """The caches to import from; a value without `type=` is a registry reference, with a warning.

    Raises:
        FlagValueError, csvvalue.ParseError, csvvalue.EmptyLineError: a malformed value.
    """
    return [_entry(value) for value in values]


def _entry(value: str) -> CacheOptionsEntry:
    if "type=" not in value:
        bklog.L.warning(_DEPRECATED)
        return CacheOptionsEntry(type="registry", attrs={"ref": value})
    kind, attrs = typed_attrs(value, "--import-cache")
    return CacheOptionsEntry(type=kind, attrs=load_github_env(attrs) if kind == "gha" else attrs)
