"""`--export-cache` and the deprecated `--export-cache-opt`.

Mirrors cmd/buildctl/build/exportcache.go, v0.32.2, and what v0.7.0 did with `--export-cache-opt`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybuildkit.client import CacheOptionsEntry
from pybuildkit.cmd.buildctl.build._build import FlagValueError, attr_map, typed_attrs
from pybuildkit.cmd.buildctl.build._util import load_github_env
from pybuildkit.util import bklog

_INSTEAD = "is deprecated. Please use --export-cache type=registry,ref=<ref>,<opt>=<optval>[,<opt>=<optval>] instead"
_DEPRECATED = f"--export-cache <ref> {_INSTEAD}"
_DEPRECATED_OPT = f"--export-cache <ref> --export-cache-opt <opt>=<optval> {_INSTEAD}."
_OPT_WITH_TYPE = (
    "--export-cache-opt is not supported for the specified --export-cache. "
    "Please use --export-cache type=<type>,<opt>=<optval>[,<opt>=<optval>] instead."
)


def parse_export_cache(values: Sequence[str], legacy_opts: Sequence[str] = ()) -> list[CacheOptionsEntry]:
    """The caches to export to; a value without `type=` is a registry reference, with a warning.

    Args:
        values: the values of `--export-cache`.
        legacy_opts: those of `--export-cache-opt`, which go with exactly one reference.

    Raises:
        FlagValueError, csvvalue.ParseError, csvvalue.EmptyLineError: a malformed value.
    """
    if legacy_opts and len(values) != 1:
        raise FlagValueError("--export-cache-opt requires exactly single --export-cache")
    return [_entry(value, legacy_opts) for value in values]


def _entry(value: str, legacy_opts: Sequence[str]) -> CacheOptionsEntry:
    if "type=" not in value:
        bklog.L.warning(_DEPRECATED_OPT if legacy_opts else _DEPRECATED)
        return CacheOptionsEntry(type="registry", attrs={"mode": "min", **attr_map(legacy_opts), "ref": value})
    if legacy_opts:
        raise FlagValueError(_OPT_WITH_TYPE)
    kind, attrs = typed_attrs(value, "--export-cache")
    attrs.setdefault("mode", "min")
    return CacheOptionsEntry(type=kind, attrs=load_github_env(attrs) if kind == "gha" else attrs)
