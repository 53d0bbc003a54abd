"""Git repositories as sources, fetched by the program `git`.

Mirrors source/git, v0.32.2.

What a reference means now is asked of the server; the files of a commit that an earlier build has fetched are taken
from the store. Else the commit, and where it can be nothing but it, is fetched into a folder of its own, which is
gone again when its files are in the store.

Differs on purpose: no repository is kept between builds; logins never stand on a command line; bundles and signatures
are refused.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import posixpath
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from fake_buildkitd.errors import UnsupportedError
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.solver import CacheKeyError, Kept, Vertex
from fake_buildkitd.sources._file import cache_key
from fake_buildkitd.sources._folder import import_folder
from fake_buildkitd.sources._gitcli import HIDDEN, Access, GitCLI, Log, Runner, is_commit
from fake_buildkitd.store import Node, Snapshot, Store
from pybuildkit import identity
from pybuildkit.client._graph import VertexLog
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, find, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.rpc import Code, RpcError
from pybuildkit.session import Caller, Manager
from pybuildkit.session._group import NoActiveSessionsError, any_session, new_group
from pybuildkit.session.secrets import SecretNotFoundError, get_secret
from pybuildkit.solver import pb
from pybuildkit.util import gitutil

if TYPE_CHECKING:
    from pybuildkit.frontend.gateway.pb import gateway_pb2
    from pybuildkit.solver.pb import ops_pb2

T = TypeVar("T")

_REFUSED = (pb.ATTR_GIT_BUNDLE, pb.ATTR_GIT_CHECKOUT_BUNDLE, pb.ATTR_GIT_SIGNATURE_VERIFY_PUB_KEY)
_SECOND = 1_000_000_000


class GitSourceError(BuildkitError):
    """A repository, or what is wanted of it, that cannot be had."""


@dataclass(frozen=True, kw_only=True)
class _Identifier:
    remote: str
    login: tuple[str, str] | None = None
    ref: str = ""
    checksum: str = ""
    sub_dir: str = ""
    keep_git_dir: bool = False
    header_secret: str = ""
    token_secret: str = ""
    ssh_socket: str = ""
    known_hosts: str = ""
    skip_submodules: bool = False
    mtime: str = ""
    fetch_by_commit: bool = False

    @property
    def shown(self) -> str:
        """The address without its login."""
        if self.login is None:
            return self.remote
        user, password = self.login
        return self.remote.replace("://", f"://{HIDDEN if user else ''}{f':{HIDDEN}' if password else ''}@", 1)

    @property
    def commit(self) -> str:
        """The name that is fetched: the wanted commit's where that was asked for, else the reference's."""
        return self.checksum if self.fetch_by_commit and self.checksum else self.ref


def _identifier(text: str, attrs: Mapping[str, str]) -> _Identifier:
    for key in _REFUSED:
        if attrs.get(key):
            raise UnsupportedError(f"{text}: this daemon does not know {key}")
    name = text.partition("://")[2]
    url = gitutil.parse_url(name if gitutil.is_git_transport(name) else f"https://{name}")
    ref, sub_dir = (url.opts.ref, url.opts.subdir) if url.opts is not None else ("", "")
    remote = attrs.get(pb.ATTR_FULL_REMOTE_URL, url.remote)
    if not gitutil.is_git_transport(remote):
        remote = f"https://{remote}"
    if ref.startswith("-"):
        raise GitSourceError(f"invalid git ref {quote(ref)}")
    remote, login = _without_login(remote)
    return _Identifier(
        remote=remote,
        login=login,
        ref=ref,
        sub_dir=posixpath.normpath(f"/{sub_dir}").lstrip("/"),
        checksum=attrs.get(pb.ATTR_GIT_CHECKSUM, ""),
        keep_git_dir=attrs.get(pb.ATTR_KEEP_GIT_DIR) == "true",
        header_secret=attrs.get(pb.ATTR_AUTH_HEADER_SECRET, ""),
        token_secret=attrs.get(pb.ATTR_AUTH_TOKEN_SECRET, ""),
        ssh_socket=attrs.get(pb.ATTR_MOUNT_SSH_SOCK, ""),
        known_hosts=attrs.get(pb.ATTR_KNOWN_SSH_HOSTS, ""),
        skip_submodules=attrs.get(pb.ATTR_GIT_SKIP_SUBMODULES) == "true",
        mtime=attrs.get(pb.ATTR_GIT_MTIME, ""),
        fetch_by_commit=attrs.get(pb.ATTR_GIT_FETCH_BY_COMMIT) == "true",
    )


def _without_login(remote: str) -> tuple[str, tuple[str, str] | None]:
    """A web address without the login in it, and that login; others are left as they are."""
    from urllib.parse import unquote, urlsplit, urlunsplit

    parts = urlsplit(remote)
    login, at, host = parts.netloc.rpartition("@")
    if parts.scheme not in ("http", "https") or not at:
        return remote, None
    user, _, password = login.partition(":")
    return urlunsplit(parts._replace(netloc=host)), (unquote(user), unquote(password))


@dataclass(frozen=True, kw_only=True)
class _Metadata:
    """What a reference means: its whole name, its object, and the commit of an annotated tag.

    `asked` is the reference itself, the default branch where none was given.
    """

    ref: str
    checksum: str
    commit: str = ""
    asked: str = ""


class GitSource:
    """The repositories of one build.

    Args:
        store: keeps their files.
        manager: knows the sessions.
        session_id: the build's session: secrets and agents.
    """

    def __init__(self, store: Store, manager: Manager, session_id: str) -> None:
        self._store = store
        self._manager = manager
        self._group = new_group(session_id)
        self._known: dict[tuple[str, str], _Metadata] = {}
        self._lock = asyncio.Lock()

    async def __call__(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> Snapshot | Kept:
        """The files of a commit.

        Raises:
            CacheKeyError: there is no such reference. BuildkitError: it cannot be fetched.
        """
        op = vertex.op.source
        log = _log(writer)
        try:
            identifier = _identifier(op.identifier, op.attrs)
            found = await self._resolve(ctx, identifier, log)
        except BuildkitError as err:
            raise CacheKeyError(err) from err
        key = cache_key("git", _commit_key(identifier, found), identifier.sub_dir)
        kept = self._store.cached(key)
        if kept is not None:
            return kept if vertex.ignore_cache else Kept(kept)
        if not identifier.ref:
            identifier = replace(identifier, ref=found.asked)

        def work(git: GitCLI, folder: str) -> Node:
            checkout = _Checkout(git, folder, identifier, found, self._store)
            return checkout.run()

        root = await self._run(ctx, identifier, log, work)
        snapshot = self._store.commit(root, f"git snapshot for {identifier.shown}#{identifier.ref}")
        self._store.cache(key, snapshot)
        return snapshot

    async def describe(
        self, ctx: Context, source: ops_pb2.SourceOp, objects: bool, writer: VertexWriter
    ) -> gateway_pb2.ResolveSourceGitResponse:
        """What a reference means.

        Args:
            objects: whether the texts of the commit, and of an annotated tag, are wanted too.

        Raises:
            BuildkitError: there is no such reference.
        """
        from pybuildkit.frontend.gateway.pb import gateway_pb2

        log = _log(writer)
        identifier = _identifier(source.identifier, source.attrs)
        found = await self._resolve(ctx, identifier, log)
        response = gateway_pb2.ResolveSourceGitResponse(
            Ref=found.ref, Checksum=found.checksum, CommitChecksum=found.commit
        )
        if not objects:
            return response
        if not identifier.ref:
            identifier = replace(identifier, ref=found.asked)

        def work(git: GitCLI, folder: str) -> tuple[str, str, str]:
            return _Checkout(git, folder, identifier, found, self._store).objects()

        response.CommitChecksum, tag, commit = await self._run(ctx, identifier, log, work)
        response.TagObject, response.CommitObject = tag.encode(), commit.encode()
        return response

    async def _resolve(self, ctx: Context, identifier: _Identifier, log: Log) -> _Metadata:
        """What the reference means now; asked once in a build."""
        known = _plain_metadata(identifier)
        if known is not None:
            return known
        async with self._lock:
            key = (identifier.remote, identifier.ref)
            found = self._known.get(key)
            if found is None or not found.checksum.startswith(identifier.checksum):
                found = await self._run(ctx, identifier, log, lambda git, folder: _ask(git, identifier))
                self._known[key] = found
            return found

    async def _run(self, ctx: Context, identifier: _Identifier, log: Log, work: Callable[[GitCLI, str], T]) -> T:
        """Do what blocks in a thread, in a folder that is gone afterwards; git ends with the context."""
        runner = Runner()

        def blocking(access: Access) -> T:
            with tempfile.TemporaryDirectory(prefix="fake-buildkitd-git", ignore_cleanup_errors=True) as folder:
                return work(GitCLI(runner=runner, access=access, log=log, folder=folder), folder)

        async with self._access(ctx, identifier) as access:
            task = asyncio.ensure_future(asyncio.to_thread(blocking, access))
            try:
                return await context.run(ctx, asyncio.shield(task))
            finally:
                if not task.done():
                    runner.stop()
                    await asyncio.wait([task])
                    task.exception()

    @contextlib.asynccontextmanager
    async def _access(self, ctx: Context, identifier: _Identifier) -> AsyncIterator[Access]:
        header = await self._header(ctx, identifier)
        settings: dict[str, str] = {}
        if header:
            settings[f"http.{_scope(identifier.remote)}.extraheader"] = f"Authorization: {header}"
        hidden = [text for text in (header, header.partition(" ")[2]) if text]
        async with contextlib.AsyncExitStack() as stack:
            socket = await self._agent(ctx, identifier.ssh_socket, stack) if identifier.ssh_socket else ""
            hosts = ""
            if identifier.known_hosts:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fake-buildkitd-hosts"))
                hosts = os.path.join(folder, "known_hosts")
                _write(hosts, identifier.known_hosts)
            yield Access(settings=settings, hidden=hidden, ssh_socket=socket, known_hosts=hosts)

    async def _agent(self, ctx: Context, name: str, stack: contextlib.AsyncExitStack) -> str:
        """A socket that leads to an agent of the client."""
        from pybuildkit.session.sshforward import SocketOpt, check_ssh_id, mount_ssh_socket

        async def find_caller(ctx: Context, _: str, caller: Caller) -> Caller:
            try:
                await check_ssh_id(ctx, caller, name)
            except RpcError as err:
                if err.code == Code.UNIMPLEMENTED:
                    raise GitSourceError(f"no SSH key {quote(name)} forwarded from the client") from err
                raise
            return caller

        caller = await any_session(ctx, self._manager, self._group, find_caller)
        path, close = await mount_ssh_socket(ctx, caller, SocketOpt(id=name, mode=0o700))
        stack.push_async_callback(close)
        return path

    async def _header(self, ctx: Context, identifier: _Identifier) -> str:
        """The value of Authorization that the session has for a repository, or that is in its address."""
        from urllib.parse import urlsplit

        host = urlsplit(identifier.remote).netloc
        names = [
            (f"{secret}{suffix}", token)
            for suffix in (f".{host}", "")
            for secret, token in ((identifier.header_secret, False), (identifier.token_secret, True))
            if secret
        ]

        async def ask(ctx: Context, _: str, caller: Caller) -> str:
            for name, token in names:
                try:
                    value = await get_secret(ctx, caller, name)
                except BuildkitError as err:
                    if find(err, SecretNotFoundError) is None:
                        raise
                    continue
                return f"basic {_basic('x-access-token', value.decode('latin-1'))}" if token else value.decode()
            return ""

        try:
            header = await any_session(ctx, self._manager, self._group, ask) if names else ""
        except NoActiveSessionsError:
            header = ""
        if not header and identifier.login is not None:
            return f"basic {_basic(*identifier.login)}"
        if any(ord(char) < 0x20 for char in header):
            raise GitSourceError(f"the secret for {host} cannot be sent in a header")
        return header


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape")).decode()


def _scope(remote: str) -> str:
    """Which addresses a login is for: all of github.com's, else that of the repository."""
    for prefix in ("https://github.com/", "https://www.github.com/"):
        if remote.startswith(prefix):
            return prefix
    return remote


