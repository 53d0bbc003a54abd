"""The proxies that the environment names: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in capitals or not.

Mirrors golang.org/x/net/http/httpproxy, v0.57.0. Differs on purpose: an address of a proxy that is none is an error; in
Go the connection is made without a proxy.
"""

from __future__ import annotations

import os

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote
from pybuildkit.golang.url import URL, URLError, parse, redacted


class ProxyError(BuildkitError):
    """The environment names a proxy by what is no address."""


def proxy_for(scheme: str, host: str, port: str) -> URL | None:
    """The proxy for a host; None for this machine, for what NO_PROXY names, and where there is no proxy.

    Args:
        scheme: "http" or "https", which of the two variables counts.
        host, port: what is to be reached; the port may be "".

    Raises:
        ProxyError: "invalid proxy address …".
    """
    value = _variable(f"{scheme}_proxy")
    if not value or _is_this_machine(host) or _is_excepted(host, port or ("443" if scheme == "https" else "80")):
        return None
    return _parse(value)


def _variable(name: str) -> str:
    return os.environ.get(name.upper()) or os.environ.get(name) or ""


def _parse(value: str) -> URL:
    """A proxy's address, which may lack its scheme."""
    try:
        found = parse(value if "://" in value else f"http://{value}")
    except URLError as err:
        raise ProxyError(f"invalid proxy address {quote(redacted(value))}: {err}") from None
    if not found.host:
        raise ProxyError(f"invalid proxy address {quote(redacted(value))}: no host")
    return found


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_excepted(host: str, port: str) -> bool:
    for entry in _variable("no_proxy").split(","):
        entry = entry.strip().lower()
        name, _, wanted = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
        if wanted and wanted != port:
            continue
        if name == "*" or (name and _matches(host.lower(), name)):
            return True
    return False


def _matches(host: str, pattern: str) -> bool:
    if "/" in pattern:
        import ipaddress

        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    if pattern.startswith("*."):
        pattern = pattern[1:]
    if pattern.startswith("."):
        return host.endswith(pattern)
    return host == pattern or host.endswith(f".{pattern}")
