"""Addresses as scp and git write them: `user@host:path?query#fragment`.

Mirrors util/sshutil/scpurl.go, v0.32.2.
"""

from __future__ import annotations

import re

_SCP_STYLE = re.compile(
    r"([a-zA-Z0-9-_]+)@([a-zA-Z0-9-.]+):([^\n]*?)(?:\?([^\n]*?))?(?:#([^\n]*))?",
)


class SCPStyleURL:
    """A parsed address; `raw_query` is as written."""

    __slots__ = ("fragment", "host", "path", "raw_query", "user")

    def __init__(self, user: str, host: str, path: str, raw_query: str, fragment: str) -> None:
        self.user = user
        self.host = host
        self.path = path
        self.raw_query = raw_query
        self.fragment = fragment


def is_implicit_ssh_transport(text: str) -> bool:
    """Whether a text is an address of that form."""
    return _SCP_STYLE.fullmatch(text) is not None


def parse_scp_style_url(text: str) -> SCPStyleURL | None:
    """The parts of an address, None where the text is none (a query with a bad escape or a semicolon too)."""
    match = _SCP_STYLE.fullmatch(text)
    if match is None:
        return None
    raw_query = match[4] or ""
    if not _is_query(raw_query):
        return None
    return SCPStyleURL(match[1], match[2], match[3], raw_query, match[5] or "")


def _is_query(raw_query: str) -> bool:
    from pybuildkit.golang.url import URLError, query_unescape

    try:
        query_unescape(raw_query)
    except URLError:
        return False
    return ";" not in raw_query
