"""Git repositories.

Mirrors Git and its options in client/llb/source.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol

from pybuildkit.client.llb._constraints import Constraints, add_cap
from pybuildkit.client.llb._option import Option, apply_options, maker
from pybuildkit.client.llb._source import SourceOp
from pybuildkit.client.llb._state import State, new_state
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver import pb
from pybuildkit.util import gitutil
from pybuildkit.util.system import join

if TYPE_CHECKING:
    from pybuildkit.client.llb._http import HTTPInfo

_P = ParamSpec("_P")

GIT_AUTH_HEADER_KEY: Final = "GIT_AUTH_HEADER"
GIT_AUTH_TOKEN_KEY: Final = "GIT_AUTH_TOKEN"


class GitInfo:
    """What the options of one `git` have said."""

    __slots__ = (
        "add_auth_cap",
        "auth_header_secret",
        "auth_token_secret",
        "bundle",
        "bundle_oci_session_id",
        "bundle_oci_store_id",
        "checkout_bundle",
        "checksum",
        "constraints",
        "fetch_by_commit",
        "keep_git_dir",
        "known_ssh_hosts",
        "mount_ssh_sock",
        "mtime",
        "ref",
        "skip_submodules",
        "sub_dir",
    )

    def __init__(self) -> None:
        self.constraints = Constraints()
        self.auth_header_secret = GIT_AUTH_HEADER_KEY
        self.auth_token_secret = GIT_AUTH_TOKEN_KEY
        self.add_auth_cap = False
        self.keep_git_dir = False
        self.known_ssh_hosts = ""
        self.mount_ssh_sock = ""
        self.checksum = ""
        self.ref = ""
        self.sub_dir = ""
        self.skip_submodules = False
        self.mtime = ""
        self.bundle = ""
        self.bundle_oci_session_id = ""
        self.bundle_oci_store_id = ""
        self.checkout_bundle = False
        self.fetch_by_commit = False


_Change = Callable[[GitInfo], None]


class GitOption(Protocol):
    """What `git` takes."""

    def set_git_option(self, info: GitInfo) -> None:
        """Change the options of one `git`."""


class _GitOption(Option[GitInfo]):
    __slots__ = ()

    def set_git_option(self, info: GitInfo) -> None:
        """Change the options of one `git`."""
        self._apply(info)


def _git(make: Callable[_P, _Change]) -> Callable[_P, _GitOption]:
    return maker(_GitOption, make)


def git(url: str, fragment: str = "", *options: GitOption) -> State:
    """A repository's files.

    Args:
        url: "https://host/repo.git", "git@host:repo.git", "ssh://…", "host/repo"; what follows a `#` is not used.
        fragment: "REF" or "REF:SUBDIR", the older form of `git_ref` and `git_sub_dir`.
    """
    url, remote = _parse(url)
    info = GitInfo()
    info.ref, _, sub_dir = fragment.partition(":")
    info.sub_dir = join("/", sub_dir).removeprefix("/")
    apply_options(options, "set_git_option", info, "git")
    attrs = _attrs(url, info)
    if remote is not None and remote.scheme == "ssh":
        _ssh_attrs(remote.host, info, attrs)
    add_cap(info.constraints, pb.CAP_SOURCE_GIT)
    id = url if remote is None else _identifier(remote, info)
    return new_state(SourceOp(f"git://{id}", attrs, info.constraints).output())


def _parse(url: str) -> tuple[str, gitutil.GitURL | None]:
    """What git is to fetch, and its parts; no parts where the address is none (the daemon says so then)."""
    try:
        try:
            remote = gitutil.parse_url(url)
        except gitutil.GitURLError:
            url = f"https://{url}"
            remote = gitutil.parse_url(url)
    except BuildkitError:
        return url, None
    return remote.remote, remote


def _identifier(remote: gitutil.GitURL, info: GitInfo) -> str:
    """The same for all protocols by which one repository can be had."""
    id = remote.host + join("/", remote.path)
    if info.ref or info.sub_dir:
        id += f"#{info.ref}"
    return f"{id}:{info.sub_dir}" if info.sub_dir else id


def _attrs(url: str, info: GitInfo) -> dict[str, str]:
    attrs: dict[str, str] = {}
    for value, attr, cap in (
        ("true" if info.keep_git_dir else "", pb.ATTR_KEEP_GIT_DIR, pb.CAP_SOURCE_GIT_KEEP_DIR),
        (url, pb.ATTR_FULL_REMOTE_URL, pb.CAP_SOURCE_GIT_FULL_URL),
        (info.checksum, pb.ATTR_GIT_CHECKSUM, pb.CAP_SOURCE_GIT_CHECKSUM),
        ("true" if info.skip_submodules else "", pb.ATTR_GIT_SKIP_SUBMODULES, pb.CAP_SOURCE_GIT_SKIP_SUBMODULES),
        (info.mtime, pb.ATTR_GIT_MTIME, pb.CAP_SOURCE_GIT_MTIME),
        ("true" if info.fetch_by_commit else "", pb.ATTR_GIT_FETCH_BY_COMMIT, pb.CAP_SOURCE_GIT_FETCH_BY_COMMIT),
        (info.bundle, pb.ATTR_GIT_BUNDLE, pb.CAP_SOURCE_GIT_BUNDLE),
        ("true" if info.checkout_bundle else "", pb.ATTR_GIT_CHECKOUT_BUNDLE, pb.CAP_SOURCE_GIT_CHECKOUT_BUNDLE),
    ):
        if value:
            attrs[attr] = value
            add_cap(info.constraints, cap)
    for value, attr in (
        (info.auth_token_secret, pb.ATTR_AUTH_TOKEN_SECRET),
        (info.auth_header_secret, pb.ATTR_AUTH_HEADER_SECRET),
    ):
        if value:
            attrs[attr] = value
            if info.add_auth_cap:
                add_cap(info.constraints, pb.CAP_SOURCE_GIT_HTTP_AUTH)
    if info.bundle_oci_session_id:
        attrs[pb.ATTR_OCI_LAYOUT_SESSION_ID] = info.bundle_oci_session_id
    if info.bundle_oci_store_id:
        attrs[pb.ATTR_OCI_LAYOUT_STORE_ID] = info.bundle_oci_store_id
    return attrs


def _ssh_attrs(host: str, info: GitInfo, attrs: dict[str, str]) -> None:
    known = info.known_ssh_hosts
    if not known:
        from pybuildkit.client.llb._sshkeyscan import ssh_key_scan

        scanned = ssh_key_scan(host)
        if scanned is not None:
            attrs[pb.ATTR_KNOWN_SSH_HOSTS] = scanned
    else:
        attrs[pb.ATTR_KNOWN_SSH_HOSTS] = known
    add_cap(info.constraints, pb.CAP_SOURCE_GIT_KNOWN_SSH_HOSTS)
    attrs[pb.ATTR_MOUNT_SSH_SOCK] = info.mount_ssh_sock or "default"
    add_cap(info.constraints, pb.CAP_SOURCE_GIT_MOUNT_SSH_SOCK)


@_git
def git_ref(ref: str) -> _Change:
    """The branch, tag or commit."""

    def change(info: GitInfo) -> None:
        info.ref = ref

    return change


@_git
def git_sub_dir(path: str) -> _Change:
    """The directory of the repository that is the tree."""

    def change(info: GitInfo) -> None:
        info.sub_dir = path

    return change


@_git
def git_skip_submodules() -> _Change:
    """Leave submodules out."""

    def change(info: GitInfo) -> None:
        info.skip_submodules = True

    return change


@_git
def git_mtime(policy: str) -> _Change:
    """The files' times: "checkout" for that of the build, "commit" for that of the commit."""

    def change(info: GitInfo) -> None:
        info.mtime = policy

    return change