def _log(writer: VertexWriter) -> Log:
    """Show what git says as the step's output; may be called in any thread."""
    loop = asyncio.get_running_loop()
    progress = writer.progress

    def show(stream: int, data: bytes) -> None:
        message = VertexLog(vertex=writer.vertex.digest, stream=stream, data=data)
        loop.call_soon_threadsafe(lambda: progress.write(progress.new_id(), message))

    return show


def _commit_key(identifier: _Identifier, found: _Metadata) -> str:
    """The name of the tree that is made."""
    commit = found.checksum if identifier.keep_git_dir else found.commit or found.checksum
    key = f"{commit}.git#{found.ref}" if identifier.keep_git_dir else commit
    if identifier.skip_submodules:
        key += "(skip-submodules)"
    if identifier.mtime not in ("", "checkout"):
        key += f"(mtime={identifier.mtime})"
    return key


def _plain_metadata(identifier: _Identifier) -> _Metadata | None:
    """What the identifier says without asking the server, or None."""
    checksum, ref = identifier.checksum, identifier.ref
    if checksum and not re.fullmatch("[a-fA-F0-9]+", checksum):
        raise GitSourceError(f"invalid checksum {checksum} for Git URL, expected hex commit hash")
    if is_commit(ref):
        if not ref.startswith(checksum):
            raise GitSourceError(f"expected checksum to match {checksum}, got {ref}")
        return _Metadata(ref=ref, checksum=ref, asked=ref)
    if not identifier.fetch_by_commit:
        return None
    if not checksum:
        raise GitSourceError("fetch-by-commit requires a checksum or a commit SHA ref")
    if not is_commit(checksum):
        raise GitSourceError(f"fetch-by-commit requires a full commit SHA checksum, got {quote(checksum)}")
    if ref and not ref.startswith("refs/"):
        ref = f"refs/heads/{ref}"
    return _Metadata(ref=ref or checksum, checksum=checksum, asked=ref or checksum)


