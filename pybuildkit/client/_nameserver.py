"""The addresses of a name as one name server tells them, for `dns://SERVER/HOST:PORT`.

Mirrors what grpc-go's DNS resolver (v1.82.1) asks of Go's own (package net): the hosts file first, then the name with
the search list of resolv.conf, A and AAAA, over UDP and, for a truncated answer, TCP.

Differs on purpose: errors name the server that was asked; no SRV and TXT records are read, no EDNS0 is offered.
"""

from __future__ import annotations

import os
import socket
import struct
import time

from pybuildkit.client._dial import DialError, join_host_port, split_host_port
from pybuildkit.golang.errors import error_text

HOSTS = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"

_A, _AAAA = 1, 28
_ANSWER_SECONDS = 5.0
_ATTEMPTS = 2
_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_FAILED, _NO_SUCH_NAME = 2, 3
_NAME_CHARACTERS = frozenset("-_.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class _MalformedError(ValueError):
    """An answer that is no DNS message."""


def lookup(name: str, server: str, timeout: float | None) -> list[str]:
    """The addresses of a name, IPv4 before IPv6.

    Args:
        name: a host's name; with a dot at the end it is taken as it stands.
        server: HOST:PORT of the name server.
        timeout: seconds for all of it; None for what the questions themselves allow (5 s, twice each).

    Returns:
        nothing for a name that does not exist or that no DNS name can be.

    Raises:
        DialError: the server did not answer, or said that it cannot now.
    """
    if known := _in_hosts_file(name):
        return known
    deadline = None if timeout is None else time.monotonic() + timeout
    outcome: DialError | None = None
    for number, candidate in enumerate(_candidates(name)):
        found: list[str] = []
        failure: DialError | None = None
        for kind in (_A, _AAAA):
            try:
                found += _ask(candidate, kind, server, deadline)
            except OSError as err:
                failure = DialError(f"lookup {name} on {server}: {error_text(err)}", err)
        if found:
            return found
        if number == 0 or candidate != name:  # what a name of the search list came to counts for more
            outcome = failure
    if outcome is not None:
        raise outcome
    return []


def _read_lines(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    return [words for line in lines if (words := line.partition("#")[0].split())]


def _in_hosts_file(name: str) -> list[str]:
    wanted = name.lower().removesuffix(".")
    return [words[0] for words in _read_lines(HOSTS) if wanted in [alias.lower() for alias in words[1:]]]


def _candidates(name: str) -> list[str]:
    """The full names to ask for, in order."""
    if not _NAME_CHARACTERS.issuperset(name) or not name.strip(".0123456789"):
        return []
    search: list[str] = []
    dots = 1
    for words in _read_lines(RESOLV_CONF):
        if words[0] in ("search", "domain"):
            search = [domain.strip(".") for domain in words[1:]]
        for option in words[1:] if words[0] == "options" else []:
            if option.startswith("ndots:") and option[6:].isdecimal():
                dots = min(int(option[6:]), 15)
    if name.endswith("."):
        names = [name[:-1]]
    else:
        names = [f"{name}.{domain}" for domain in search if domain]
        names.insert(0 if name.count(".") >= dots else len(names), name)
    return [text for text in names if len(text) < 254 and all(0 < len(label) < 64 for label in text.split("."))]


def _ask(name: str, kind: int, server: str, deadline: float | None) -> list[str]:
    """The addresses of one kind; OSError where every attempt failed for a reason that may pass."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack("!HH", kind, 1)
    failure: OSError | None = None
    for _ in range(_ATTEMPTS):
        left = _ANSWER_SECONDS if deadline is None else min(_ANSWER_SECONDS, deadline - time.monotonic())
        number = int.from_bytes(os.urandom(2), "big")
        message = _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + question
        try:
            answer = _exchange(socket.SOCK_DGRAM, message, server, max(left, 0.001))
            if answer[2] & 2:  # truncated
                answer = _exchange(socket.SOCK_STREAM, message, server, max(left, 0.001))
            code = answer[3] & 15
            if code == 0:
                return _addresses(answer, _HEADER.size + len(question), kind)
            failure = OSError("server misbehaving") if code == _FAILED else None
            if code == _NO_SUCH_NAME:
                return []
        except OSError as err:
            failure = err
        except _MalformedError:
            failure = None
    if failure is not None:
        raise failure
    return []


def _exchange(kind: socket.SocketKind, message: bytes, server: str, seconds: float) -> bytes:
    """Send a question and read the answer to it; whatever else arrives is passed over."""
    host, port = split_host_port(server)
    family, _, _, _, peer = socket.getaddrinfo(host, int(port), type=kind)[0]
    network = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    deadline = time.monotonic() + seconds
    where = f"dial {network} {server}"
    with socket.socket(family, kind) as sock:
        try:
            sock.settimeout(seconds)
            sock.connect(peer)
            where = f"read {network} {join_host_port(*sock.getsockname()[:2])}->{server}"
            sock.sendall(message if network == "udp" else len(message).to_bytes(2, "big") + message)
            while True:
                sock.settimeout(max(deadline - time.monotonic(), 0.001))
                answer = sock.recv(65535) if network == "udp" else _framed(sock)
                # the number and the question, which may come back in other letters
                same = answer[:2] == message[:2] and answer[12 : len(message)].lower() == message[12:].lower()
                if same and answer[2] & 0x80:
                    return answer
                if network == "tcp":
                    raise _MalformedError
        except TimeoutError as err:
            raise TimeoutError(f"{where}: i/o timeout") from err
        except OSError as err:
            call = "read" if where.startswith("read") else "connect"
            raise OSError(f"{where}: {call}: {os.strerror(err.errno or 0).lower()}") from err


def _framed(sock: socket.socket) -> bytes:
    """One message of a stream, after its length."""
    received = b""
    while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
        data = sock.recv(65535)
        if not data:
            raise _MalformedError
        received += data
    return received[2:]


def _addresses(answer: bytes, offset: int, wanted: int) -> list[str]:
    """The addresses among an answer's records, whatever names they are of: aliases lead from one to the next."""
    found = []
    try:
        for _ in range(_HEADER.unpack_from(answer)[3]):
            while 0 < answer[offset] < 64:
                offset += 1 + answer[offset]
            offset += 2 if answer[offset] else 1  # a pointer back into the message, or the root
            kind, _, _, size = _RECORD.unpack_from(answer, offset)
            offset += _RECORD.size
            if kind == wanted:
                family = socket.AF_INET if kind == _A else socket.AF_INET6
                found.append(socket.inet_ntop(family, answer[offset : offset + size]))
            offset += size
    except (IndexError, ValueError, struct.error) as err:
        raise _MalformedError from err
    return found
