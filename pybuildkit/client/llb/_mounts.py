"""Mounts, secrets, ssh sockets and devices of a command: their values and options.

Mirrors the option types of client/llb/exec.go, v0.32.2.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, ParamSpec

from pybuildkit.client.llb._option import Option, apply_options, maker
from pybuildkit.solver.pb import ops_pb2

if TYPE_CHECKING:
    from pybuildkit.client.llb._vertex import Output

_P = ParamSpec("_P")


class CacheMountSharingMode(enum.IntEnum):
    """What happens when two commands want one cache directory at once."""

    SHARED = 0
    PRIVATE = 1
    LOCKED = 2


class MountContentCache(enum.IntEnum):
    """Whether a mount's content, rather than its definition, decides about the cache."""

    DEFAULT = 0
    ON = 1
    OFF = 2


CACHE_MOUNT_SHARED: Final = CacheMountSharingMode.SHARED
CACHE_MOUNT_PRIVATE: Final = CacheMountSharingMode.PRIVATE
CACHE_MOUNT_LOCKED: Final = CacheMountSharingMode.LOCKED
MOUNT_CONTENT_CACHE_DEFAULT: Final = MountContentCache.DEFAULT
MOUNT_CONTENT_CACHE_ON: Final = MountContentCache.ON
MOUNT_CONTENT_CACHE_OFF: Final = MountContentCache.OFF

CACHE_SHARING: Final = {
    CacheMountSharingMode.SHARED: ops_pb2.CacheSharingOpt.SHARED,
    CacheMountSharingMode.PRIVATE: ops_pb2.CacheSharingOpt.PRIVATE,
    CacheMountSharingMode.LOCKED: ops_pb2.CacheSharingOpt.LOCKED,
}
CONTENT_CACHE: Final = {
    MountContentCache.DEFAULT: ops_pb2.MountContentCache.DEFAULT,
    MountContentCache.ON: ops_pb2.MountContentCache.ON,
    MountContentCache.OFF: ops_pb2.MountContentCache.OFF,
}
_UINT32: Final = 0xFFFF_FFFF


class Mount:
    """One mount of an exec op; mount options change it while it is made."""

    __slots__ = (
        "cache_id",
        "cache_sharing",
        "content_cache",
        "no_output",
        "output",
        "readonly",
        "selector",
        "source",
        "target",
        "tmpfs",
        "tmpfs_size",
    )

    def __init__(self, target: str, source: Output | None) -> None:
        self.target = target
        self.source = source
        self.output: Output | None = None
        self.readonly = False
        self.selector = ""
        self.cache_id = ""
        self.cache_sharing = CacheMountSharingMode.SHARED
        self.tmpfs = False
        self.tmpfs_size = 0
        self.no_output = False
        self.content_cache = MountContentCache.DEFAULT

    @property
    def has_output(self) -> bool:
        """Whether the mounted tree after the command can be used."""
        return not (self.no_output or self.readonly or self.tmpfs or self.cache_id)


MountOption = Callable[[Mount], None]