def git_mtime_commit() -> GitOption:
    """The files' times are that of the commit."""
    return git_mtime("commit")


@_git
def keep_git_dir() -> _Change:
    """Leave the directory `.git` in the tree."""

    def change(info: GitInfo) -> None:
        info.keep_git_dir = True

    return change


@_git
def auth_token_secret(name: str) -> _Change:
    """The secret with the token for HTTP; "" for none."""

    def change(info: GitInfo) -> None:
        info.auth_token_secret = name
        info.add_auth_cap = True

    return change


@_git
def known_ssh_hosts(key: str) -> _Change:
    """A line for ssh's known hosts; several calls add up. Without one, the host is asked for its key."""

    def change(info: GitInfo) -> None:
        info.known_ssh_hosts += key.removesuffix("\n") + "\n"

    return change


@_git
def mount_ssh_sock(ssh_id: str) -> _Change:
    """The name under which the client offers the ssh agent."""

    def change(info: GitInfo) -> None:
        info.mount_ssh_sock = ssh_id

    return change


@_git
def git_checksum(commit: str) -> _Change:
    """The commit, or the beginning of one, that the reference must be."""

    def change(info: GitInfo) -> None:
        info.checksum = commit

    return change


@_git
def git_fetch_by_commit() -> _Change:
    """Fetch the commit of `git_checksum` without asking the remote what the reference is now."""

    def change(info: GitInfo) -> None:
        info.fetch_by_commit = True

    return change


