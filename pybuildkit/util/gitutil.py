"""Addresses of git repositories, with a reference and a folder behind the `#`.

Mirrors util/gitutil/git_url.go, v0.32.2.
"""

from __future__ import annotations

import posixpath
import re

from pybuildkit.golang import url as _url
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.util import sshutil

_PROTOCOL = re.compile(r"[a-zA-Z0-9]+://")
_SUPPORTED = frozenset(("http", "https", "ssh", "git"))
_UNRESERVED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
_PATH_SAFE = _UNRESERVED | frozenset(b"$&+,/:;=@")
_PATH_ENCODED = _PATH_SAFE | frozenset(b"!'()*[]%")
_USER_SAFE = _UNRESERVED | frozenset(b"$&+,;=")
_HOST_SAFE = _UNRESERVED | frozenset(b"!$&'()*+,;=:[]<>\"")


class GitURLError(BuildkitError):
    """A text that is no git address: "unknown protocol" or "invalid protocol"."""


class GitURLOpts:
    """What stands behind the `#`: a reference, and a folder in the repository ("" for its root)."""

    __slots__ = ("ref", "subdir")

    def __init__(self, ref: str, subdir: str) -> None:
        self.ref = ref
        self.subdir = subdir


class GitURL:
    """A git address.

    Attributes:
        scheme: http, https, ssh or git.
        user: the encoded `user` or `user:password`, "" for none.
        opts: None where the address has no fragment.
        remote: what git is to be given, without query and fragment.
    """

    __slots__ = ("host", "opts", "path", "raw_query", "remote", "scheme", "user")

    def __init__(
        self, scheme: str, user: str, host: str, path: str, raw_query: str, opts: GitURLOpts | None, remote: str
    ) -> None:
        self.scheme = scheme
        self.user = user
        self.host = host
        self.path = path
        self.raw_query = raw_query
        self.opts = opts
        self.remote = remote


def parse_url(remote: str) -> GitURL:
    """The parts of a git address.

    Raises:
        GitURLError: no git address, or one of a protocol that git is not given.
        URLError: it looks like a URL and is none.
    """
    protocol = _PROTOCOL.match(remote)
    if protocol is not None:
        name = protocol[0][:-3].lower()
        if name not in _SUPPORTED:
            raise wrap(GitURLError("invalid protocol"), name)
        return _from_url(remote, _url.parse(remote))
    scp = sshutil.parse_scp_style_url(remote)
    if scp is None:
        raise GitURLError("unknown protocol")
    user = _escape(scp.user, _USER_SAFE)
    where = f"{user}@{scp.host}:{scp.path}"
    return GitURL("ssh", user, scp.host, scp.path, scp.raw_query, _parse_opts(scp.fragment), where)


def is_git_transport(remote: str) -> bool:
    """Whether git would be asked for this address."""
    protocol = _PROTOCOL.match(remote)
    if protocol is not None:
        return protocol[0][:-3].lower() in _SUPPORTED
    return sshutil.is_implicit_ssh_transport(remote)


def _parse_opts(fragment: str) -> GitURLOpts | None:
    if not fragment:
        return None
    ref, _, subdir = fragment.partition(":")
    return GitURLOpts(ref, posixpath.normpath("/" + subdir).lstrip("/"))


def _from_url(text: str, url: _url.URL) -> GitURL:
    user = _escape(url.user, _USER_SAFE)
    if url.password is not None:
        user += ":" + _escape(url.password, _USER_SAFE)
    before_fragment = text.partition("#")[0]
    raw, mark, query = before_fragment.partition("?")
    authority, slash, raw_path = raw.partition("://")[2].partition("/")
    has_user = "@" in authority
    remote = f"{url.scheme}:" + ("//" if url.host or url.path or has_user else "")
    remote += f"{user}@" if has_user else ""
    remote += _escape(url.host, _HOST_SAFE) + _escaped_path(slash + raw_path, url.path)
    remote += "?" if mark and not query else ""
    return GitURL(url.scheme, user, url.host, url.path, url.raw_query, _parse_opts(url.fragment), remote)


def _escaped_path(raw: str, path: str) -> str:
    """The path as it was written where that is well encoded, else encoded anew."""
    if all(byte in _PATH_ENCODED for byte in raw.encode("utf-8", "surrogateescape")):
        return raw
    return _escape(path, _PATH_SAFE)


def _escape(text: str, safe: frozenset[int]) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in data)