def _ask(git: GitCLI, identifier: _Identifier) -> _Metadata:
    """Ask the server what the reference means; blocks."""
    remote = identifier.remote
    ref = identifier.ref or _default_branch(git, identifier)
    try:
        listed = git.run("ls-remote", "--", remote, ref, ref + "^{}")
    except BuildkitError as err:
        raise wrap(err, f"failed to fetch remote {identifier.shown}") from err
    found = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
    partial, head, tag = (prefix + ref.removeprefix(prefix) for prefix in ("refs/", "refs/heads/", "refs/tags/"))
    name = next((name for name in (partial, head, tag) if name in found), "")
    if not name:
        raise GitSourceError(f"repository does not contain ref {ref}, output: {quote(listed)}")
    checksum = found[name]
    commit = found.get(tag + "^{}", "") if name == tag and name != partial else ""
    if not is_commit(checksum):
        raise GitSourceError(f"invalid commit sha {quote(checksum)}")
    wanted = identifier.checksum
    if wanted and not checksum.startswith(wanted) and not (commit and commit.startswith(wanted)):
        got = f" or {commit}" if commit else checksum
        raise GitSourceError(f"expected checksum to match {wanted}, got {got}")
    return _Metadata(ref=name, checksum=checksum, commit="" if identifier.keep_git_dir else commit, asked=ref)


