"""`--local`. Mirrors cmd/buildctl/build/local.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Iterable

from pybuildkit.cmd.buildctl.build._build import attr_map
from pybuildkit.third_party.fsutil import FS, new_fs


def parse_local(values: Iterable[str]) -> dict[str, FS]:
    """The directories that the build may read, by the name that the frontend asks for.

    Raises:
        FlagValueError: a value without `=`.
        BuildkitError: a directory that does not exist or cannot be read.
    """
    return {name: new_fs(directory) for name, directory in attr_map(values).items()}
