"""File ops: make, remove, link and copy files, without running anything.

A `FileAction` is a chain of actions; `state.file(action)` applies the chain to the state's tree. Relative paths are
below the working directory of the state that the chain is applied to; a copy's relative source below that of its own
state. A copy may take from another chain that is applied elsewhere (`action.with_state(other)`); it then becomes
part of the same op.

In the op each action has the indexes of its inputs: those below the number of the op's inputs are inputs, the others
the results of earlier actions.

Mirrors client/llb/fileop.go, v0.32.2. As there, the op asks the daemon only for `file.base`, whatever the actions
need, and a symlink's paths are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybuildkit.client.llb import _meta
from pybuildkit.client.llb._constraints import Constraints, MarshalResult, marshal_constraints
from pybuildkit.client.llb._errors import OptionError
from pybuildkit.client.llb._fileopts import (
    ChownOpt,
    CopyInfo,
    CopyOption,
    CreatedTime,
    MkdirInfo,
    MkdirOption,
    MkfileInfo,
    MkfileOption,
    RmInfo,
    RmOption,
    SymlinkInfo,
    SymlinkOption,
)
from pybuildkit.client.llb._option import describe
from pybuildkit.client.llb._state import State
from pybuildkit.client.llb._vertex import Input, OpOutput, encode_op, store
from pybuildkit.solver.pb import _caps as caps
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.solver.pb._const import EMPTY, SKIP_OUTPUT
from pybuildkit.util.system import clean, join

if TYPE_CHECKING:
    from pybuildkit.client.llb._vertex import Output


class FileAction:
    """One action and those before it; made by `mkdir`, `mkfile`, `rm`, `symlink` and `copy`."""

    __slots__ = ("_action", "_previous", "_state")

    def __init__(self, action: _Action, previous: FileAction | None = None, state: State | None = None) -> None:
        self._action = action
        self._previous = previous
        self._state = state

    def __repr__(self) -> str:
        return f"<{' '.join(repr(each._action) for each in reversed(self._chain()))}>"

    def _chain(self) -> list[FileAction]:
        """This action and those before it, the last first."""
        chain = []
        node: FileAction | None = self
        while node is not None:
            chain.append(node)
            node = node._previous
        return chain

    def _bind(self, state: State) -> FileAction:
        """The chain applied to a state."""
        bound: FileAction | None = None
        for each in reversed(self._chain()):
            bound = FileAction(each._action, bound, state)
        assert bound is not None
        return bound

    def with_state(self, state: State) -> FileActionWithState:
        """The chain applied to a state, to copy from."""
        return FileActionWithState(self._bind(state))

    def mkdir(self, path: str, mode: int, *options: MkdirOption) -> FileAction:
        """Then make a directory; see the function `mkdir`."""
        return FileAction(_Mkdir(path, mode, options), self)

    def mkfile(self, path: str, mode: int, data: bytes | str | None, *options: MkfileOption) -> FileAction:
        """Then make a file; see the function `mkfile`."""
        return FileAction(_Mkfile(path, mode, data, options), self)

    def symlink(self, old_path: str, new_path: str, *options: SymlinkOption) -> FileAction:
        """Then make a symbolic link; see the function `symlink`."""
        return FileAction(_Symlink(old_path, new_path, options), self)

    def rm(self, path: str, *options: RmOption) -> FileAction:
        """Then remove a file or directory; see the function `rm`."""
        return FileAction(_Rm(path, options), self)

    def copy(self, source: CopyInput, src: str, dest: str, *options: CopyOption) -> FileAction:
        """Then copy; see the function `copy`."""
        return FileAction(_Copy(source, src, dest, options), self)


class FileActionWithState:
    """A chain of actions applied to a state; a copy can take from it."""

    __slots__ = ("action",)

    def __init__(self, action: FileAction) -> None:
        self.action = action


CopyInput = State | FileActionWithState


def mkdir(path: str, mode: int, *options: MkdirOption) -> FileAction:
    """Make a directory.

    Args:
        path: relative to the working directory.
        mode: permissions, such as 0o755.
        options: `with_parents`, `with_user`, `with_uid_gid`, `with_created_time`, or a `MkdirInfo`.
    """
    return FileAction(_Mkdir(path, mode, options))


def mkfile(path: str, mode: int, data: bytes | str | None, *options: MkfileOption) -> FileAction:
    """Make a file.

    Args:
        path: relative to the working directory.
        mode: permissions, such as 0o644.
        data: the contents; a text is written in UTF-8.
        options: `with_user`, `with_uid_gid`, `with_created_time`, or a `MkfileInfo`.
    """
    return FileAction(_Mkfile(path, mode, data, options))


def symlink(old_path: str, new_path: str, *options: SymlinkOption) -> FileAction:
    """Make a symbolic link at `new_path` that points to `old_path`; neither is joined to the working directory."""
    return FileAction(_Symlink(old_path, new_path, options))


def rm(path: str, *options: RmOption) -> FileAction:
    """Remove a file, or a directory with all that is in it.

    Args:
        path: relative to the working directory.
        options: `with_allow_not_found`, `with_allow_wildcard`, or an `RmInfo`.
    """
    return FileAction(_Rm(path, options))


def copy(source: CopyInput, src: str, dest: str, *options: CopyOption) -> FileAction:
    """Copy a file or directory.

    Args:
        source: a state, or a chain of actions with its state.
        src: the path there; relative to that state's working directory.
        dest: the path here; relative to this state's. A directory that is there gets the copy inside.
        options: `with_user`, `with_exclude_patterns`, `ChmodOpt` and the like, or a `CopyInfo`.
    """
    return FileAction(_Copy(source, src, dest, options))


def _normalize_path(parent: str, path: str, keep_slash: bool) -> str:
    """The path as an absolute one; a final "/" or "/." stays where `keep_slash` is set."""
    result = clean(path)
    if not result.startswith("/"):
        result = join("/", parent, result)
    if keep_slash:
        if path.endswith("/") and not result.endswith("/"):
            result += "/"
        elif path.endswith("/."):
            result += "." if result == "/" else "/."
    return result


def _owner(owner: ChownOpt | None, base: int) -> ops_pb2.ChownOpt | None:
    return owner.to_pb(base) if owner is not None else None


def _time(time: CreatedTime | None) -> int:
    return time.ns if time is not None else -1


def _refuse(taker: str, option: object) -> OptionError:
    return OptionError(f"{taker}() does not take {describe(option)}")


class _Action:
    """One action of a chain."""

    __slots__ = ()

    def fill(self, message: ops_pb2.FileAction, parent: str, base: int, constraints: Constraints) -> None:
        """Write the action into its message.

        Args:
            parent: the working directory.
            base: the index of the input that names of users are looked up in.
        """
        raise NotImplementedError


class _Mkdir(_Action):
    __slots__ = ("_info", "_mode", "_path")

    def __init__(self, path: str, mode: int, options: Sequence[MkdirOption]) -> None:
        self._path = path
        self._mode = mode
        self._info = MkdirInfo()
        for option in options:
            if not hasattr(option, "set_mkdir_option"):
                raise _refuse("mkdir", option)
            self._info = option.set_mkdir_option(self._info)

    def __repr__(self) -> str:
        return f"mkdir {self._path}"

    def fill(self, message: ops_pb2.FileAction, parent: str, base: int, constraints: Constraints) -> None:
        message.mkdir.CopyFrom(
            ops_pb2.FileActionMkDir(
                path=_normalize_path(parent, self._path, False),
                mode=self._mode & 0o777,
                makeParents=self._info.make_parents,
                owner=_owner(self._info.chown_opt, base),
                timestamp=_time(self._info.created_time),
            )
        )


class _Mkfile(_Action):
    __slots__ = ("_data", "_info", "_mode", "_path")

    def __init__(self, path: str, mode: int, data: bytes | str | None, options: Sequence[MkfileOption]) -> None:
        self._path = path
        self._mode = mode
        self._data = data.encode() if isinstance(data, str) else data or b""
        self._info = MkfileInfo()
        for option in options:
            if not hasattr(option, "set_mkfile_option"):
                raise _refuse("mkfile", option)
            self._info = option.set_mkfile_option(self._info)

    def __repr__(self) -> str:
        return f"mkfile {self._path}"

    def fill(self, message: ops_pb2.FileAction, parent: str, base: int, constraints: Constraints) -> None:
        message.mkfile.CopyFrom(
            ops_pb2.FileActionMkFile(
                path=_normalize_path(parent, self._path, False),
                mode=self._mode & 0o777,
                data=self._data,
                owner=_owner(self._info.chown_opt, base),
                timestamp=_time(self._info.created_time),
            )
        )


class _Symlink(_Action):
    __slots__ = ("_info", "_new_path", "_old_path")

    def __init__(self, old_path: str, new_path: str, options: Sequence[SymlinkOption]) -> None:
        self._old_path = old_path
        self._new_path = new_path
        self._info = SymlinkInfo()
        for option in options:
            if not hasattr(option, "set_symlink_option"):
                raise _refuse("symlink", option)
            self._info = option.set_symlink_option(self._info)

    def __repr__(self) -> str:
        return f"symlink {self._new_path}"

    def fill(self, message: ops_pb2.FileAction, parent: str, base: int, constraints: Constraints) -> None:
        message.symlink.CopyFrom(
            ops_pb2.FileActionSymlink(
                oldpath=self._old_path,
                newpath=self._new_path,
                owner=_owner(self._info.chown_opt, base),
                timestamp=_time(self._info.created_time),
            )
        )


class _Rm(_Action):
    __slots__ = ("_info", "_path")

    def __init__(self, path: str, options: Sequence[RmOption]) -> None:
        self._path = path
        self._info = RmInfo()
        for option in options:
            if not hasattr(option, "set_rm_option"):
                raise _refuse("rm", option)
            self._info = option.set_rm_option(self._info)

    def __repr__(self) -> str:
        return f"rm {self._path}"

    def fill(self, message: ops_pb2.FileAction, parent: str, base: int, constraints: Constraints) -> None:
        message.rm.CopyFrom(
            ops_pb2.FileActionRm(
                path=_normalize_path(parent, self._path, False),
                allowNotFound=self._info.allow_not_found,
                allowWildcard=self._info.allow_wildcard,
            )
        )


class _Copy(_Action):
    __slots__ = ("_dest", "_info", "_src", "source")

    def __init__(self, source: CopyInput, src: str, dest: str, options: Sequence[CopyOption]) -> None:
        if not isinstance(source, CopyInput):
            raise OptionError(
                f"copy() takes a state, or an action with its state, to copy from; not {describe(source)}"
            )
        self.source = source
        self._src = src
        self._dest = dest
        self._info = CopyInfo()
        for option in options:
            if not hasattr(option, "set_copy_option"):
                raise _refuse("copy", option)
            self._info = option.set_copy_option(self._info)

    def __repr__(self) -> str:
        return f"copy {self._src} {self._dest}"

    def _source_path(self, constraints: Constraints) -> str:
        path = clean(self._src)
        if path.startswith("/"):
            return path
        state = self.source if isinstance(self.source, State) else self.source.action._state
        directory = state.lookup(_meta.KEY_DIR, constraints) if state is not None else None
        return join(str(directory or ""), path)

    def fill(self, message: ops_pb2.FileAction, parent: str, base: int, constraints: Constraints) -> None:
        info = self._info
        result = ops_pb2.FileActionCopy(
            src=self._source_path(constraints),
            dest=_normalize_path(parent, self._dest, True),
            owner=_owner(info.chown_opt, base),
            mode=-1,
            followSymlink=info.follow_symlinks,
            dirCopyContents=info.copy_dir_contents_only,
            attemptUnpackDockerCompatibility=info.attempt_unpack,
            createDestPath=info.create_dest_path,
            allowWildcard=info.allow_wildcard,
            allowEmptyWildcard=info.allow_empty_wildcard,
            timestamp=_time(info.created_time),
            include_patterns=info.include_patterns,
            exclude_patterns=info.exclude_patterns,
            alwaysReplaceExistingDestPaths=info.always_replace_existing_dest_paths,
            required_paths=info.required_paths,
        )
        if info.mode is not None:
            result.modeStr = info.mode.mode_str
            result.mode = 0 if info.mode.mode_str else ((info.mode.mode + (1 << 31)) & 0xFFFF_FFFF) - (1 << 31)
        message.copy.CopyFrom(result)


class _Placed:
    """An action in its op: which inputs and which earlier actions it works on."""

    __slots__ = ("action", "base", "first", "second", "state", "target")

    def __init__(self, action: _Action, state: State | None, target: int) -> None:
        self.action = action
        self.state = state
        self.target = target
        self.base = EMPTY
        self.first: int | _Placed = EMPTY
        self.second: int | _Placed = EMPTY

    @staticmethod
    def index(edge: int | _Placed, inputs: int) -> int:
        """The index of an input or, after those, of an action."""
        return inputs + edge.target if isinstance(edge, _Placed) else edge


class _Plan:
    """The actions of an op in order, and its inputs without repetition."""

    def __init__(self, constraints: Constraints) -> None:
        self._constraints = constraints
        self._placed: dict[FileAction, _Placed] = {}
        self.inputs: dict[Input, int] = {}
        self.actions: list[_Placed] = []

    def _add_input(self, output: Output | None) -> int:
        edge = output.to_input(self._constraints) if output is not None else None
        return EMPTY if edge is None else self.inputs.setdefault(edge, len(self.inputs))

    def add(self, last: FileAction) -> None:
        """Place a chain, after the chains that it copies from."""
        stack = [(last, False)]
        while stack:
            node, begun = stack.pop()
            if node in self._placed:
                continue
            source = node._action.source if isinstance(node._action, _Copy) else None
            other = source.action if isinstance(source, FileActionWithState) else None
            if begun and (other is None or other in self._placed):
                self._place(node)
                continue
            if not begun and node._previous is not None and node._previous not in self._placed:
                stack += [(node, False), (node._previous, False)]
            else:
                self._register_base(node)
                stack.append((node, True))
                if other is not None:
                    stack.append((other, False))

    def _register_base(self, node: FileAction) -> None:
        """The tree that the chain is applied to counts before what is copied into it."""
        if node._state is not None:
            self._add_input(node._state.output())

    def _place(self, node: FileAction) -> None:
        placed = _Placed(node._action, node._state, len(self.actions))
        if node._state is not None:
            placed.base = self._add_input(node._state.output())
        placed.first = placed.base if node._previous is None else self._placed[node._previous]
        if isinstance(node._action, _Copy):
            source = node._action.source
            if isinstance(source, State):
                placed.second = self._add_input(source.output())
            else:
                placed.second = self._placed[source.action]
        self._placed[node] = placed
        self.actions.append(placed)


class FileOp:
    """A chain of file actions applied to a tree."""

    def __init__(self, state: State, action: FileAction, constraints: Constraints) -> None:
        if not isinstance(action, FileAction):
            raise OptionError(f"file() takes mkdir(), mkfile(), copy(), rm() or symlink(), not {describe(action)}")
        self._action = action._bind(state)
        self._constraints = constraints
        self._output = OpOutput(self)

    def __repr__(self) -> str:
        return repr(self._action)

    def output(self) -> OpOutput:
        """The tree after the actions."""
        return self._output

    def inputs(self) -> Sequence[Output]:
        """The tree, and what is copied from."""
        found: dict[Output, None] = {}
        stack: list[FileAction | None] = [self._action]
        while stack:
            node = stack.pop()
            if node is None:
                continue
            stack.append(node._previous)
            if node._state is not None and (out := node._state.output()) is not None:
                found.setdefault(out)
            if isinstance(node._action, _Copy):
                source = node._action.source
                if isinstance(source, FileActionWithState):
                    stack.append(source.action)
                elif (out := source.output()) is not None:
                    found.setdefault(out)
        return list(found)

    def validate(self, constraints: Constraints) -> None:
        """Any chain can be marshalled."""

    def marshal(self, constraints: Constraints) -> MarshalResult:
        """The op's bytes."""
        own = self._constraints
        plan = _Plan(constraints)
        plan.add(self._action)
        body = ops_pb2.FileOp()
        count = len(plan.inputs)
        for placed in plan.actions:
            last = placed.target + 1 == len(plan.actions)
            message = body.actions.add(
                input=_Placed.index(placed.first, count),
                secondaryInput=_Placed.index(placed.second, count),
                output=0 if last else SKIP_OUTPUT,
            )
            parent = placed.state.lookup(_meta.KEY_DIR, constraints) if placed.state is not None else ""
            placed.action.fill(message, str(parent or ""), placed.base, constraints)
        _, filters, metadata = marshal_constraints(constraints, own)
        metadata.caps = {**(own.metadata.caps or {}), caps.CAP_FILE_BASE: True}
        return store(self, constraints, encode_op("file", body, list(plan.inputs), None, filters), metadata, own)