@dataclass(kw_only=True, slots=True)
class GitBundleInfo:
    """What the options of one `git_bundle_url` have said."""

    oci_session_id: str = ""
    oci_store_id: str = ""


class GitBundleOption(Option[GitBundleInfo]):
    """What `git_bundle_url` takes."""

    __slots__ = ()

    def set_git_bundle_option(self, info: GitBundleInfo) -> None:
        """Change the options of one `git_bundle_url`."""
        self._apply(info)


def _bundle(make: Callable[_P, Callable[[GitBundleInfo], None]]) -> Callable[_P, GitBundleOption]:
    return maker(GitBundleOption, make)


@_git
def git_bundle_url(locator: str, *options: GitBundleOption) -> _Change:
    """Take the history from a git bundle instead of the remote; needs `git_checksum`.

    Args:
        locator: "docker-image+blob://REF@sha256:…" or "oci-layout+blob://REF@sha256:…".
    """
    bundle = GitBundleInfo()
    apply_options(options, "set_git_bundle_option", bundle, "git_bundle_url")

    def change(info: GitInfo) -> None:
        info.bundle = locator
        info.bundle_oci_session_id = bundle.oci_session_id
        info.bundle_oci_store_id = bundle.oci_store_id

    return change


@_bundle
def git_bundle_oci_store(session_id: str, store_id: str) -> Callable[[GitBundleInfo], None]:
    """The session and the store that hold a bundle's OCI layout."""

    def change(info: GitBundleInfo) -> None:
        info.oci_session_id, info.oci_store_id = session_id, store_id

    return change


@_git
def git_checkout_bundle() -> _Change:
    """Instead of files, make the tree of one git bundle with the commit."""

    def change(info: GitInfo) -> None:
        info.checkout_bundle = True

    return change


class AuthOption:
    """The secret with the header for HTTP, for `git` and for `http`."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return f"llb.auth_header_secret({self._secret!r})"

    def set_git_option(self, info: GitInfo) -> None:
        """Change the options of one `git`."""
        info.auth_header_secret = self._secret
        info.add_auth_cap = True

    def set_http_option(self, info: HTTPInfo) -> None:
        """Change the options of one `http`."""
        info.auth_header_secret = self._secret


def auth_header_secret(name: str) -> AuthOption:
    """The secret whose value is the Authorization header of requests; "" for none."""
    return AuthOption(name)
