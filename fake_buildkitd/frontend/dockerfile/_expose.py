"""The ports of EXPOSE.

Mirrors frontend/dockerfile/dockerfile2llb/convert_expose.go, v0.32.2.

A port is `[IP:][HOST:]PORT[-PORT][/PROTOCOL]`; what comes out is one `PORT/PROTOCOL` for each number.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from fake_buildkitd.frontend.dockerfile import _linter as rules
from fake_buildkitd.frontend.dockerfile._linter import Rule
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_int, quote

Report = Callable[[Rule, str], None]


class PortError(BuildkitError):
    """A text that is no port."""


def parse_ports(ports: Sequence[str], report: Report) -> list[str]:
    """The exposed ports; doubtful forms are reported.

    Raises:
        PortError: names the port and what is wrong with it.
    """
    return [exposed for port in ports for exposed in _parse_port(port, report)]


def _parse_port(raw: str, report: Report) -> list[str]:
    ip, host, container = _split(raw)
    try:
        protocol, container = _protocol(container)
    except PortError as err:
        raise wrap(err, f"invalid port: {quote(raw)}") from err
    if protocol != protocol.lower():
        message = f"Defined protocol '{raw}' in EXPOSE instruction should be lowercase"
        report(rules.EXPOSE_PROTO_CASING, message)
    if ip or host:
        message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{raw}'"
        report(rules.EXPOSE_INVALID_FORMAT, message)
    _check_ip(ip)
    try:
        start, end = _range(container)
    except BuildkitError as err:
        raise PortError(f"invalid containerPort: {container}") from err
    if host:
        _check_host(host, container, start, end)
    return [f"{port}/{protocol.lower()}" for port in range(start, end + 1)]


def _split(raw: str) -> tuple[str, str, str]:
    parts = raw.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _protocol(container: str) -> tuple[str, str]:
    port, _, protocol = container.partition("/")
    if not port:
        raise PortError("no port specified")
    if protocol.lower() not in ("", "tcp", "udp", "sctp"):
        raise PortError(f"invalid proto: {protocol}")
    return protocol or "tcp", port


def _check_ip(ip: str) -> None:
    if not ip:
        return
    bare = ip[1:-1] if ip.startswith("[") and ip.endswith("]") else ip
    if ip.startswith("[") and bare == ip:
        raise PortError(f"invalid IP address {ip}: address {ip}:: missing ']' in address")
    try:
        ipaddress.ip_address(bare)
    except ValueError as err:
        raise PortError(f"invalid IP address: {bare}") from err


def _check_host(host: str, container: str, start: int, end: int) -> None:
    try:
        host_start, host_end = _range(host)
    except BuildkitError as err:
        raise PortError(f"invalid hostPort: {host}") from err
    if end - start != host_end - host_start and end != start:
        raise PortError(f"invalid ranges specified for container and host Ports: {container} and {host}")


def _range(text: str) -> tuple[int, int]:
    if not text:
        raise PortError("empty string specified for ports")
    first, dash, last = text.partition("-")
    start = _number(first)
    if not dash or first == last:
        return start, start
    end = _number(last)
    if end < start:
        raise PortError(f"invalid port range: {text}")
    return start, end


def _number(text: str) -> int:
    if not text:
        raise PortError("value is empty")
    port = parse_int(text, 10, 64)
    if not 0 <= port <= 65535:
        raise PortError("value out of range (0–65535)")
    return port
