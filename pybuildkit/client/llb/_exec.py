"""Exec ops: a command in a container, with its mounts.

The mounts are in the order of their targets. Each that can be written to makes an output; the index of an output is
the number of such mounts before it. Secrets and ssh sockets follow the mounts in the order in which they were added.

Mirrors client/llb/exec.go, v0.32.2. Differs: mounts with equal targets stay in the order in which they were added
(Go's sort may swap them when there are more than twelve); a mount of an asynchronous state that turns out to be
scratch is a mount of scratch, where Go crashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from pybuildkit.client.llb import _meta
from pybuildkit.client.llb._constraints import Constraints, MarshalResult, marshal_constraints
from pybuildkit.client.llb._errors import LLBError, OptionError
from pybuildkit.client.llb._meta import EnvList, HostIP
from pybuildkit.client.llb._mounts import (
    CACHE_SHARING,
    CONTENT_CACHE,
    CDIDeviceInfo,
    Mount,
    MountContentCache,
    MountInfo,
    MountOption,
    ProxyEnv,
    SecretInfo,
    SSHInfo,
)
from pybuildkit.client.llb._option import apply_options
from pybuildkit.client.llb._state import State, new_state
from pybuildkit.client.llb._vertex import Input, OpOutput, encode_op, store
from pybuildkit.solver.pb import _caps as caps
from pybuildkit.solver.pb import ops_pb2, validate_security_mode
from pybuildkit.solver.pb._const import EMPTY, ROOT_MOUNT, SKIP_OUTPUT
from pybuildkit.third_party.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pybuildkit.client.llb._vertex import Output


class RunOption(Protocol):
    """What `State.run` takes."""

    def set_run_option(self, info: ExecInfo) -> None:
        """Change the options of one `run`."""


class ExecInfo:
    """What the options of one `run` have said."""

    __slots__ = (
        "cdi_devices",
        "constraints",
        "mounts",
        "proxy_env",
        "readonly_root_fs",
        "secrets",
        "ssh",
        "state",
    )

    def __init__(self, state: State) -> None:
        self.state = state
        self.constraints = Constraints()
        self.mounts: list[MountInfo] = []
        self.readonly_root_fs = False
        self.proxy_env: ProxyEnv | None = None
        self.secrets: list[SecretInfo] = []
        self.ssh: list[SSHInfo] = []
        self.cdi_devices: list[CDIDeviceInfo] = []


class ExecOp:
    """A command in a container."""

    def __init__(self, base: State, proxy_env: ProxyEnv | None, read_only: bool, constraints: Constraints) -> None:
        self._base = base
        self._proxy_env = proxy_env
        self._constraints = constraints
        self.secrets: list[SecretInfo] = []
        self.ssh: list[SSHInfo] = []
        self.cdi_devices: list[CDIDeviceInfo] = []
        self._sorted: list[Mount] | None = None
        self._indexes: dict[Mount, int] = {}
        source = base.output()
        root = Mount(ROOT_MOUNT, source)
        root.readonly = read_only
        root.output = source if read_only else self._mount_output(root)
        self._root = root.output
        self._mounts = [root]

    def __repr__(self) -> str:
        args = self._base._values.get(_meta.KEY_ARGS)
        return f"<run {' '.join(map(str, args)) if isinstance(args, tuple) else '…'}>"

    def _mount_output(self, mount: Mount) -> OpOutput:
        return OpOutput(self, index=lambda: self._output_index(mount), platform=self._constraints.platform)

    def add_mount(self, target: str, source: Output | None, *options: MountOption) -> Output | None:
        """Mount a tree.

        Args:
            target: where in the container.
            source: the tree; None for an empty one.

        Returns:
            the tree after the command; None where nothing was mounted to be changed.
        """
        mount = Mount(target, source)
        for option in options:
            if isinstance(option, type) or not callable(option):
                raise OptionError(f"add_mount() does not take {option!r}")
            option(mount)
        if mount.readonly:
            mount.output = source
        elif mount.tmpfs:
            mount.output = OpOutput(self, error=f"tmpfs mount for {target} can't be used as a parent")
        elif mount.no_output:
            mount.output = OpOutput(self, error=f"mount marked no-output and {target} can't be used as a parent")
        else:
            mount.output = self._mount_output(mount)
        self._mounts.append(mount)
        self._sorted = None
        return mount.output

    def get_mount(self, target: str) -> Output | None:
        """The tree at that target after the command, or None."""
        return next((mount.output for mount in self._mounts if mount.target == target), None)

    def _sorted_mounts(self) -> list[Mount]:
        if self._sorted is None:
            self._sorted = sorted(self._mounts, key=lambda mount: mount.target)
            writable = [mount for mount in self._sorted if mount.has_output]
            self._indexes = {mount: index for index, mount in enumerate(writable)}
        return self._sorted

    def _output_index(self, mount: Mount) -> int:
        self._sorted_mounts()
        index = self._indexes.get(mount)
        if index is None:
            raise LLBError(f"invalid mount: {mount.target}")
        return index

    def output(self) -> Output | None:
        """The root tree after the command."""
        return self._root

    def inputs(self) -> Sequence[Output]:
        """What is mounted."""
        return list(dict.fromkeys(mount.source for mount in self._sorted_mounts() if mount.source is not None))

    def validate(self, constraints: Constraints) -> None:
        """Raise LLBError without a command or a directory."""
        self._check(self._base.values(constraints))

    def _check(self, values: Mapping[str, object]) -> None:
        if not values.get(_meta.KEY_ARGS):
            raise LLBError("arguments are required")
        if not values.get(_meta.KEY_DIR):
            raise LLBError("working directory is required")

    def marshal(self, constraints: Constraints) -> MarshalResult:
        """The op's bytes."""
        values = self._base.values(constraints)
        self._check(values)
        own = self._constraints
        needed: dict[str, bool] = dict(own.metadata.caps or ())
        needed[caps.CAP_EXEC_META_BASE] = True
        body = ops_pb2.ExecOp(meta=self._marshal_meta(values, constraints, needed))
        self._marshal_modes(values, body, needed)
        inputs = self._marshal_mounts(constraints, body, needed)
        self._marshal_extras(body, needed)
        platform, filters, metadata = marshal_constraints(constraints, own)
        if own.platform is None:
            known = values.get(_meta.KEY_PLATFORM)
            platform = known if isinstance(known, Platform) else platform
        metadata.caps = needed
        return store(self, constraints, encode_op("exec", body, inputs, platform, filters), metadata, own)

    def _marshal_meta(
        self, values: Mapping[str, object], constraints: Constraints, needed: dict[str, bool]
    ) -> ops_pb2.Meta:
        meta = ops_pb2.Meta(
            args=_strings(values.get(_meta.KEY_ARGS)),
            env=self._environment(values, constraints, needed).to_array(),
            cwd=str(values.get(_meta.KEY_DIR)),
            removeMountStubsRecursive=True,
        )
        for key, field in (
            (_meta.KEY_USER, "user"),
            (_meta.KEY_HOSTNAME, "hostname"),
            (_meta.KEY_CGROUP_PARENT, "cgroupParent"),
        ):
            value = values.get(key)
            if value:
                setattr(meta, field, value)
        codes = values.get(_meta.KEY_VALID_EXIT_CODES)
        if isinstance(codes, tuple) and codes:
            meta.validExitCodes.extend(_int32(code) for code in codes)
            needed[caps.CAP_EXEC_VALID_EXIT_CODE] = True
        hosts = values.get(_meta.KEY_EXTRA_HOST)
        if isinstance(hosts, tuple):
            for host in hosts:
                assert isinstance(host, HostIP)
                meta.extraHosts.add(Host=host.host, IP=host.ip)
        limits = values.get(_meta.KEY_ULIMIT)
        if isinstance(limits, tuple) and limits:
            meta.ulimit.extend(limits)
            needed[caps.CAP_EXEC_META_ULIMIT] = True
        if self._proxy_env is not None:
            meta.proxy_env.CopyFrom(self._proxy_env.to_pb())
            needed[caps.CAP_EXEC_META_PROXY] = True
        return meta

    def _environment(self, values: Mapping[str, object], constraints: Constraints, needed: dict[str, bool]) -> EnvList:
        found = values.get(_meta.KEY_ENV)
        env = found if isinstance(found, EnvList) else _meta.EMPTY_ENV
        if self.ssh and env.get("SSH_AUTH_SOCK") is None:
            env = env.add_or_replace("SSH_AUTH_SOCK", _socket_target(0, self.ssh[0]))
        if constraints.caps is None:
            return env
        from pybuildkit.util.apicaps import CapError
        from pybuildkit.util.system import default_path_env

        try:
            constraints.caps.supports(caps.CAP_EXEC_META_SETS_DEFAULT_PATH)
        except CapError:
            platform = constraints.platform or self._constraints.platform
            os = platform.os if platform is not None else "linux"
            return env if os == "windows" else env.set_default("PATH", default_path_env(os))
        needed[caps.CAP_EXEC_META_SETS_DEFAULT_PATH] = True
        return env

    def _marshal_modes(self, values: Mapping[str, object], body: ops_pb2.ExecOp, needed: dict[str, bool]) -> None:
        network = values.get(_meta.KEY_NETWORK)
        if isinstance(network, int) and network:
            body.network = network  # type: ignore[assignment]  # an enumeration's value is an int at run time
            needed[caps.CAP_EXEC_META_NETWORK] = True
        security = values.get(_meta.KEY_SECURITY)
        if isinstance(security, int) and security:
            validate_security_mode(security)
            body.security = security  # type: ignore[assignment]  # as above
            needed[caps.CAP_EXEC_META_SECURITY] = True
        if self._constraints.metadata.linux_resources is not None:
            needed[caps.CAP_EXEC_META_LINUX_RESOURCES] = True

    def _marshal_mounts(self, constraints: Constraints, body: ops_pb2.ExecOp, needed: dict[str, bool]) -> list[Input]:
        inputs: dict[Input, int] = {}
        out = 0
        for mount in self._sorted or self._sorted_mounts():
            index = EMPTY
            if mount.source is not None:
                if mount.tmpfs:
                    raise LLBError("tmpfs mounts must use scratch")
                edge = mount.source.to_input(constraints)
                if edge is not None:
                    index = inputs.setdefault(edge, len(inputs))
            message = body.mounts.add(input=index, dest=mount.target, output=out if mount.has_output else SKIP_OUTPUT)
            out += mount.has_output
            _fill_mount(message, mount, needed)
        return list(inputs)

    def _marshal_extras(self, body: ops_pb2.ExecOp, needed: dict[str, bool]) -> None:
        """Secrets, ssh sockets and devices."""
        for secret in self.secrets:
            _add_secret(body, secret)
            needed[caps.CAP_EXEC_MOUNT_SECRET] = True
            if secret.env is not None:
                needed[caps.CAP_EXEC_SECRET_ENV] = True
        for number, socket in enumerate(self.ssh):
            mount = body.mounts.add(input=EMPTY, dest=_socket_target(number, socket), mountType=ops_pb2.MountType.SSH)
            mount.SSHOpt.CopyFrom(socket.to_pb())
            needed[caps.CAP_EXEC_MOUNT_SSH] = True
        for device in self.cdi_devices:
            body.cdiDevices.add(name=device.name, optional=device.optional)
            needed[caps.CAP_EXEC_META_CDI] = True


