"""Addresses of git repositories in Dockerfiles and as contexts.

Mirrors frontend/dockerfile/dfgitutil/git_ref.go, and DetectGitContext of frontend/dockerui/context.go, v0.32.2; with
what is no repository but on the web all the same.

Over the web an address is a repository's where its path ends in `.git`; `github.com/…` is one too, but only as a
context: elsewhere it is a local path.

Differs on purpose: a password in a context's address is not shown in the name of its step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pybuildkit.client import llb
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import parse_bool, quote
from pybuildkit.golang.url import URL, URLError, parse, redacted
from pybuildkit.util import gitutil

_UNNAMED = "__unnamed__"
_FLAGS = ("submodules", "keep-git-dir", "fetch-by-commit")


class GitRefError(BuildkitError):
    """A repository's address that says something impossible behind its `?`."""


@dataclass
class GitRef:
    """What an address says of a repository.

    Args:
        ref: branch, tag or commit; "" for the default one.
        local: the text could be a local path as well.
        keep_git_dir, submodules: None where nothing is said.
    """

    remote: str
    ref: str = ""
    checksum: str = ""
    sub_dir: str = ""
    local: bool = False
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    fetch_by_commit: bool = False

    def options(self) -> list[llb.GitOption]:
        """The options of the source, but for the name of its step and the `.git` directory."""
        options: list[llb.GitOption] = [llb.git_ref(self.ref)]
        if self.sub_dir:
            options.append(llb.git_sub_dir(self.sub_dir))
        if self.checksum:
            options.append(llb.git_checksum(self.checksum))
        if self.submodules is False:
            options.append(llb.git_skip_submodules())
        if self.mtime:
            options.append(llb.git_mtime(self.mtime))
        if self.fetch_by_commit:
            options.append(llb.git_fetch_by_commit())
        return options


def parse_git_ref(text: str) -> GitRef | None:
    """What an address says; None for one that is no repository's.

    Raises:
        GitRefError: the address is a repository's, and says something impossible.
    """
    if text.startswith(("./", "../")):
        return None
    local = text.startswith("github.com/")
    try:
        url = gitutil.parse_url(f"https://{text}" if local else text)
    except BuildkitError:
        return None
    if not local and url.scheme in ("http", "https") and not url.path.endswith(".git"):
        return None
    found = GitRef(url.remote.removeprefix("https://") if local else url.remote, local=local)
    if url.opts is not None:
        found.ref, found.sub_dir = url.opts.ref, url.opts.subdir
    _Query(found).read(url.raw_query)
    return found


class _Query:
    """Reads what stands behind the `?`."""

    def __init__(self, found: GitRef) -> None:
        self._found = found
        self._tag = self._branch = ""

    def read(self, raw: str) -> None:
        url = URL()
        url.raw_query = raw
        for key, values in url.query().items():
            if len(values) > 1:
                raise GitRefError(f"query {quote(key)} has multiple values")
            if not values[0] and key not in _FLAGS:
                raise GitRefError(f"query {quote(key)} has no value")
            self._value(key, values[0])
        if self._tag and self._branch:
            raise GitRefError("branch conflicts with tag")
        for value, prefix in ((self._tag, "refs/tags/"), (self._branch, "refs/heads/")):
            if value:
                self._set_ref(value if value.startswith(prefix) else prefix + value)

    def _value(self, key: str, value: str) -> None:
        found = self._found
        if key == "ref":
            self._set_ref(value)
        elif key == "tag":
            self._tag = value
        elif key == "branch":
            self._branch = value
        elif key == "subdir":
            if found.sub_dir not in ("", value):
                raise GitRefError(f"subdir conflicts: {quote(found.sub_dir)} vs {quote(value)}")
            found.sub_dir = value
        elif key in ("checksum", "commit"):
            found.checksum = value
        elif key == "mtime":
            if value not in ("checkout", "commit"):
                raise GitRefError(f'invalid mtime value: {quote(value)} (must be "checkout" or "commit")')
            found.mtime = value
        elif key == "keep-git-dir":
            found.keep_git_dir = _flag(key, value)
        elif key == "submodules":
            found.submodules = _flag(key, value)
        elif key == "fetch-by-commit":
            found.fetch_by_commit = _flag(key, value)
        else:
            raise GitRefError(f"unexpected query {quote(key)}")

    def _set_ref(self, value: str) -> None:
        if self._found.ref not in ("", value):
            raise GitRefError(f"ref conflicts: {quote(self._found.ref)} vs {quote(value)}")
        self._found.ref = value


def _flag(key: str, value: str) -> bool:
    try:
        return parse_bool(value) if value else True
    except BuildkitError as err:
        raise GitRefError(f"invalid {key} value: {quote(value)}") from err


def git_context(text: str, keep_git_dir: bool = False, more: Sequence[llb.GitOption] = ()) -> llb.State | None:
    """The files of a repository as a context, None where the text names none; may wait for an ssh server's keys.

    Raises:
        GitRefError: as `parse_git_ref`.
    """
    found = parse_git_ref(text)
    if found is None:
        return None
    options = [*more, *found.options(), llb.with_custom_name(f"[internal] load git source {redacted(text)}")]
    if found.keep_git_dir or keep_git_dir:
        options.append(llb.keep_git_dir())
    return llb.git(found.remote, "", *options)


def is_git(text: str) -> bool:
    """Whether an address is a repository's, and says nothing impossible."""
    try:
        return parse_git_ref(text) is not None
    except GitRefError:
        return False


def is_web(text: str) -> bool:
    """Whether an address is that of a file on a web server."""
    return text.startswith(("http://", "https://")) and not is_git(text)


def web_file_name(address: str) -> str:
    """The name that ADD gives to a file from the web."""
    try:
        name = parse(address).path.rstrip("/").rpartition("/")[2]
    except URLError:
        name = ""
    return _UNNAMED if name in ("", ".") else name
