"""The bounds that a connection sets its peer. Not a port."""

from __future__ import annotations


class Limits:
    """What a connection lets its peer do.

    Args:
        stream_window: bytes that a peer may send on a stream before the application has consumed some.
        connection_window: the same for all streams together, given back as bytes arrive.
        near_window: both windows at most, as long as the peer has not been found to be far away.
        near_seconds: a peer that takes longer to acknowledge our SETTINGS is far away.
        unread: bytes that all streams together may hold unread before the connection's window shrinks.
        header_list: bytes of a header list; a peer that sends more loses the connection.
        streams: streams that a client may have open on our server; more are refused.
        nuisance: frames that cost us more than the peer (resets, pings, settings, empty frames) at once.
        nuisance_rate: how many of them are forgiven a second.
    """

    __slots__ = (
        "connection_window",
        "header_list",
        "near_seconds",
        "near_window",
        "nuisance",
        "nuisance_rate",
        "stream_window",
        "streams",
        "unread",
    )

    def __init__(
        self,
        *,
        stream_window: int = 16 << 20,
        connection_window: int = 16 << 20,
        near_window: int = 3 << 20,
        near_seconds: float = 0.025,
        unread: int = 128 << 20,
        header_list: int = 2 << 20,
        streams: int = 1000,
        nuisance: int = 2000,
        nuisance_rate: float = 200.0,
    ) -> None:
        self.stream_window = stream_window
        self.connection_window = connection_window
        self.near_window = near_window
        self.near_seconds = near_seconds
        self.unread = unread
        self.header_list = header_list
        self.streams = streams
        self.nuisance = nuisance
        self.nuisance_rate = nuisance_rate