def _fill_mount(message: ops_pb2.Mount, mount: Mount, needed: dict[str, bool]) -> None:
    """What a mount is beside its source and target."""
    if mount.readonly:
        message.readonly = True
    if mount.selector:
        message.selector = mount.selector
        needed[caps.CAP_EXEC_MOUNT_SELECTOR] = True
    if mount.cache_id:
        message.mountType = ops_pb2.MountType.CACHE
        message.cacheOpt.ID = mount.cache_id
        message.cacheOpt.sharing = CACHE_SHARING[mount.cache_sharing]
        needed[caps.CAP_EXEC_MOUNT_CACHE] = True
        needed[caps.CAP_EXEC_MOUNT_CACHE_SHARING] = True
    elif mount.tmpfs:
        needed[caps.CAP_EXEC_MOUNT_TMPFS] = True
        if mount.tmpfs_size > 0:
            needed[caps.CAP_EXEC_MOUNT_TMPFS_SIZE] = True
    elif mount.source is not None:
        needed[caps.CAP_EXEC_MOUNT_BIND] = True
    if mount.tmpfs:
        message.mountType = ops_pb2.MountType.TMPFS
        message.TmpfsOpt.SetInParent()
        message.TmpfsOpt.size = mount.tmpfs_size
    if mount.content_cache is not MountContentCache.DEFAULT:
        message.contentCache = CONTENT_CACHE[mount.content_cache]
        needed[caps.CAP_EXEC_MOUNT_CONTENT_CACHE] = True


