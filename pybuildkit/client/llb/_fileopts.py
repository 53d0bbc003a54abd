"""Options of file actions.

The values `MkdirInfo`, `MkfileInfo`, `SymlinkInfo`, `RmInfo` and `CopyInfo` hold all options of an action; given as
an option they replace what the options before them said.

Mirrors the option types of client/llb/fileop.go, v0.32.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from pybuildkit.solver.pb import ops_pb2

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UINT32: Final = 0xFFFF_FFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class UserOpt:
    """A user or group, by number or by a name that the tree's own user database knows."""

    uid: int = 0
    name: str = ""

    def to_pb(self, base: int) -> ops_pb2.UserOpt:
        """The message; names are looked up in the input with the index `base`."""
        if self.name:
            return ops_pb2.UserOpt(byName=ops_pb2.NamedUserOpt(name=self.name, input=base))
        return ops_pb2.UserOpt(byID=self.uid & _UINT32)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChownOpt:
    """The owner of what an action makes; as an option of mkdir, mkfile, symlink and copy."""

    user: UserOpt | None = None
    group: UserOpt | None = None

    def to_pb(self, base: int) -> ops_pb2.ChownOpt:
        """The message; names are looked up in the input with the index `base`."""
        return ops_pb2.ChownOpt(
            user=self.user.to_pb(base) if self.user is not None else None,
            group=self.group.to_pb(base) if self.group is not None else None,
        )

    def set_mkdir_option(self, info: MkdirInfo) -> MkdirInfo:
        """The options of one `mkdir` with this one."""
        return dataclasses.replace(info, chown_opt=self)

    def set_mkfile_option(self, info: MkfileInfo) -> MkfileInfo:
        """The options of one `mkfile` with this one."""
        return dataclasses.replace(info, chown_opt=self)

    def set_symlink_option(self, info: SymlinkInfo) -> SymlinkInfo:
        """The options of one `symlink` with this one."""
        return dataclasses.replace(info, chown_opt=self)

    def set_copy_option(self, info: CopyInfo) -> CopyInfo:
        """The options of one `copy` with this one."""
        return dataclasses.replace(info, chown_opt=self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChmodOpt:
    """The permissions of what is copied: `mode` as a number, or `mode_str` such as "u+x,go-w"."""

    mode: int = 0
    mode_str: str = ""

    def set_copy_option(self, info: CopyInfo) -> CopyInfo:
        """The options of one `copy` with this one."""
        return dataclasses.replace(info, mode=self)


@dataclass(frozen=True, slots=True)
class CreatedTime:
    """The modification time of what an action makes, in nanoseconds since 1970; made by `with_created_time`."""

    ns: int

    def set_mkdir_option(self, info: MkdirInfo) -> MkdirInfo:
        """The options of one `mkdir` with this one."""
        return dataclasses.replace(info, created_time=self)

    def set_mkfile_option(self, info: MkfileInfo) -> MkfileInfo:
        """The options of one `mkfile` with this one."""
        return dataclasses.replace(info, created_time=self)

    def set_symlink_option(self, info: SymlinkInfo) -> SymlinkInfo:
        """The options of one `symlink` with this one."""
        return dataclasses.replace(info, created_time=self)

    def set_copy_option(self, info: CopyInfo) -> CopyInfo:
        """The options of one `copy` with this one."""
        return dataclasses.replace(info, created_time=self)


@dataclass(frozen=True, kw_only=True, slots=True)
class MkdirInfo:
    """All options of `mkdir`."""

    make_parents: bool = False
    chown_opt: ChownOpt | None = None
    created_time: CreatedTime | None = None

    def set_mkdir_option(self, info: MkdirInfo) -> MkdirInfo:
        """Take these options of `mkdir` in place of all earlier ones."""
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class MkfileInfo:
    """All options of `mkfile`."""

    chown_opt: ChownOpt | None = None
    created_time: CreatedTime | None = None

    def set_mkfile_option(self, info: MkfileInfo) -> MkfileInfo:
        """Take these options of `mkfile` in place of all earlier ones."""
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class SymlinkInfo:
    """All options of `symlink`."""

    chown_opt: ChownOpt | None = None
    created_time: CreatedTime | None = None

    def set_symlink_option(self, info: SymlinkInfo) -> SymlinkInfo:
        """Take these options of `symlink` in place of all earlier ones."""
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class RmInfo:
    """All options of `rm`."""

    allow_not_found: bool = False
    allow_wildcard: bool = False

    def set_rm_option(self, info: RmInfo) -> RmInfo:
        """Take these options of `rm` in place of all earlier ones."""
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyInfo:
    """All options of `copy`.

    Attributes:
        mode: permissions of what is copied; its own unless given.
        follow_symlinks: whether a link in the source path is followed.
        copy_dir_contents_only: whether of a directory only what is in it is copied.
        include_patterns, exclude_patterns: what of a directory is copied.
        required_paths: what must be there for the copy to succeed.
        attempt_unpack: whether an archive is unpacked.
        create_dest_path: whether missing directories above the destination are made.
        allow_wildcard: whether the source path may hold wildcards.
        allow_empty_wildcard: whether they may match nothing.
        chown_opt: the owner; its own unless given.
        created_time: the modification time; its own unless given.
        always_replace_existing_dest_paths: whether something of another kind at the destination is replaced.
    """

    mode: ChmodOpt | None = None
    follow_symlinks: bool = False
    copy_dir_contents_only: bool = False
    include_patterns: Sequence[str] = ()
    exclude_patterns: Sequence[str] = ()
    required_paths: Sequence[str] = ()
    attempt_unpack: bool = False
    create_dest_path: bool = False
    allow_wildcard: bool = False
    allow_empty_wildcard: bool = False
    chown_opt: ChownOpt | None = None
    created_time: CreatedTime | None = None
    always_replace_existing_dest_paths: bool = False

    def set_copy_option(self, info: CopyInfo) -> CopyInfo:
        """Take these options of `copy` in place of all earlier ones."""
        return self


class MkdirOption(Protocol):
    """What `mkdir` takes."""

    def set_mkdir_option(self, info: MkdirInfo, /) -> MkdirInfo:
        """The options of one `mkdir` with this one."""


class MkfileOption(Protocol):
    """What `mkfile` takes."""

    def set_mkfile_option(self, info: MkfileInfo, /) -> MkfileInfo:
        """The options of one `mkfile` with this one."""


class SymlinkOption(Protocol):
    """What `symlink` takes."""

    def set_symlink_option(self, info: SymlinkInfo, /) -> SymlinkInfo:
        """The options of one `symlink` with this one."""


class RmOption(Protocol):
    """What `rm` takes."""

    def set_rm_option(self, info: RmInfo, /) -> RmInfo:
        """The options of one `rm` with this one."""


class CopyOption(Protocol):
    """What `copy` takes."""

    def set_copy_option(self, info: CopyInfo, /) -> CopyInfo:
        """The options of one `copy` with this one."""


@dataclass(frozen=True, slots=True)
class _Mkdir:
    """An option of mkdir made from a function."""

    change: Callable[[MkdirInfo], MkdirInfo]
    text: str

    def __repr__(self) -> str:
        return self.text

    def set_mkdir_option(self, info: MkdirInfo) -> MkdirInfo:
        """The options of one `mkdir` with this one."""
        return self.change(info)


@dataclass(frozen=True, slots=True)
class _Rm:
    """An option of rm made from a function."""

    change: Callable[[RmInfo], RmInfo]
    text: str

    def __repr__(self) -> str:
        return self.text

    def set_rm_option(self, info: RmInfo) -> RmInfo:
        """The options of one `rm` with this one."""
        return self.change(info)


@dataclass(frozen=True, slots=True)
class _Exclude:
    patterns: tuple[str, ...]

    def __repr__(self) -> str:
        return f"llb.with_exclude_patterns({list(self.patterns)!r})"

    def set_copy_option(self, info: CopyInfo) -> CopyInfo:
        """The options of one `copy` with this one."""
        return dataclasses.replace(info, exclude_patterns=(*info.exclude_patterns, *self.patterns))


def with_parents(enabled: bool) -> MkdirOption:
    """Whether `mkdir` makes missing directories above, and takes one that is there."""
    return _Mkdir(lambda info: dataclasses.replace(info, make_parents=enabled), f"llb.with_parents({enabled})")


def with_allow_not_found(enabled: bool) -> RmOption:
    """Whether `rm` takes it that nothing is there."""
    return _Rm(lambda info: dataclasses.replace(info, allow_not_found=enabled), f"llb.with_allow_not_found({enabled})")


def with_allow_wildcard(enabled: bool) -> RmOption:
    """Whether the path of `rm` may hold wildcards."""
    return _Rm(lambda info: dataclasses.replace(info, allow_wildcard=enabled), f"llb.with_allow_wildcard({enabled})")


def with_exclude_patterns(patterns: Sequence[str]) -> CopyOption:
    """Leave out of a copy what matches; adds to the patterns given before."""
    return _Exclude(tuple(patterns))


def with_user(name: str) -> ChownOpt:
    """The owner as "USER", "USER:GROUP" or ":GROUP", each a number, a name, or "root"."""
    user, colon, group = name.partition(":")
    return ChownOpt(user=_user(user), group=_user(group) if colon else None)


def _user(text: str) -> UserOpt:
    if text == "root":
        return UserOpt(uid=0)
    digits = text[1:] if text[:1] in ("+", "-") else text
    if digits.isascii() and digits.isdigit() and -(1 << 31) <= int(text) < 1 << 31:
        return UserOpt(uid=int(text))
    return UserOpt(name=text)


def with_uid_gid(uid: int, gid: int) -> ChownOpt:
    """The owner by numbers."""
    return ChownOpt(user=UserOpt(uid=uid), group=UserOpt(uid=gid))


def with_created_time(time: datetime | int) -> CreatedTime:
    """The modification time: a datetime (a naive one is UTC), or nanoseconds since 1970."""
    if isinstance(time, int):
        return CreatedTime(time)
    delta = (time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH
    return CreatedTime((delta.days * 86400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000)
