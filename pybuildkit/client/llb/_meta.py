"""What a state knows beside its tree: environment, working directory, user, network and the like.

Each value has a key; setting one makes a new state. A value that builds on the earlier one (an added variable, a
relative directory) is computed at once, unless the earlier one belongs to an asynchronous state: then it is kept as
a `Deferred` and computed when that state is resolved.

Mirrors client/llb/meta.go, v0.32.2. Differs: an option for a relative directory can be used for many states (Go's
keeps the first answer).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, ParamSpec, TypeAlias

from pybuildkit.client.llb import _gofmt
from pybuildkit.client.llb._constraints import Constraints
from pybuildkit.client.llb._errors import PendingError
from pybuildkit.golang.errors import wrap
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.util.system import join

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from pybuildkit.client.llb._async import AsyncState
    from pybuildkit.client.llb._exec import ExecInfo
    from pybuildkit.client.llb._state import State

_P = ParamSpec("_P")

KEY_ARGS: Final = "llb.exec.args"
KEY_DIR: Final = "llb.exec.dir"
KEY_ENV: Final = "llb.exec.env"
KEY_EXTRA_HOST: Final = "llb.exec.extrahost"
KEY_HOSTNAME: Final = "llb.exec.hostname"
KEY_ULIMIT: Final = "llb.exec.ulimit"
KEY_CGROUP_PARENT: Final = "llb.exec.cgroup.parent"
KEY_USER: Final = "llb.exec.user"
KEY_VALID_EXIT_CODES: Final = "llb.exec.validexitcodes"
KEY_PLATFORM: Final = "llb.platform"
KEY_NETWORK: Final = "llb.network"
KEY_SECURITY: Final = "llb.security"


class Deferred:
    """A value on top of one that an asynchronous state will have."""

    __slots__ = ("_apply", "_base", "_key", "_known", "_previous", "_value")

    def __init__(
        self, base: AsyncState, previous: Deferred | None, key: str, apply: Callable[[object], object]
    ) -> None:
        self._base = base
        self._previous = previous
        self._key = key
        self._apply = apply
        self._known = False
        self._value: object = None

    @property
    def base(self) -> AsyncState:
        """The asynchronous state below."""
        return self._base

    def value(self, constraints: Constraints) -> object:
        """The value.

        Raises:
            PendingError: the state below must be resolved first.
        """
        chain: list[Deferred] = []
        found: object = self
        while isinstance(found, Deferred) and not found._known:
            chain.append(found)
            found = found._previous if found._previous is not None else self._below(found, constraints, len(chain))
        value = found._value if isinstance(found, Deferred) else found
        for each in reversed(chain):
            value = each._value = each._apply(value)
            each._known = True
        return value

    def _below(self, lowest: Deferred, constraints: Constraints, depth: int) -> object:
        """What the asynchronous state below has: a value, a deferred one, or None."""
        try:
            return lowest._base.target(constraints).raw(self._key, constraints)
        except PendingError:
            raise
        except Exception as err:
            if self._key != KEY_DIR:
                raise
            wrapped: Exception = err
            for _ in range(depth):
                wrapped = wrap(wrapped, "getting dir from state")
            raise wrapped from err


class EnvList:
    """Environment variables in order; immutable, each change makes a new list.

    A variable stands where it was last set. The lists share their contents, so adding one costs the same however
    many there are.
    """

    __slots__ = ("_array", "_deleted", "_key", "_parent", "_value", "_values")

    def __init__(self, parent: EnvList | None = None, key: str = "", value: str = "", *, deleted: bool = False) -> None:
        self._parent = parent
        self._key = key
        self._value = value
        self._deleted = deleted
        self._values: dict[str, str] | None = None
        self._array: list[str] | None = None

    def __repr__(self) -> str:
        return f"EnvList({self.to_array()!r})"

    def add_or_replace(self, key: str, value: str) -> EnvList:
        """The list with the variable at its end."""
        return EnvList(self, key, value)

    def set_default(self, key: str, value: str) -> EnvList:
        """The list with the variable at its end, unless it has the variable."""
        return self if self.get(key) is not None else self.add_or_replace(key, value)

    def delete(self, key: str) -> EnvList:
        """The list without the variable."""
        return EnvList(self, key, deleted=True)

    def _make_values(self) -> dict[str, str]:
        if self._values is None:
            newest_first: dict[str, str] = {}
            deleted = set()
            node = self
            while node._parent is not None:
                if node._deleted:
                    if node._key not in newest_first:
                        deleted.add(node._key)
                elif node._key not in newest_first and node._key not in deleted:
                    newest_first[node._key] = node._value
                node = node._parent
            self._values = dict(reversed(newest_first.items()))
        return self._values

    def get(self, key: str) -> str | None:
        """The variable's value, or None."""
        return self._make_values().get(key)

    def keys(self) -> list[str]:
        """The variables' names in order."""
        return list(self._make_values())

    def to_array(self) -> list[str]:
        """`NAME=VALUE` for each variable, in order. The list is shared: leave it as it is."""
        if self._array is None:
            self._array = [f"{key}={value}" for key, value in self._make_values().items()]
        return self._array


EMPTY_ENV: Final = EnvList()


@dataclass(frozen=True, slots=True)
class HostIP:
    """A name in a container's hosts file."""

    host: str
    ip: str


class UlimitName(str):
    """The name of a resource limit, such as "nofile"."""

    __slots__ = ()


