"""A name server on loopback that answers as a table says, over UDP and TCP."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

A, CNAME, AAAA = 1, 5, 28
Records = list[tuple[int, str]]


@dataclass
class Zone:
    """What the server tells of one name.

    Args:
        records: types and values.
        code: the answer's code.
        truncated: whether UDP brings nothing but the word to ask over TCP.
        forged: what is sent before each answer over UDP: answers to somebody else's question.
        cut: bytes to leave out at the end of an answer with records.
        silent: no answer at all.
    """

    records: Records = field(default_factory=list)
    code: int = 0
    truncated: bool = False
    forged: bool = False
    cut: int = 0
    silent: bool = False


def _value(kind: int, text: str) -> bytes:
    if kind == CNAME:
        return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"
    return socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, text)


class NameServer:
    """The running server: its address and the questions it was asked, as (network, name, type)."""

    def __init__(self, zones: Mapping[str, Zone]) -> None:
        self.zones = zones
        self.asked: list[tuple[str, str, int]] = []
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(self.tcp.getsockname())
        self.address = f"127.0.0.1:{self.tcp.getsockname()[1]}"
        self.threads = [threading.Thread(target=self._serve_udp), threading.Thread(target=self._serve_tcp)]

    def answers(self, message: bytes, network: str) -> list[bytes]:
        """The messages that answer one question."""
        labels, offset = [], 12
        while size := message[offset]:
            labels.append(message[offset + 1 : offset + 1 + size].decode())
            offset += 1 + size
        name = ".".join(labels).lower()
        kind = struct.unpack_from("!H", message, offset + 1)[0]
        question = message[12 : offset + 5]
        self.asked.append((network, name, kind))
        zone = self.zones.get(name, Zone(code=3))
        if zone.silent:
            return []
        truncated = zone.truncated and network == "udp"
        found = [] if truncated else [(k, _value(k, text)) for k, text in zone.records if k in (kind, CNAME)]
        flags = 0x8180 | (0x200 if truncated else 0) | zone.code
        body = question + b"".join(b"\xc0\x0c" + struct.pack("!HHIH", k, 1, 60, len(v)) + v for k, v in found)
        answer = message[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0) + body
        if not zone.forged:
            return [answer[: len(answer) - (zone.cut if found else 0)]]
        wrong = bytes([message[0] ^ 1]) + answer[1:]
        other = answer.replace(question, question.replace(labels[0].encode(), b"x" * len(labels[0])))
        return [b"", message, wrong, other, answer]

    def _serve_udp(self) -> None:
        while (received := self.udp.recvfrom(4096))[0] != b"stop":
            for answer in self.answers(received[0], "udp"):
                self.udp.sendto(answer, received[1])

    def _serve_tcp(self) -> None:
        while True:
            connection, _ = self.tcp.accept()
            with connection, connection.makefile("rb") as stream:
                size = int.from_bytes(stream.read(2), "big")
                if not size:
                    return
                for answer in self.answers(stream.read(size), "tcp"):
                    framed = len(answer).to_bytes(2, "big") + answer
                    connection.sendall(framed[:7])  # in two parts
                    connection.sendall(framed[7:])

    def stop(self) -> None:
        """End both threads."""
        self.udp.sendto(b"stop", self.udp.getsockname())
        socket.create_connection(self.tcp.getsockname()).close()
        for thread in self.threads:
            thread.join()
        self.udp.close()
        self.tcp.close()


@contextmanager
def name_server(zones: Mapping[str, Zone]) -> Iterator[NameServer]:
    """A server for the time of a test."""
    server = NameServer(zones)
    for thread in server.threads:
        thread.start()
    try:
        yield server
    finally:
        server.stop()
