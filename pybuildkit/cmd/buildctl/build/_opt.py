"""`--opt` and the deprecated `--frontend-opt`. Mirrors cmd/buildctl/build/opt.go, v0.32.2 and v0.7.0."""

from __future__ import annotations

from collections.abc import Sequence

from pybuildkit.cmd.buildctl.build._build import attr_map
from pybuildkit.cmd.buildctl.build._util import load_opt_env
from pybuildkit.util import bklog


def parse_opt(opts: Sequence[str], legacy_frontend_opts: Sequence[str] = ()) -> dict[str, str]:
    """The frontend's attributes: the environment's, then the deprecated flag's, then `--opt`'s.

    Raises:
        FlagValueError: a value without `=`.
    """
    attrs = load_opt_env()
    if legacy_frontend_opts:
        bklog.L.warning("--frontend-opt <opt>=<optval> is deprecated. Please use --opt <opt>=<optval> instead.")
        attrs.update(attr_map(legacy_frontend_opts))
    attrs.update(attr_map(opts))
    return attrs
