"""States: a tree that a build will make, and what commands in it would see.

A state is immutable. Every method gives a new one: `image("alpine").dir("/src").run(shlex("make")).root()`. Nothing
happens until the state is marshalled into a definition and a daemon solves that.

    out       the output that holds the tree; None for scratch
    values    environment, directory and so on, by key; most are plain values
    base      the asynchronous state, if any, that knows what `values` does not

Mirrors State of client/llb/state.go, v0.32.2. Methods that ask a state for a value are coroutines, because an
asynchronous state may have to be resolved; `run_sync` asks where none is.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pybuildkit.client.llb import _gofmt, _meta
from pybuildkit.client.llb._async import AsyncState, drive, run_sync
from pybuildkit.client.llb._constraints import Constraints, ConstraintsOpt, constraints_of
from pybuildkit.client.llb._errors import OptionError
from pybuildkit.client.llb._meta import Deferred, EnvList, HostIP, NetMode, SecurityMode
from pybuildkit.client.llb._option import describe
from pybuildkit.golang.context import Context, background
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party.platforms import Platform, normalize

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from pybuildkit.client.llb._definition import Definition
    from pybuildkit.client.llb._exec import ExecState, RunOption
    from pybuildkit.client.llb._fileop import FileAction
    from pybuildkit.client.llb._vertex import Output

_T = TypeVar("_T")
AsyncFunc = Callable[[Context, "State", Constraints], "State | Awaitable[State]"]


class State:
    """A tree that a build will make; see the module."""

    __slots__ = ("_base", "_defaults", "_out", "_values")

    def __init__(
        self,
        out: Output | None,
        values: dict[str, object],
        base: AsyncState | None = None,
        defaults: tuple[ConstraintsOpt, ...] = (),
    ) -> None:
        self._out = out
        self._values = values
        self._base = base
        self._defaults = defaults

    def __repr__(self) -> str:
        what = "scratch" if self._out is None else repr(self._out).removeprefix("<output of ").rstrip(">").lstrip("<")
        where = self._values.get(_meta.KEY_DIR)
        return f"<State {what}{f' in {where}' if isinstance(where, str) and where != '/' else ''}>"

    # What a state is

    def output(self) -> Output | None:
        """The output that holds the tree, None for scratch."""
        return self._out

    @property
    def marshal_defaults(self) -> tuple[ConstraintsOpt, ...]:
        """The options that `marshal` begins with."""
        return self._defaults

    def lookup(self, key: str, constraints: Constraints) -> object:
        """The value of a key, or None.

        Raises:
            PendingError: an asynchronous state below must be resolved first.
        """
        value = self.raw(key, constraints)
        return value.value(constraints) if isinstance(value, Deferred) else value

    def raw(self, key: str, constraints: Constraints) -> object:
        """The value of a key as it is kept: perhaps deferred."""
        state = self
        while True:
            value = state._values.get(key)
            if value is not None or state._base is None or key in state._values:
                return value
            state = state._base.target(constraints)

    def values(self, constraints: Constraints) -> Mapping[str, object]:
        """All values by key; leave the mapping as it is.

        Raises:
            PendingError: an asynchronous state below must be resolved first.
        """
        if self._base is None:
            return self._values
        layers: list[Mapping[str, object]] = []
        state: State | None = self
        while state is not None:
            layers.append(state._values)
            state = state._base.target(constraints) if state._base is not None else None
        known: dict[str, object] = {}
        for layer in reversed(layers):
            for key, value in layer.items():
                known[key] = value.value(constraints) if type(value) is Deferred else value
        return known

    async def _get(self, ctx: Context, key: str, opts: tuple[ConstraintsOpt, ...]) -> object:
        constraints = constraints_of(opts, "this")
        return await drive(ctx, lambda: self.lookup(key, constraints))

    # Making new states

    def _set(self, key: str, value: object) -> State:
        return State(self._out, {**self._values, key: value}, self._base)

    def _update(self, key: str, change: Callable[[object], object]) -> State:
        current = self._values.get(key)
        if isinstance(current, Deferred):
            return self._set(key, Deferred(current.base, current, key, change))
        if current is None and self._base is not None:
            return self._set(key, Deferred(self._base, None, key, change))
        return self._set(key, change(current))

    def with_value(self, key: str, value: object) -> State:
        """A state with a value of the caller's own under a key; `value` reads it."""
        return self._set(key, value)

    async def value(self, ctx: Context, key: str, *opts: ConstraintsOpt) -> object:
        """The value under a key, or None."""
        return await self._get(ctx, key, opts)

    def with_output(self, output: Output | None) -> State:
        """A state with another tree and everything else as it is."""
        values = self._values
        platform = getattr(output, "platform", None)
        if isinstance(platform, Platform):
            values = {**values, _meta.KEY_PLATFORM: normalize(platform)}
        return State(output, values, self._base)

    def async_(self, make: AsyncFunc) -> State:
        """A state that a function makes when the graph is marshalled.

        Args:
            make: called once as `make(ctx, this state, constraints)`; may be a coroutine function. Its error is the
                marshal's error.
        """
        unresolved = AsyncState(make, self)
        return State(unresolved, {}, unresolved)

    def with_(self, *options: Callable[[State], State]) -> State:
        """The state after each change: options such as `llb.dir("/x")`, or functions from state to state."""
        state = self
        for option in options:
            if not callable(option):
                raise OptionError(f"with_() does not take {describe(option)}")
            state = option(state)
        return state

    def reset(self, other: State) -> State:
        """A state with this one's tree, and everything else from `other`."""
        fresh = new_state(self._out)
        key = _meta.KEY_PLATFORM if _meta.KEY_PLATFORM in fresh._values else _meta.KEY_DIR
        return State(fresh._out, {**other._values, key: fresh._values[key]}, other._base)

    def with_image_config(self, config: bytes) -> State:
        """A state with the environment, directory and platform of an image's configuration (JSON).

        Raises:
            ValueError: the configuration is no JSON object.
        """
        image = json.loads(config)
        if not isinstance(image, dict):
            raise ValueError("image config is not a JSON object")
        inner = image.get("config") or {}
        state = self
        for entry in inner.get("Env") or ():
            key, _, value = entry.partition("=")
            if key:
                state = state.add_env(key, value)
        state = state.dir(inner.get("WorkingDir") or "")
        if image.get("architecture") and image.get("os"):
            state = state.platform(
                Platform(
                    os=image["os"],
                    architecture=image["architecture"],
                    variant=image.get("variant") or "",
                    os_version=image.get("os.version") or "",
                    os_features=tuple(image.get("os.features") or ()),
                )
            )
        return state

    def requires(self, id: str, *deps: State) -> State:
        """A state with this tree that is not ready before the others are, which it does not contain."""
        if not deps:
            return self
        from pybuildkit.client.llb._passthrough import PassthroughInput, PassthroughOp

        inputs = [PassthroughInput(state=self, output=True), *(PassthroughInput(state=dep) for dep in deps)]
        return self.with_output(PassthroughOp(id, inputs).output())

    # Ops

    def run(self, *options: RunOption) -> ExecState:
        """Run a command in a container with this tree as its root.

        Args:
            options: the command (`shlex`, `args`), mounts, and whatever else holds for this command alone.

        Returns:
            the command's state: `root()` is the changed tree, `add_mount` the tree of a mount.
        """
        from pybuildkit.client.llb._exec import run

        return run(self, options)

    def file(self, action: FileAction, *opts: ConstraintsOpt) -> State:
        """Apply file actions (`mkdir`, `mkfile`, `copy`, `rm`, `symlink`, chained) to this tree."""
        from pybuildkit.client.llb._fileop import FileOp

        return self.with_output(FileOp(self, action, constraints_of(opts, "file")).output())

    # Values

    def add_env(self, key: str, value: str) -> State:
        """Set an environment variable."""

        def change(env: object) -> object:
            return (env if isinstance(env, EnvList) else _meta.EMPTY_ENV).add_or_replace(key, value)

        return self._update(_meta.KEY_ENV, change)

    def add_envf(self, key: str, format: str, *args: _gofmt.Arg) -> State:
        """Set an environment variable to a Go format with its arguments."""
        return self.add_env(key, _gofmt.sprintf(format, *args))

    def dir(self, path: str) -> State:
        """Set the working directory; a relative one is below the current one."""
        if path.startswith("/"):
            return self._set(_meta.KEY_DIR, path)
        return self._update(_meta.KEY_DIR, _meta.joined_dir(path))

    def dirf(self, format: str, *args: _gofmt.Arg) -> State:
        """Set the working directory to a Go format with its arguments."""
        return self.dir(_gofmt.sprintf(format, *args))

    def user(self, name: str) -> State:
        """Set the user of commands."""
        return self._set(_meta.KEY_USER, name)

    def hostname(self, name: str) -> State:
        """Set the host name of containers."""
        return self._set(_meta.KEY_HOSTNAME, name)

    def platform(self, platform: Platform) -> State:
        """Set the platform of commands."""
        return self._set(_meta.KEY_PLATFORM, normalize(platform))

    def network(self, mode: NetMode) -> State:
        """Set the network of containers: NET_MODE_SANDBOX, NET_MODE_HOST or NET_MODE_NONE."""
        return self._set(_meta.KEY_NETWORK, mode)

    def security(self, mode: SecurityMode) -> State:
        """Set the security mode of containers: SECURITY_MODE_SANDBOX or SECURITY_MODE_INSECURE."""
        return self._set(_meta.KEY_SECURITY, mode)

    def add_extra_host(self, host: str, ip: str | IPv4Address | IPv6Address) -> State:
        """Add a name to the hosts file of containers.

        Raises:
            ValueError: for a text that is no address.
        """
        entry = HostIP(host, _meta.ip_text(ip))
        return self._append(_meta.KEY_EXTRA_HOST, entry)

    def add_ulimit(self, name: str, soft: int, hard: int) -> State:
        """Add a resource limit; -1 for none."""
        return self._append(_meta.KEY_ULIMIT, ops_pb2.Ulimit(Name=name, Soft=soft, Hard=hard))

    def _append(self, key: str, entry: object) -> State:
        return self._update(key, lambda current: (*(current if isinstance(current, tuple) else ()), entry))

    def with_cgroup_parent(self, parent: str) -> State:
        """Set the control group above containers."""
        return self._set(_meta.KEY_CGROUP_PARENT, parent)

    # Asking

    async def env(self, ctx: Context, *opts: ConstraintsOpt) -> EnvList:
        """All environment variables."""
        env = await self._get(ctx, _meta.KEY_ENV, opts)
        return env if isinstance(env, EnvList) else _meta.EMPTY_ENV

    async def get_env(self, ctx: Context, key: str, *opts: ConstraintsOpt) -> str | None:
        """An environment variable, or None."""
        return (await self.env(ctx, *opts)).get(key)

    async def get_dir(self, ctx: Context, *opts: ConstraintsOpt) -> str:
        """The working directory."""
        return str(await self._get(ctx, _meta.KEY_DIR, opts) or "")

    async def get_args(self, ctx: Context, *opts: ConstraintsOpt) -> list[str] | None:
        """The command, for a state inside `run`; else None."""
        args = await self._get(ctx, _meta.KEY_ARGS, opts)
        return list(args) if isinstance(args, tuple) else None

    async def get_hostname(self, ctx: Context, *opts: ConstraintsOpt) -> str:
        """The host name of containers, "" for the daemon's choice."""
        return str(await self._get(ctx, _meta.KEY_HOSTNAME, opts) or "")

    async def get_platform(self, ctx: Context, *opts: ConstraintsOpt) -> Platform | None:
        """The platform of commands, or None where it is left to `marshal`."""
        platform = await self._get(ctx, _meta.KEY_PLATFORM, opts)
        return platform if isinstance(platform, Platform) else None

    async def get_network(self, ctx: Context, *opts: ConstraintsOpt) -> NetMode:
        """The network of containers."""
        mode: Any = await self._get(ctx, _meta.KEY_NETWORK, opts)
        return ops_pb2.UNSET if mode is None else mode

    async def get_security(self, ctx: Context, *opts: ConstraintsOpt) -> SecurityMode:
        """The security mode of containers."""
        mode: Any = await self._get(ctx, _meta.KEY_SECURITY, opts)
        return ops_pb2.SANDBOX if mode is None else mode

    # Marshalling

    def set_marshal_defaults(self, *opts: ConstraintsOpt) -> State:
        """The state with options that `marshal` begins with; states made from it do not have them."""
        return State(self._out, self._values, self._base, opts)

    async def marshal(self, ctx: Context, *opts: ConstraintsOpt) -> Definition:
        """The graph of this state as a definition.

        Args:
            ctx: handed to asynchronous states; its end stops the wait for them.
            opts: what holds for all ops; without a platform, this machine's.

        Raises:
            LLBError: an op cannot be marshalled.
        """
        from pybuildkit.client.llb._marshal import Marshaler

        return await drive(ctx, Marshaler(self, self._defaults, opts).run)

    def marshal_sync(self, *opts: ConstraintsOpt) -> Definition:
        """`marshal` without an event loop, for a graph in which nothing really waits.

        Raises:
            PendingError: something does; use `await state.marshal(ctx)`.
        """
        return run_sync(self.marshal(background(), *opts))

    async def validate(self, ctx: Context, constraints: Constraints) -> None:
        """Raise LLBError where the op that makes this tree cannot be marshalled; scratch is always valid."""

        def step() -> None:
            vertex = self._out.vertex(constraints) if self._out is not None else None
            if vertex is not None:
                vertex.validate(constraints)

        await drive(ctx, step)


def new_state(output: Output | None) -> State:
    """A state with a tree and nothing else: its directory is "/"."""
    return State(None, {_meta.KEY_DIR: "/"}).with_output(output)


def scratch() -> State:
    """The empty tree."""
    return new_state(None)