@dataclass(frozen=True, slots=True)
class MountInfo:
    """A mount that `run` was asked for."""

    target: str
    source: Output | None
    options: tuple[MountOption, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ProxyEnv:
    """Proxies for a command; they do not change its digest's environment."""

    http_proxy: str = ""
    https_proxy: str = ""
    ftp_proxy: str = ""
    no_proxy: str = ""
    all_proxy: str = ""

    def to_pb(self) -> ops_pb2.ProxyEnv:
        """The proxies as a message."""
        return ops_pb2.ProxyEnv(
            http_proxy=self.http_proxy,
            https_proxy=self.https_proxy,
            ftp_proxy=self.ftp_proxy,
            no_proxy=self.no_proxy,
            all_proxy=self.all_proxy,
        )


@dataclass(kw_only=True, slots=True)
class TmpfsInfo:
    """A file system in memory; `size` in bytes, 0 for no limit."""

    size: int = 0


@dataclass(kw_only=True, slots=True)
class SecretInfo:
    """A secret of a command: as a file at `target`, in the variable `env`, or both."""

    id: str
    target: str | None = None
    env: str | None = None
    mode: int = 0o400
    uid: int = 0
    gid: int = 0
    optional: bool = False

    def to_pb(self) -> ops_pb2.SecretOpt:
        """The secret's file as a message."""
        return ops_pb2.SecretOpt(
            ID=self.id,
            uid=self.uid & _UINT32,
            gid=self.gid & _UINT32,
            mode=self.mode & _UINT32,
            optional=self.optional,
        )


@dataclass(kw_only=True, slots=True)
class SSHInfo:
    """An ssh agent's socket in a command's container."""

    id: str = ""
    target: str = ""
    mode: int = 0o600
    uid: int = 0
    gid: int = 0
    optional: bool = False

    def to_pb(self) -> ops_pb2.SSHOpt:
        """The socket as a message."""
        return ops_pb2.SSHOpt(
            ID=self.id,
            uid=self.uid & _UINT32,
            gid=self.gid & _UINT32,
            mode=self.mode & _UINT32,
            optional=self.optional,
        )


@dataclass(kw_only=True, slots=True)
class CDIDeviceInfo:
    """A device by its name in the Container Device Interface."""

    name: str = ""
    optional: bool = False


class TmpfsOption(Option[TmpfsInfo]):
    """An option of `tmpfs`."""

    __slots__ = ()

    def set_tmpfs_option(self, info: TmpfsInfo) -> None:
        """Change the options of one `tmpfs`."""
        self._apply(info)


class SecretOption(Option[SecretInfo]):
    """An option of `add_secret`."""

    __slots__ = ()

    def set_secret_option(self, info: SecretInfo) -> None:
        """Change the options of one `add_secret`."""
        self._apply(info)


class SSHOption(Option[SSHInfo]):
    """An option of `add_ssh_socket`."""

    __slots__ = ()

    def set_ssh_option(self, info: SSHInfo) -> None:
        """Change the options of one `add_ssh_socket`."""
        self._apply(info)


class CDIDeviceOption(Option[CDIDeviceInfo]):
    """An option of `add_cdi_device`."""

    __slots__ = ()

    def set_cdi_device_option(self, info: CDIDeviceInfo) -> None:
        """Change the options of one `add_cdi_device`."""
        self._apply(info)


def _tmpfs(make: Callable[_P, Callable[[TmpfsInfo], None]]) -> Callable[_P, TmpfsOption]:
    return maker(TmpfsOption, make)


def _secret(make: Callable[_P, Callable[[SecretInfo], None]]) -> Callable[_P, SecretOption]:
    return maker(SecretOption, make)


def _ssh(make: Callable[_P, Callable[[SSHInfo], None]]) -> Callable[_P, SSHOption]:
    return maker(SSHOption, make)


def _cdi(make: Callable[_P, Callable[[CDIDeviceInfo], None]]) -> Callable[_P, CDIDeviceOption]:
    return maker(CDIDeviceOption, make)


def readonly(mount: Mount) -> None:
    """Mount option: the command cannot change the tree."""
    mount.readonly = True


def force_no_output(mount: Mount) -> None:
    """Mount option: what the command changes in the tree is thrown away."""
    mount.no_output = True


def source_path(path: str) -> MountOption:
    """Mount only what is at this path of the tree."""

    def change(mount: Mount) -> None:
        mount.selector = path

    return change


def content_cache(mode: MountContentCache) -> MountOption:
    """Whether the tree's content decides about the cache."""

    def change(mount: Mount) -> None:
        mount.content_cache = mode

    return change


def as_persistent_cache_dir(id: str, sharing: CacheMountSharingMode) -> MountOption:
    """Mount a directory that outlives the build.

    Args:
        id: the directory's name at the daemon.
        sharing: what happens when two commands want it at once.
    """

    def change(mount: Mount) -> None:
        mount.cache_id = id
        mount.cache_sharing = sharing

    return change


def tmpfs(*options: TmpfsOption) -> MountOption:
    """Mount an empty file system in memory; the mounted state must be scratch."""
    info = TmpfsInfo()
    apply_options(options, "set_tmpfs_option", info, "tmpfs")

    def change(mount: Mount) -> None:
        mount.tmpfs = True
        mount.tmpfs_size = info.size

    return change


@_tmpfs
def tmpfs_size(size: int) -> Callable[[TmpfsInfo], None]:
    """The most bytes that the file system holds."""

    def change(info: TmpfsInfo) -> None:
        info.size = size

    return change


def _make_ssh_optional(info: SSHInfo) -> None:
    info.optional = True


ssh_optional: Final = SSHOption(_make_ssh_optional).as_constant("ssh_optional")
"""Run the command without the socket where the client offers none."""


@_ssh
def ssh_id(id: str) -> Callable[[SSHInfo], None]:
    """The name under which the client offers the agent."""

    def change(info: SSHInfo) -> None:
        info.id = id

    return change


@_ssh
def ssh_socket_target(target: str) -> Callable[[SSHInfo], None]:
    """Where in the container the socket is."""

    def change(info: SSHInfo) -> None:
        info.target = target

    return change


@_ssh
def ssh_socket_opt(target: str, uid: int, gid: int, mode: int) -> Callable[[SSHInfo], None]:
    """Where the socket is, and its owner and permissions."""

    def change(info: SSHInfo) -> None:
        info.target, info.uid, info.gid, info.mode = target, uid, gid, mode

    return change


def _make_secret_optional(info: SecretInfo) -> None:
    info.optional = True


secret_optional: Final = SecretOption(_make_secret_optional).as_constant("secret_optional")
"""Run the command without the secret where the client has none."""


@_secret
def secret_id(id: str) -> Callable[[SecretInfo], None]:
    """The name under which the client offers the secret."""

    def change(info: SecretInfo) -> None:
        info.id = id

    return change


@_secret
def secret_as_env(enabled: bool) -> Callable[[SecretInfo], None]:
    """Whether the secret's destination is the name of a variable instead of a file."""

    def change(info: SecretInfo) -> None:
        if not enabled:
            info.env = None
        elif info.target is not None:
            info.env, info.target = info.target, None

    return change


@_secret
def secret_as_env_name(name: str) -> Callable[[SecretInfo], None]:
    """Put the secret into this variable too."""

    def change(info: SecretInfo) -> None:
        info.env = name

    return change


@_secret
def secret_file_opt(uid: int, gid: int, mode: int) -> Callable[[SecretInfo], None]:
    """The owner and permissions of the secret's file."""

    def change(info: SecretInfo) -> None:
        info.uid, info.gid, info.mode = uid, gid, mode

    return change


def _make_device_optional(info: CDIDeviceInfo) -> None:
    info.optional = True


cdi_device_optional: Final = CDIDeviceOption(_make_device_optional).as_constant("cdi_device_optional")
"""Run the command without the device where the daemon has none."""


@_cdi
def cdi_device_name(name: str) -> Callable[[CDIDeviceInfo], None]:
    """The device's full name, such as "vendor.com/gpu=0"."""

    def change(info: CDIDeviceInfo) -> None:
        info.name = name

    return change