def _default_branch(git: GitCLI, identifier: _Identifier) -> str:
    try:
        listed = git.run("ls-remote", "--symref", identifier.remote, "HEAD")
    except BuildkitError as err:
        raise wrap(err, f"error fetching default branch for repository {identifier.shown}") from err
    branch = re.search(r"refs/heads/(\S+)", listed)
    if branch is None:
        raise GitSourceError(f"could not find default branch for repository: {identifier.shown}")
    if branch[1].startswith("-"):
        raise GitSourceError(f"invalid git ref {quote(branch[1])}")
    return branch[1]


class _Checkout:
    """Fetches a commit and takes its files; blocks."""

    def __init__(self, git: GitCLI, folder: str, identifier: _Identifier, found: _Metadata, store: Store) -> None:
        self._identifier = identifier
        self._found = found
        self._store = store
        self._bare = os.path.join(folder, "repository")
        self._tree = os.path.join(folder, "tree")
        self._git = git.at(self._bare)
        self._format = ["--object-format=sha256"] if len(found.checksum) == 64 else []

    def run(self) -> Node:
        """The tree of the wanted files."""
        identifier = self._identifier
        self._fetch()
        os.mkdir(self._tree, 0o755)
        keep = identifier.keep_git_dir and not identifier.sub_dir
        git = self._keep() if keep else self._git.at(self._bare, self._tree)
        if not keep:
            self._step("checkout", git, "checkout", "--no-overlay", identifier.commit, "--", ".")
        if not identifier.skip_submodules:
            try:
                git.run("submodule", "update", "--init", "--recursive", "--depth=1")
            except BuildkitError as err:
                raise wrap(err, f"failed to update submodules for {identifier.shown}") from err
        time = None
        if identifier.mtime == "commit":
            text = git.run("log", "-1", "--format=%ct", identifier.commit + "^{commit}")
            time = int(text.strip()) * _SECOND
        return import_folder(self._store, os.path.join(self._tree, self._sub_dir()), time)

    def objects(self) -> tuple[str, str, str]:
        """The commit of an annotated tag ("" where there is none), the tag's text and the commit's."""
        self._fetch()
        checksum = self._found.checksum
        kind = self._git.run("cat-file", "-t", checksum).strip()
        if kind not in ("commit", "tag"):
            raise GitSourceError(f"expected commit or tag object, got {kind}")
        if kind == "commit":
            return "", "", self._git.run("cat-file", "commit", checksum)
        commit = self._git.run("rev-parse", checksum + "^{commit}").strip()
        return commit, self._git.run("cat-file", "tag", checksum), self._git.run("cat-file", "commit", commit)

    def _step(self, what: str, git: GitCLI, *args: str) -> str:
        try:
            return git.run(*args)
        except BuildkitError as err:
            raise wrap(err, f"failed to {what} remote {self._identifier.shown}") from err

    def _fetch(self) -> None:
        identifier, git = self._identifier, self._git
        git.run("-c", "init.defaultBranch=master", "init", "--bare", *self._format)
        git.run("remote", "add", "origin", identifier.remote)
        name, ref = identifier.commit, identifier.ref
        whole = is_commit(name) and not identifier.fetch_by_commit
        args = ["fetch", "--tags"] if whole else ["fetch", "--depth=1", "--no-tags"]
        place = ref if ref.startswith("refs/tags/") else f"tags/{ref}"
        if is_commit(ref):
            self._step("fetch", git, *args, "origin", ref)
        elif ref:
            self._step("fetch", git, *args, "origin", "--force", "--", f"{name}:{place}")
        else:
            self._step("fetch", git, *args, "origin", name)
        self._check_moved(place)
        self._check_checksum()

    def _check_moved(self, place: str) -> None:
        """The reference may mean another commit by now: the one that was found first counts."""
        git, wanted = self._git, self._found.checksum
        if git.run("rev-parse", self._identifier.commit).strip() == wanted:
            return
        shallow = ["--unshallow"] if os.path.exists(os.path.join(self._bare, "shallow")) else []
        self._step("fetch", git, "fetch", "--tags", *shallow, "origin", wanted)
        if not git.has("cat-file", "-e", wanted):
            raise GitSourceError(
                f"fetched ref {self._identifier.ref} does not match expected commit {wanted} and commit can not be "
                "found in the repository"
            )
        git.run("update-ref", place if place.startswith("refs/") else f"refs/{place}", wanted, "--no-deref")

    def _check_checksum(self) -> None:
        wanted, git = self._identifier.checksum, self._git
        if not wanted:
            return
        name = self._identifier.commit
        actual = git.run("rev-parse", name).strip()
        if actual.startswith(wanted):
            return
        peeled = git.run("rev-parse", name + "^{}").strip()
        if not peeled.startswith(wanted):
            got = actual if peeled == actual else f"{actual} or {peeled}"
            raise GitSourceError(f"expected checksum to match {wanted}, got {got}")

    def _keep(self) -> GitCLI:
        """Check out into a repository of its own, which stays in the tree."""
        identifier = self._identifier
        folder = os.path.join(self._tree, ".git")
        git = self._git.at(folder, self._tree)
        git.run("-c", "init.defaultBranch=master", "init", *self._format)
        git.run("remote", "add", "origin", f"file://{self._bare}")
        git.run("fetch", "-u", "--depth=1", "--", "origin", self._pulled())
        self._step("checkout", git, "checkout", "FETCH_HEAD")
        git.run("remote", "set-url", "origin", identifier.shown)
        git.run("reflog", "expire", "--all", "--expire=now")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, "FETCH_HEAD"))
        return git

    def _pulled(self) -> str:
        """What is fetched of the commit's own repository, and the name that it gets."""
        identifier, ref = self._identifier, self._identifier.ref
        if self._git.run("cat-file", "-t", identifier.commit).strip() == "tag":
            return f"{ref}:{ref if ref.startswith('refs/tags/') else f'refs/tags/{ref}'}"
        if identifier.commit != ref and ref:
            return f"{identifier.commit}:{self._found.ref}"
        if is_commit(identifier.commit):
            name = f"refs/buildkit/{identity.new_id()}"
            self._git.run("update-ref", name, identifier.commit)
            return name
        return f"{ref}:{ref}"

    def _sub_dir(self) -> str:
        """The wanted folder, which lies in folders only."""
        wanted, path = self._identifier.sub_dir, ""
        for part in wanted.split("/") if wanted else ():
            path = posixpath.join(path, part)
            place = os.path.join(self._tree, path)
            if not os.path.lexists(place):
                reason = f"failed to lstat {quote(path)}: statat {path}: no such file or directory"
                raise GitSourceError(f"invalid subdir {wanted}: {reason}")
            if os.path.islink(place) or not os.path.isdir(place):
                reason = f"git subpath {quote(wanted)} contains non-directory {quote(path)}"
                raise GitSourceError(f"invalid subdir {wanted}: {reason}")
        return path
