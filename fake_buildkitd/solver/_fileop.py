"""File operations: mkdir, mkfile, symlink, rm and copy on trees.

Mirrors solver/llbsolver/file/backend.go and the FileOpSolver of solver/llbsolver/ops/file.go, v0.32.2.

An operation has inputs (trees) and actions; an action's `input` is the tree that it changes, its
`secondaryInput` the one that it copies from, each the index of an input or, counted on from the inputs, of an
earlier action (-1: an empty tree). Actions with an `output` give the operation's results.
"""

from __future__ import annotations

import errno
import stat as st
from collections.abc import Sequence
from dataclasses import dataclass

from fake_buildkitd.solver._copy import CopyInfo, Owner, copy, mkdir_all, resolve_wildcards
from fake_buildkitd.solver._unpack import unpack
from fake_buildkitd.store import Node, PathError, Selector, Store, Tree, empty_root, walk
from fake_buildkitd.store._glob import contains_wildcards
from fake_buildkitd.store._tree import clean, join, parent_of
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.solver.pb import ops_pb2 as pb

MAX_USER_FILE = 1 << 20
_NOBODY = 0xFFFFFFFF  # to chown(2) it says: as it is, and what is new is root's


class FileActionError(BuildkitError):
    """The failure of one action; `index` counts the operation's actions from 0."""

    def __init__(self, cause: BaseException, index: int) -> None:
        super().__init__(cause, index)
        self.index = index
        self.__cause__ = cause

    def __str__(self) -> str:
        return str(self.__cause__)


@dataclass(frozen=True)
class FileLayers:
    """One output of a file operation: the input that it began with, -1 for an empty tree, and its layers.

    `layers` are trees by the index of the action that made them, the lowest first; the last is the output itself.
    """

    base: int
    layers: list[tuple[int, Node]]


def solve_file_op(store: Store, op: pb.FileOp, inputs: Sequence[Node]) -> list[FileLayers]:
    """The results of a file operation, in the order of their output indexes.

    What several actions begin with, or copy from, is a layer of its own.

    Raises:
        BuildkitError: an operation that makes no sense.
        FileActionError: an action failed.
    """
    return _FileOpSolver(store, op, inputs).run()


def check_inputs(op: pb.FileOp, inputs: int) -> None:
    """Refuse an operation that looks names of users up in something that is no input, or copies from such.

    Raises:
        BuildkitError: "invalid input index N in file op with N inputs".
    """
    for action in op.actions:
        if action.HasField("copy") and action.secondaryInput < -1:
            raise BuildkitError(f"invalid input index {action.secondaryInput} in file op with {inputs} inputs")
        for owner in _owners(action):
            for user in (owner.user, owner.group):
                if user.WhichOneof("user") == "byName" and user.byName.input < 0:
                    break
                if user.WhichOneof("user") == "byName" and user.byName.input >= inputs:
                    raise BuildkitError(f"invalid input index {user.byName.input} in file op with {inputs} inputs")


def selectors(op: pb.FileOp, inputs: int) -> dict[int, list[Selector] | None]:
    """Which parts of its inputs an operation reads; None for an input that it needs as a whole and in order."""
    found: dict[int, list[Selector] | None] = {}
    for action in op.actions:
        kind = action.WhichOneof("action")
        for owner in _owners(action):
            for user, path in ((owner.user, b"/etc/passwd"), (owner.group, b"/etc/group")):
                if user.WhichOneof("user") == "byName" and 0 <= user.byName.input < inputs:
                    _add(found, user.byName.input, Selector(path, follow_links=True))
        if kind == "copy" and 0 <= action.secondaryInput < inputs:
            _add(found, action.secondaryInput, _copy_selector(action.copy))
    for action in op.actions:
        if action.input != -1:
            found[action.input] = None
    return {index: _without_covered(wanted) for index, wanted in found.items() if index < inputs}


def _without_covered(wanted: list[Selector] | None) -> list[Selector] | None:
    """Selectors in order, without plain ones of a directory that another plain one takes as a whole."""
    if wanted is None:
        return None
    plain = {(each.path, each.follow_links) for each in wanted if each.is_plain()}

    def covered(each: Selector) -> bool:
        above = {parent for parent, follow in plain if follow == each.follow_links and parent != each.path}
        return any(each.path.startswith(parent.rstrip(b"/") + b"/") for parent in above)

    kept = [each for each in dict.fromkeys(wanted) if not each.is_plain() or not covered(each)]
    return sorted(kept, key=lambda each: each.path)