def _add_secret(body: ops_pb2.ExecOp, secret: SecretInfo) -> None:
    if secret.env is not None:
        body.secretenv.add(ID=secret.id, name=secret.env, optional=secret.optional)
    if secret.target is not None:
        mount = body.mounts.add(input=EMPTY, dest=secret.target, mountType=ops_pb2.MountType.SECRET)
        mount.secretOpt.CopyFrom(secret.to_pb())


def _socket_target(number: int, socket: SSHInfo) -> str:
    return socket.target or f"/run/buildkit/ssh_agent.{number}"


def _strings(value: object) -> Iterable[str]:
    return value if isinstance(value, tuple) else ()


def _int32(value: int) -> int:
    return ((value + (1 << 31)) & 0xFFFF_FFFF) - (1 << 31)


class ExecState(State):
    """The state after a command: its tree is the root, the trees of its mounts are one call away."""

    __slots__ = ("_exec",)

    def __init__(self, state: State, exec_op: ExecOp) -> None:
        super().__init__(state._out, state._values, state._base)
        self._exec = exec_op

    def add_mount(self, target: str, source: State, *options: MountOption) -> State:
        """Mount a tree for the command.

        Returns:
            the mounted tree after the command, with everything else as in `source`.
        """
        return source.with_output(self._exec.add_mount(target, source.output(), *options))

    def get_mount(self, target: str) -> State:
        """The tree at that target after the command; scratch where nothing is mounted."""
        return new_state(self._exec.get_mount(target))

    def root(self) -> State:
        """The root tree after the command."""
        return State(self._out, self._values, self._base)


def run(state: State, options: tuple[RunOption, ...]) -> ExecState:
    """`State.run`."""
    info = ExecInfo(state)
    apply_options(options, "set_run_option", info, "run")
    exec_op = ExecOp(info.state, info.proxy_env, info.readonly_root_fs, info.constraints)
    for mount in info.mounts:
        exec_op.add_mount(mount.target, mount.source, *mount.options)
    exec_op.secrets = info.secrets
    exec_op.ssh = info.ssh
    exec_op.cdi_devices = info.cdi_devices
    return ExecState(state.with_output(exec_op.output()), exec_op)
