"""Directories of the client.

Mirrors Local and its options in client/llb/source.go, v0.32.2.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final, ParamSpec, Protocol

from pybuildkit.client.llb._constraints import Constraints, add_cap
from pybuildkit.client.llb._option import Option, apply_options, maker
from pybuildkit.client.llb._source import SourceOp
from pybuildkit.client.llb._state import State, new_state
from pybuildkit.solver import pb

_P = ParamSpec("_P")


class DiffType(enum.StrEnum):
    """How the daemon finds out which files of a directory have changed since the last build."""

    NONE = "none"
    METADATA = "metadata"


DIFF_NONE: Final = DiffType.NONE
DIFF_METADATA: Final = DiffType.METADATA


class LocalInfo:
    """What the options of one `local` have said; the patterns are JSON lists."""

    __slots__ = (
        "constraints",
        "differ",
        "differ_required",
        "exclude_patterns",
        "follow_paths",
        "include_patterns",
        "metadata_only_collector",
        "metadata_only_exceptions",
        "session_id",
        "shared_key_hint",
    )

    def __init__(self) -> None:
        self.constraints = Constraints()
        self.session_id = ""
        self.include_patterns = ""
        self.exclude_patterns = ""
        self.follow_paths = ""
        self.shared_key_hint = ""
        self.differ = ""
        self.differ_required = False
        self.metadata_only_collector = False
        self.metadata_only_exceptions = ""


_Change = Callable[[LocalInfo], None]


class LocalOption(Protocol):
    """What `local` takes."""

    def set_local_option(self, info: LocalInfo) -> None:
        """Change the options of one `local`."""


class _LocalOption(Option[LocalInfo]):
    __slots__ = ()

    def set_local_option(self, info: LocalInfo) -> None:
        """Change the options of one `local`."""
        self._apply(info)


def _local(make: Callable[_P, _Change]) -> Callable[_P, _LocalOption]:
    return maker(_LocalOption, make)


def local(name: str, *options: LocalOption) -> State:
    """A directory that the client offers under a name (`--local NAME=PATH` of the command)."""
    info = LocalInfo()
    apply_options(options, "set_local_option", info, "local")
    attrs: dict[str, str] = {}
    for value, attr, cap in (
        (info.session_id, pb.ATTR_LOCAL_SESSION_ID, pb.CAP_SOURCE_LOCAL_SESSION_ID),
        (info.include_patterns, pb.ATTR_INCLUDE_PATTERNS, pb.CAP_SOURCE_LOCAL_INCLUDE_PATTERNS),
        (info.follow_paths, pb.ATTR_FOLLOW_PATHS, pb.CAP_SOURCE_LOCAL_FOLLOW_PATHS),
        (info.exclude_patterns, pb.ATTR_EXCLUDE_PATTERNS, pb.CAP_SOURCE_LOCAL_EXCLUDE_PATTERNS),
        (info.shared_key_hint, pb.ATTR_SHARED_KEY_HINT, pb.CAP_SOURCE_LOCAL_SHARED_KEY_HINT),
    ):
        if value:
            attrs[attr] = value
            add_cap(info.constraints, cap)
    if info.differ:
        attrs[pb.ATTR_LOCAL_DIFFER] = info.differ
        if info.differ_required:
            add_cap(info.constraints, pb.CAP_SOURCE_LOCAL_DIFFER)
    if info.metadata_only_collector:
        attrs[pb.ATTR_METADATA_TRANSFER] = "true"
        if info.metadata_only_exceptions:
            attrs[pb.ATTR_METADATA_TRANSFER_EXCLUDE] = info.metadata_only_exceptions
        add_cap(info.constraints, pb.CAP_SOURCE_METADATA_TRANSFER)
    add_cap(info.constraints, pb.CAP_SOURCE_LOCAL)
    return new_state(SourceOp(f"local://{name}", attrs, info.constraints).output())


def _json(taker: str, patterns: Sequence[str] | None) -> str:
    """The patterns as Go's encoding/json writes them, "" for none."""
    if isinstance(patterns, str):
        raise TypeError(f"{taker}() takes a list of patterns, not one string: did you mean [{patterns!r}]?")
    if not patterns:
        return ""
    from pybuildkit.golang import json

    return json.marshal(list(patterns))


@_local
def session_id(id: str) -> _Change:
    """Take the directory from this session instead of the build's."""

    def change(info: LocalInfo) -> None:
        info.session_id = id

    return change


@_local
def include_patterns(patterns: Sequence[str]) -> _Change:
    """Send only what matches; no pattern at all sends everything."""
    text = _json("include_patterns", patterns)

    def change(info: LocalInfo) -> None:
        info.include_patterns = text

    return change


@_local
def follow_paths(paths: Sequence[str]) -> _Change:
    """Send these paths, and what the links on the way to them point to."""
    text = _json("follow_paths", paths)

    def change(info: LocalInfo) -> None:
        info.follow_paths = text

    return change


@_local
def exclude_patterns(patterns: Sequence[str]) -> _Change:
    """Leave out what matches; a pattern that begins with "!" takes back."""
    text = _json("exclude_patterns", patterns)

    def change(info: LocalInfo) -> None:
        info.exclude_patterns = text

    return change


@_local
def shared_key_hint(hint: str) -> _Change:
    """Directories with equal hints share what the daemon keeps of them between builds."""

    def change(info: LocalInfo) -> None:
        info.shared_key_hint = hint

    return change


@_local
def differ(type: DiffType, required: bool) -> _Change:
    """How changed files are found.

    Args:
        type: DIFF_NONE sends everything again, DIFF_METADATA what has another size, time, mode or owner.
        required: whether a daemon that cannot do so must refuse the build.
    """

    def change(info: LocalInfo) -> None:
        info.differ = str(type)
        info.differ_required = required

    return change


@_local
def metadata_only_transfer(exceptions: Sequence[str] | None) -> _Change:
    """Send names, modes and sizes without contents, but for what matches the exceptions."""
    text = _json("metadata_only_transfer", exceptions)

    def change(info: LocalInfo) -> None:
        info.metadata_only_collector = True
        info.metadata_only_exceptions = text

    return change
