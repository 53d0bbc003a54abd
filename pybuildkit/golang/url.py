"""URLs as Go's net/url reads them, with its error texts.

Mirrors url.Parse of Go 1.26 for the forms that addresses take: `scheme://user@host:port/path?query#fragment`, opaque
`scheme:rest`, and bare paths. Percent-escapes are checked everywhere and decoded in host, path and query.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

_SCHEME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SCHEME_REST = _SCHEME | frozenset("0123456789+-.")
_HEX = frozenset("0123456789abcdefABCDEF")
_HOST_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~!$&'()*+,;=:[]<>\"")


class URLError(BuildkitError):
    """A text that is no URL: `parse "TEXT": REASON`."""


def redacted(text: str) -> str:
    """The text with `xxxxx` in place of the password of each URL in it, as Go's `URL.Redacted` has it."""
    if "@" not in text:
        return text
    import re

    return re.sub(r"(://[^\s/@:]*):[^\s/]*@", r"\1:xxxxx@", text)


class URL:
    """A parsed URL: `scheme` in lower case, `host` with its port, `path` decoded, `raw_query` as written.

    `user` is the part before the `@` ("" where there is none), `password` None where no colon was given.
    """

    __slots__ = ("fragment", "host", "opaque", "password", "path", "raw_query", "scheme", "user")

    def __init__(self) -> None:
        self.scheme = ""
        self.opaque = ""
        self.user = ""
        self.password: str | None = None
        self.host = ""
        self.path = ""
        self.raw_query = ""
        self.fragment = ""

    def hostname(self) -> str:
        """The host without port and brackets."""
        return _split_host_port(self.host)[0]

    def port(self) -> str:
        """The port as written, or "" where there is none."""
        return _split_host_port(self.host)[1]

    def query(self) -> dict[str, list[str]]:
        """The query's values by name, in order; pairs with a bad escape or a semicolon are left out."""
        values: dict[str, list[str]] = {}
        for pair in self.raw_query.split("&"):
            if not pair or ";" in pair:
                continue
            key, _, value = pair.partition("=")
            try:
                name, text = query_unescape(key), query_unescape(value)
            except URLError:
                continue
            values.setdefault(name, []).append(text)
        return values


def _split_host_port(host: str) -> tuple[str, str]:
    port = ""
    colon = host.rfind(":")
    if colon != -1 and host[colon + 1 :].isdigit() | (host[colon + 1 :] == ""):
        host, port = host[:colon], host[colon + 1 :]
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, port


def _check_escapes(text: str) -> None:
    position = text.find("%")
    while position != -1:
        escape = text[position : position + 3]
        if len(escape) < 3 or escape[1] not in _HEX or escape[2] not in _HEX:
            raise URLError(f"invalid URL escape {quote(escape)}")
        position = text.find("%", position + 3)


def _decode(text: str) -> str:
    _check_escapes(text)
    if "%" not in text:
        return text
    parts = text.encode("utf-8", "surrogateescape").split(b"%")
    out = bytearray(parts[0])
    for part in parts[1:]:
        out.append(int(part[:2], 16))
        out += part[2:]
    return out.decode("utf-8", "surrogateescape")


def query_unescape(text: str) -> str:
    """Decode a query component: `+` is a space, `%xx` a byte.

    Raises:
        URLError: at a bad escape, `invalid URL escape "%zz"`.
    """
    return _decode(text.replace("+", " "))


_QUERY_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")


def query_escape(text: str) -> str:
    """Encode a text as a query component (Go's `url.QueryEscape`: a space becomes `+`)."""
    out = []
    for byte in text.encode("utf-8", "surrogateescape"):
        if byte in _QUERY_SAFE:
            out.append(chr(byte))
        elif byte == 0x20:
            out.append("+")
        else:
            out.append(f"%{byte:02X}")
    return "".join(out)


def _split_scheme(text: str) -> tuple[str, str]:
    for position, char in enumerate(text):
        if char == ":":
            if position == 0:
                raise URLError("missing protocol scheme")
            return text[:position], text[position + 1 :]
        if char not in (_SCHEME_REST if position else _SCHEME):
            return "", text
    return "", text


def _parse_authority(url: URL, authority: str) -> None:
    userinfo, at, host = authority.rpartition("@")
    if at:
        for char in userinfo:
            if char not in _HOST_PLAIN and char not in "%@":
                raise URLError("net/url: invalid userinfo")
        user, colon, password = userinfo.partition(":")
        url.user = _decode(user)
        url.password = _decode(password) if colon else None
    _check_host(url.scheme, host)
    url.host = _decode(host)


def _check_host(scheme: str, host: str) -> None:
    bracket = host.rfind("[")
    if bracket > 0:
        raise URLError("invalid IP-literal")
    if bracket == 0:
        end = host.rfind("]")
        if end < 0:
            raise URLError("missing ']' in host")
        _check_port(host[end + 1 :])
        address = host[1:end].partition("%25")[0]
        _check_host_chars(address)
        _check_ip_literal(address)
        return
    colon = host.find(":") if scheme in ("http", "https") else host.rfind(":")
    if colon >= 0:
        _check_port(host[colon:])
    _check_host_chars(host)


def _check_port(text: str) -> None:
    if text and not (text[0] == ":" and all(char in "0123456789" for char in text[1:])):
        raise URLError(f"invalid port {quote(text)} after host")


def _check_host_chars(host: str) -> None:
    position = host.find("%")
    while position != -1:
        escape = host[position : position + 3]
        if len(escape) < 3 or escape[1] not in _HEX or escape[2] not in _HEX or int(escape[1:], 16) < 0x80:
            raise URLError(f"invalid URL escape {quote(escape)}")
        position = host.find("%", position + 3)
    for char in host:
        if char not in _HOST_PLAIN and char != "%" and ord(char) < 0x80:
            raise URLError(f"invalid character {quote(char)} in host name")


def _check_ip_literal(address: str) -> None:
    """Only an address of IPv6 may stand in brackets."""
    import ipaddress

    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        raise URLError(f"invalid host: ParseAddr({quote(address)}): unable to parse IP") from None
    if version == 4:
        raise URLError("invalid IP-literal")


def parse(text: str) -> URL:
    """Read a URL.

    Raises:
        URLError: `parse "TEXT": REASON`.
    """
    without_fragment, _, fragment = text.partition("#")
    url = URL()
    shown = without_fragment
    try:
        _parse(url, without_fragment)
        shown = text
        url.fragment = _decode(fragment)
    except URLError as err:
        raise URLError(f"parse {quote(redacted(shown))}: {err}") from None
    return url


def _parse(url: URL, text: str) -> None:
    if any(ord(char) < 0x20 or char == "\x7f" for char in text):
        raise URLError("net/url: invalid control character in URL")
    if text == "*":
        url.path = "*"
        return
    scheme, rest = _split_scheme(text)
    url.scheme = scheme.lower()
    rest, _, url.raw_query = rest.partition("?")
    if not rest.startswith("/"):
        if url.scheme:
            url.opaque = rest
            return
        if ":" in rest.partition("/")[0]:
            raise URLError("first path segment in URL cannot contain colon")
    if rest.startswith("//") and (url.scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        _parse_authority(url, authority)
    url.path = _decode(rest)