def _add(found: dict[int, list[Selector] | None], index: int, selector: Selector) -> None:
    known = found.setdefault(index, [])
    if known is not None:
        known.append(selector)


def _copy_selector(action: pb.FileActionCopy) -> Selector:
    path = action.src.encode("utf-8", "surrogateescape")
    return Selector(
        clean(path),
        wildcard=action.allowWildcard and contains_wildcards(path),
        follow_links=action.followSymlink,
        include=tuple(action.include_patterns),
        exclude=tuple(action.exclude_patterns),
        required=tuple(required.encode("utf-8", "surrogateescape") for required in action.required_paths),
    )


def _owners(action: pb.FileAction) -> list[pb.ChownOpt]:
    kind = action.WhichOneof("action")
    if kind == "copy" and action.copy.HasField("owner"):
        return [action.copy.owner]
    if kind == "mkfile" and action.mkfile.HasField("owner"):
        return [action.mkfile.owner]
    if kind == "mkdir" and action.mkdir.HasField("owner"):
        return [action.mkdir.owner]
    return []


class _FileOpSolver:
    def __init__(self, store: Store, op: pb.FileOp, inputs: Sequence[Node]) -> None:
        self.store = store
        self.actions = op.actions
        self.inputs = list(inputs)
        self.done: dict[int, Node] = dict(enumerate(inputs))

    def run(self) -> list[FileLayers]:
        count = len(self.inputs) + len(self.actions)
        outputs: dict[int, int] = {}
        for position, action in enumerate(self.actions):
            if not -1 <= action.input < count:
                raise BuildkitError(f"invalid input index {action.input}, {count} provided")
            if not -1 <= action.secondaryInput < count:
                raise BuildkitError(f"invalid secondary input index {action.input}, {len(self.inputs)} provided")
            if action.output != -1:
                if action.output in outputs:
                    raise BuildkitError(f"duplicate output {action.output}")
                outputs[action.output] = len(self.inputs) + position
        if not outputs:
            raise BuildkitError("no outputs specified")
        for index in range(len(outputs)):
            if index not in outputs:
                raise BuildkitError(f"missing output index {index}")
        found = [outputs[index] for index in range(len(outputs))]
        for index in found:
            self._get(index)
        own = self._own_layers()
        return [self._layers_of(index, own) for index in found]

    def _layers_of(self, index: int, own: set[int]) -> FileLayers:
        """The layers of an output; `own` are the trees that are layers of their own."""
        count = len(self.inputs)
        layers: list[tuple[int, Node]] = []
        while index >= count:
            if index in own:
                layers.append((index, self.done[index]))
            index = self.actions[index - count].input
        return FileLayers(index, layers[::-1])

    def _own_layers(self) -> set[int]:
        """The trees that are layers of their own: outputs, and what is used twice."""
        own: set[int] = set()
        used: set[int] = set()
        for at, action in enumerate(self.actions):
            for index in (action.input, action.secondaryInput):
                (own if index in used else used).add(index)
            if action.output != -1:
                own.add(len(self.inputs) + at)
        return own

    def _get(self, wanted: int) -> Node:
        """The tree with an index, made from those that it depends on."""
        stack = [wanted]
        active: set[int] = set()
        while stack:
            index = stack[-1]
            if index in self.done:
                stack.pop()
                continue
            missing = [needed for needed in self._needs(index) if needed not in self.done]
            if not missing:
                self.done[index] = self._perform(index)
                active.discard(index)
                stack.pop()
                continue
            active.add(index)
            for needed in missing:
                if needed in active:
                    raise BuildkitError(f"loop from index {needed}")
            stack += missing
        return self.done[wanted]

    def _needs(self, index: int) -> list[int]:
        action = self.actions[index - len(self.inputs)]
        needs = [action.input, action.secondaryInput]
        linked = action.WhichOneof("action") == "symlink" and action.symlink.HasField("owner")
        for owner in [action.symlink.owner] if linked else _owners(action):
            for user in (owner.user, owner.group):
                if user.WhichOneof("user") == "byName":
                    if not 0 <= user.byName.input < len(self.inputs) + len(self.actions):
                        raise BuildkitError(f"invalid user index: {user.byName.input}")
                    needs.append(user.byName.input)
        return [needed for needed in needs if needed != -1]

    def _perform(self, index: int) -> Node:
        position = index - len(self.inputs)
        action = self.actions[position]
        tree = Tree(self.done[action.input] if action.input != -1 else None)
        try:
            self._act(tree, action)
        except (BuildkitError, OSError) as err:
            raise FileActionError(err, position) from err
        return tree.freeze()

    def _act(self, tree: Tree, action: pb.FileAction) -> None:
        kind = action.WhichOneof("action")
        now = self.store.clock()
        if kind == "mkdir":
            mkdir(tree, action.mkdir, self._owner(action), now)
        elif kind == "mkfile":
            mkfile(self.store, tree, action.mkfile, self._owner(action), now)
        elif kind == "symlink":
            symlink(tree, action.symlink, self._symlink_owner(action.symlink), now)
        elif kind == "rm":
            remove(tree, action.rm, now)
        elif kind == "copy":
            source = Tree(self.done[action.secondaryInput] if action.secondaryInput != -1 else empty_root(now))
            docopy(self.store, source, tree, action.copy, self._owner(action), now)
        else:
            raise BuildkitError("invalid action type <nil>")

    def _symlink_owner(self, action: pb.FileActionSymlink) -> Owner | None:
        return self._read_owner(action.owner) if action.HasField("owner") else None

    def _owner(self, action: pb.FileAction) -> Owner | None:
        owners = _owners(action)
        return self._read_owner(owners[0]) if owners else None

    def _read_owner(self, owner: pb.ChownOpt) -> Owner:
        uid = gid = 0
        kind = owner.user.WhichOneof("user")
        if kind == "byID":
            uid = gid = owner.user.byID
        elif kind == "byName":
            entry = self._entry(owner.user.byName, b"/etc/passwd")
            if entry is not None and len(entry) > 3:
                uid, gid = _number(entry[2]), _number(entry[3])
        kind = owner.group.WhichOneof("user")
        if kind == "byID":
            gid = owner.group.byID
        elif kind == "byName":
            entry = self._entry(owner.group.byName, b"/etc/group")
            if entry is not None and len(entry) > 2:
                gid = _number(entry[2])
        return uid if uid != _NOBODY else 0, gid if gid != _NOBODY else 0

    def _entry(self, user: pb.NamedUserOpt, path: bytes) -> list[str] | None:
        """The fields of the line for a user or group, or None where there is no such file or line."""
        tree = Tree(self.done[user.input])
        try:
            node = tree.stat(path)
        except PathError as err:
            if err.errno == errno.ENOTDIR:
                return None
            raise
        if node is None:
            return None
        if not node.is_regular():
            raise BuildkitError(f"{path.decode()} is not a regular file")
        if node.size > MAX_USER_FILE:
            raise BuildkitError(f'"{path.decode()}" exceeds {MAX_USER_FILE} bytes')
        for line in self.store.get_blob(node.blob).decode("utf-8", "surrogateescape").splitlines():
            fields = line.strip().split(":")
            if fields[0] == user.name:
                return fields
        return None