ULIMIT_CORE: Final = UlimitName("core")
ULIMIT_CPU: Final = UlimitName("cpu")
ULIMIT_DATA: Final = UlimitName("data")
ULIMIT_FSIZE: Final = UlimitName("fsize")
ULIMIT_LOCKS: Final = UlimitName("locks")
ULIMIT_MEMLOCK: Final = UlimitName("memlock")
ULIMIT_MSGQUEUE: Final = UlimitName("msgqueue")
ULIMIT_NICE: Final = UlimitName("nice")
ULIMIT_NOFILE: Final = UlimitName("nofile")
ULIMIT_NPROC: Final = UlimitName("nproc")
ULIMIT_RSS: Final = UlimitName("rss")
ULIMIT_RTPRIO: Final = UlimitName("rtprio")
ULIMIT_RTTIME: Final = UlimitName("rttime")
ULIMIT_SIGPENDING: Final = UlimitName("sigpending")
ULIMIT_STACK: Final = UlimitName("stack")

NetMode: TypeAlias = ops_pb2.NetMode.ValueType
NET_MODE_SANDBOX: Final = ops_pb2.UNSET
NET_MODE_HOST: Final = ops_pb2.HOST
NET_MODE_NONE: Final = ops_pb2.NONE

SecurityMode: TypeAlias = ops_pb2.SecurityMode.ValueType
SECURITY_MODE_SANDBOX: Final = ops_pb2.SANDBOX
SECURITY_MODE_INSECURE: Final = ops_pb2.INSECURE


@dataclass(frozen=True, kw_only=True, slots=True)
class LinuxResources:
    """Limits of a container.

    Attributes:
        memory: bytes.
        memory_swap: bytes of memory and swap together, -1 for no limit.
        cpu_shares: weight against other containers.
        cpu_period: microseconds.
        cpu_quota: microseconds in each period.
        cpuset_cpus: processors, such as "0-3".
        cpuset_mems: memory nodes, such as "0,1".
    """

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""

    def to_pb(self) -> ops_pb2.LinuxResources:
        """The limits as a message."""
        return ops_pb2.LinuxResources(
            memory=self.memory,
            memorySwap=self.memory_swap,
            cpuShares=self.cpu_shares,
            cpuPeriod=self.cpu_period,
            cpuQuota=self.cpu_quota,
            cpusetCpus=self.cpuset_cpus,
            cpusetMems=self.cpuset_mems,
        )


class StateOption:
    """A change to a state: call it, hand it to `State.with_`, or to `State.run` for that command alone."""

    __slots__ = ("_change", "_text")

    def __init__(self, change: Callable[[State], State], text: str) -> None:
        self._change = change
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __call__(self, state: State) -> State:
        """The changed state."""
        return self._change(state)

    def set_run_option(self, info: ExecInfo) -> None:
        """Change the options of one `run`."""
        info.state = self._change(info.state)


def state_option(make: Callable[_P, Callable[[State], State]]) -> Callable[_P, StateOption]:
    """Turn a function that returns a change to a state into one that returns an option."""

    @functools.wraps(make)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> StateOption:
        parts = [repr(arg) for arg in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
        return StateOption(make(*args, **kwargs), f"llb.{make.__name__}({', '.join(parts)})")

    return call


@state_option
def add_env(key: str, value: str) -> Callable[[State], State]:
    """Set an environment variable."""
    return lambda state: state.add_env(key, value)


@state_option
def add_envf(key: str, format: str, *args: _gofmt.Arg) -> Callable[[State], State]:
    """Set an environment variable to a Go format with its arguments."""
    return lambda state: state.add_envf(key, format, *args)


@state_option
def dir(path: str) -> Callable[[State], State]:
    """Set the working directory; a relative one is below the current one."""
    return lambda state: state.dir(path)


@state_option
def dirf(format: str, *args: _gofmt.Arg) -> Callable[[State], State]:
    """Set the working directory to a Go format with its arguments."""
    return lambda state: state.dirf(format, *args)


@state_option
def user(name: str) -> Callable[[State], State]:
    """Set the user of commands."""
    return lambda state: state.user(name)


@state_option
def reset(other: State) -> Callable[[State], State]:
    """Take over everything but the tree from another state."""
    return lambda state: state.reset(other)


@state_option
def hostname(name: str) -> Callable[[State], State]:
    """Set the host name of containers."""
    return lambda state: state.hostname(name)


@state_option
def network(mode: NetMode) -> Callable[[State], State]:
    """Set the network of containers: NET_MODE_SANDBOX, NET_MODE_HOST or NET_MODE_NONE."""
    return lambda state: state.network(mode)


@state_option
def security(mode: SecurityMode) -> Callable[[State], State]:
    """Set the security mode of containers: SECURITY_MODE_SANDBOX or SECURITY_MODE_INSECURE."""
    return lambda state: state.security(mode)


def ip_text(ip: str | IPv4Address | IPv6Address) -> str:
    """The address as Go prints it.

    Raises:
        ValueError: for a text that is no address.
    """
    import ipaddress

    address = ipaddress.ip_address(ip) if isinstance(ip, str) else ip
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def joined_dir(path: str) -> Callable[[object], object]:
    """How the working directory changes to a relative path."""

    def change(current: object) -> object:
        return join(current if isinstance(current, str) and current else "/", path)

    return change
