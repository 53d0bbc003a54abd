"""Options of `State.run` that are not constraints.

Mirrors the RunOption values of client/llb/exec.go, v0.32.2.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec

from pybuildkit.client.llb import _gofmt, _meta
from pybuildkit.client.llb._exec import ExecInfo
from pybuildkit.client.llb._mounts import (
    CDIDeviceInfo,
    CDIDeviceOption,
    MountInfo,
    MountOption,
    ProxyEnv,
    SecretInfo,
    SecretOption,
    SSHInfo,
    SSHOption,
)
from pybuildkit.client.llb._option import Option, apply_options, maker
from pybuildkit.third_party import shlex as _shlex

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from pybuildkit.client.llb._state import State

_P = ParamSpec("_P")
_Change = Callable[[ExecInfo], None]


class ExecOption(Option[ExecInfo]):
    """An option of `State.run`."""

    __slots__ = ()

    def set_run_option(self, info: ExecInfo) -> None:
        """Change the options of one `run`."""
        self._apply(info)


def run_option(make: Callable[_P, _Change]) -> Callable[_P, ExecOption]:
    """Turn a function that returns a change to a run into one that returns an option."""
    return maker(ExecOption, make)


def _set(key: str, value: object) -> _Change:
    def change(info: ExecInfo) -> None:
        info.state = info.state._set(key, value)

    return change


def _words(command: str) -> tuple[str, ...]:
    """The words of a command; as in BuildKit, what ends inside quotes is left off, but not without a warning."""
    try:
        return tuple(_shlex.split(command))
    except _shlex.ShlexError as err:
        words = _words_before_error(command)
        warnings.warn(f"{err} in {command!r}: the command is cut to {words!r}", stacklevel=4)
        return words


def _words_before_error(command: str) -> tuple[str, ...]:
    for end in range(len(command) - 1, 0, -1):
        if command[end] in " \t\r\n":
            try:
                return tuple(_shlex.split(command[:end]))
            except _shlex.ShlexError:
                continue
    return ()


@run_option
def shlex(command: str) -> _Change:
    """The command, split into words as a shell would, but without expanding anything."""
    return _set(_meta.KEY_ARGS, _words(command))


@run_option
def shlexf(format: str, *args: _gofmt.Arg) -> _Change:
    """`shlex` of a Go format and its arguments."""
    return _set(_meta.KEY_ARGS, _words(_gofmt.sprintf(format, *args)))


@run_option
def args(args: Sequence[str]) -> _Change:
    """The command as words."""
    if isinstance(args, str):
        raise TypeError(f"args() takes the words of a command, not one string: did you mean shlex({args!r})?")
    return _set(_meta.KEY_ARGS, tuple(args))


@run_option
def valid_exit_codes(*codes: int) -> _Change:
    """The exit codes with which the command counts as done; 0 alone unless given."""
    return _set(_meta.KEY_VALID_EXIT_CODES, codes)


@run_option
def add_extra_host(host: str, ip: str | IPv4Address | IPv6Address) -> _Change:
    """Add a name to the container's hosts file."""

    def change(info: ExecInfo) -> None:
        info.state = info.state.add_extra_host(host, ip)

    return change


@run_option
def add_ulimit(name: str, soft: int, hard: int) -> _Change:
    """Add a resource limit; -1 for none."""

    def change(info: ExecInfo) -> None:
        info.state = info.state.add_ulimit(name, soft, hard)

    return change


@run_option
def with_cgroup_parent(parent: str) -> _Change:
    """The control group above the container."""
    return _set(_meta.KEY_CGROUP_PARENT, parent)


@run_option
def with_(*options: Callable[[State], State]) -> _Change:
    """Change the state for this command alone."""

    def change(info: ExecInfo) -> None:
        info.state = info.state.with_(*options)

    return change


@run_option
def add_mount(target: str, state: State, *options: MountOption) -> _Change:
    """Mount a tree at a path of the container."""

    def change(info: ExecInfo) -> None:
        info.mounts.append(MountInfo(target, state.output(), options))

    return change


@run_option
def add_ssh_socket(*options: SSHOption) -> _Change:
    """Offer an ssh agent of the client to the command."""
    socket = SSHInfo()
    apply_options(options, "set_ssh_option", socket, "add_ssh_socket")

    def change(info: ExecInfo) -> None:
        info.ssh.append(dataclasses.replace(socket))

    return change


def _add_secret(secret: SecretInfo, options: tuple[SecretOption, ...], taker: str) -> _Change:
    apply_options(options, "set_secret_option", secret, taker)

    def change(info: ExecInfo) -> None:
        info.secrets.append(dataclasses.replace(secret))

    return change


@run_option
def add_secret(target: str, *options: SecretOption) -> _Change:
    """Offer a secret of the client to the command, as the file `target`; its name is `target` unless `secret_id`."""
    return _add_secret(SecretInfo(id=target, target=target), options, "add_secret")


@run_option
def add_secret_with_dest(id: str, target: str | None, *options: SecretOption) -> _Change:
    """Offer a secret of the client to the command, as the file `target` if there is one."""
    return _add_secret(SecretInfo(id=id, target=target), options, "add_secret_with_dest")


@run_option
def add_cdi_device(*options: CDIDeviceOption) -> _Change:
    """Give a device of the daemon's machine to the command."""
    device = CDIDeviceInfo()
    apply_options(options, "set_cdi_device_option", device, "add_cdi_device")

    def change(info: ExecInfo) -> None:
        info.cdi_devices.append(dataclasses.replace(device))

    return change


@run_option
def readonly_root_fs() -> _Change:
    """The command cannot change its root tree."""

    def change(info: ExecInfo) -> None:
        info.readonly_root_fs = True

    return change


@run_option
def with_proxy(proxies: ProxyEnv) -> _Change:
    """Set the proxy variables of the command."""

    def change(info: ExecInfo) -> None:
        info.proxy_env = proxies

    return change