def _number(text: str) -> int:
    return int(text) if text.isdigit() and text.isascii() else 0


def _time(timestamp: int) -> int | None:
    return None if timestamp == -1 else timestamp


def _path(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def mkdir(tree: Tree, action: pb.FileActionMkDir, owner: Owner | None, now: int) -> None:
    """Make a directory; one that exists stays as it is."""
    path = tree.resolve(_path(action.path))
    time = _time(action.timestamp)
    if action.makeParents:
        mkdir_all(tree, path, action.mode & 0o777, owner, time, now)
        return
    if tree.lstat(path) is not None:
        return
    node = tree.mkdir(path, action.mode & 0o777, time if time is not None else now, now)
    if owner is not None:
        node.uid, node.gid = owner


def mkfile(store: Store, tree: Tree, action: pb.FileActionMkFile, owner: Owner | None, now: int) -> None:
    """Write a file, in place of the content of one that exists."""
    path = tree.resolve(clean(_path(action.path)))
    existing = tree.lstat(path)
    if existing is not None and existing.is_dir():
        raise PathError("open", path, errno.EISDIR)
    node = Node(st.S_IFREG | (action.mode & 0o777))
    if existing is not None and existing.is_regular():
        node = existing.clone()
    elif existing is not None:
        raise PathError("open", path, errno.ENXIO)
    node.blob, node.size = store.put_blob(action.data), len(action.data)
    if owner is not None:
        node.uid, node.gid = owner
        node.mode &= ~(st.S_ISUID | (st.S_ISGID if node.mode & st.S_IXGRP else 0))  # as chown(2) does
    time = _time(action.timestamp)
    node.mtime = time if time is not None else now
    tree.put(path, node)
    if existing is None:
        tree.touch_parent(path, now)
    elif node.inode:
        _write_links(tree, node)


def _write_links(tree: Tree, node: Node) -> None:
    """Give the other names of a file the same content."""
    for path, other in list(walk(tree.root)):
        if other.inode == node.inode and other is not node:
            tree.put(b"/" + path, node.clone())


def symlink(tree: Tree, action: pb.FileActionSymlink, owner: Owner | None, now: int) -> None:
    """Make a symbolic link; nothing may be there."""
    path = tree.resolve(clean(_path(action.newpath)))
    shown = f"symlink {action.oldpath} {path.decode('utf-8', 'replace')}"
    if not action.oldpath:
        raise BuildkitError(f"{shown}: no such file or directory")
    if tree.lstat(path) is not None:
        raise BuildkitError(f"{shown}: file exists")
    link = _path(action.oldpath)
    time = _time(action.timestamp)
    node = Node(st.S_IFLNK | 0o777, link=link, size=len(link), mtime=time if time is not None else now)
    if owner is not None:
        node.uid, node.gid = owner
    try:
        tree.put(path, node, "symlink")
    except PathError as err:
        raise BuildkitError(f"{shown}: {err.reason()}") from err
    tree.touch_parent(path, now)


def remove(tree: Tree, action: pb.FileActionRm, now: int) -> None:
    """Remove a file or a directory with everything in it."""
    path = _path(action.path)
    if not action.allowWildcard:
        _remove_path(tree, path, action.allowNotFound, now)
        return
    for match in resolve_wildcards(tree, clean(path), False):
        _remove_path(tree, match, action.allowNotFound, now)


def _remove_path(tree: Tree, path: bytes, allow_not_found: bool, now: int) -> None:
    parent, name = parent_of(clean(path))
    if not name:
        raise BuildkitError("rmPath: invalid empty path")
    parent = tree.resolve(parent)
    path = join(parent, name)
    node = tree.lstat(path)
    if not allow_not_found:
        followed = tree.stat(path) if node is not None else None
        if followed is None:
            raise PathError("stat", path, errno.ENOENT)
    above = tree.lstat(parent)
    if above is not None and not above.is_dir():
        raise PathError("unlinkat", path, errno.ENOTDIR)
    if node is not None:
        tree.remove(path)
        tree.touch_parent(path, now)


def clean_path(path: bytes) -> bytes:
    """The shortest absolute form, a trailing "/" or "/." kept."""
    cleaned = clean(path)
    if path.endswith(b"/."):
        return (cleaned if cleaned == b"/" else cleaned + b"/") + b"."
    if path.endswith(b"/") and cleaned != b"/":
        return cleaned + b"/"
    return cleaned


def docopy(store: Store, source: Tree, tree: Tree, action: pb.FileActionCopy, owner: Owner | None, now: int) -> None:
    """Copy files, with wildcards, new owners and modes, and archives unpacked where that is asked for."""
    src, dst = clean_path(_path(action.src)), clean_path(_path(action.dest))
    if not action.createDestPath:
        parent = parent_of(tree.resolve(clean(_path(action.dest))))[0]
        if tree.lstat(parent) is None:
            raise wrap(PathError("lstat", parent, errno.ENOENT), f"failed to stat {action.dest}")
    time = _time(action.timestamp)
    info = CopyInfo(
        now=now,
        owner=owner,
        time=time,
        mode=None if action.modeStr or action.mode == -1 else action.mode,
        mode_words=action.modeStr,
        copy_dir_contents=action.dirCopyContents,
        follow_links=action.followSymlink,
        include=tuple(action.include_patterns),
        exclude=tuple(action.exclude_patterns),
        always_replace=action.alwaysReplaceExistingDestPaths,
    )
    matches = [src]
    if action.allowWildcard:
        matches = resolve_wildcards(source, src, action.followSymlink)
        if not matches:
            if action.allowEmptyWildcard:
                return
            raise BuildkitError(f"{src.decode('utf-8', 'replace')} not found")
    for match in matches:
        if action.attemptUnpackDockerCompatibility and unpack(store, source, match, tree, dst, owner, time):
            continue
        copy(source, match, tree, dst, info)
