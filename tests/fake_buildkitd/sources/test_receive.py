"""Receiving trees: what is asked for again, and what a hostile sender may not do."""

from __future__ import annotations

import stat as st
from collections.abc import Sequence

import pytest

from fake_buildkitd.sources import TreeReceiver, receive_tree
from fake_buildkitd.store import MemoryStore, Node
from pybuildkit.golang.context import background
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil._packet import (
    END_OF_LIST,
    FIN_PACKET,
    data_end,
    data_header,
    error_packet,
    request_packet,
    stat_packet,
)
from tests.fake_buildkitd.helpers import tree_of
from tests.third_party.fsutil.streams import Ended

DIR = st.S_IFDIR | 0o755


def entry(path: str, mode: int = st.S_IFREG | 0o644, **fields: object) -> bytes:
    """The packet that lists an entry."""
    stat = fsutil.Stat(path.encode(), fsutil.go_mode(mode), mod_time=5)
    for name, value in fields.items():
        setattr(stat, name, value)
    return stat_packet(stat)


def content(index: int, data: bytes) -> list[bytes]:
    """The packets of a file's content."""
    return [data_header(index, len(data)) + data, data_end(index)] if data else [data_end(index)]


LIST = [entry("a", size=3), entry("d", DIR), entry("d/b", size=0), entry("d/l", st.S_IFLNK | 0o777, linkname=b"b")]


def receive(store: MemoryStore, base: Node | None, packets: Sequence[bytes]) -> tuple[Node, list[bytes]]:
    """The tree of a transfer, and what the sender was told."""
    receiver = TreeReceiver(store, base)
    answers = receiver.feed([*packets, FIN_PACKET])
    assert receiver.finished
    return receiver.root, answers


def first(store: MemoryStore) -> Node:
    return receive(store, None, [*LIST, END_OF_LIST, *content(0, b"one"), *content(2, b"")])[0]


def test_first_transfer() -> None:
    store = MemoryStore()
    root, answers = receive(store, None, [*LIST, END_OF_LIST, *content(2, b""), *content(0, b"one")])
    assert answers == [request_packet(0), request_packet(2), FIN_PACKET]
    assert tree_of(store, root) == {"a": ("f644", "one"), "d": ("d755", ""), "d/b": ("f644", ""), "d/l": ("l", "b")}


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        (LIST, []),
        ([entry("a", size=4), *LIST[1:]], [0]),
        ([entry("a", size=3, mod_time=6), *LIST[1:]], [0]),
        ([entry("a", st.S_IFREG | 0o600, size=3), *LIST[1:]], [0]),
        ([entry("a", size=3, uid=1), *LIST[1:]], [0]),
        ([*LIST[:2], entry("d/b", size=0, mod_time=9)], [2]),
        ([LIST[0]], []),
        ([entry("a", DIR), entry("a/x", size=1)], [1]),
    ],
)
def test_only_changes_travel(changed: list[bytes], asked: list[int]) -> None:
    store = MemoryStore()
    receiver = TreeReceiver(store, first(store))
    answers = receiver.feed([*changed, END_OF_LIST])
    want = [request_packet(index) for index in asked]
    assert answers == (want if asked else [*want, FIN_PACKET])


def test_hard_links() -> None:
    store = MemoryStore()
    packets = [entry("a", size=2), entry("b", linkname=b"a"), entry("c", linkname=b"a"), END_OF_LIST]
    root, _ = receive(store, None, [*packets, *content(0, b"hi")])
    nodes = [(root.children or {})[name] for name in (b"a", b"b", b"c")]
    assert len({node.inode for node in nodes}) == 1
    assert nodes[0].inode != 0
    assert {store.get_blob(node.blob) for node in nodes} == {b"hi"}


@pytest.mark.parametrize(
    ("packets", "reason"),
    [
        ([entry("../a")], "escape check ../a: invalid argument"),
        ([entry("/a")], "absolute path /a: invalid argument"),
        ([entry("d/f")], "changes out of order"),
        ([entry("b"), entry("a")], "changes out of order"),
        ([entry("a", DIR), entry("a/../b")], "unclean path"),
        ([entry("b", linkname=b"a")], 'invalid link b to unknown path: "a"'),
        ([END_OF_LIST, END_OF_LIST], "second end of the list"),
        ([END_OF_LIST, entry("a")], "STAT after the end of the list"),
        ([entry("a", size=3), *content(0, b"four")], "content of a file has 4 bytes, its entry said 3"),
        (content(7, b"x"), "invalid file request 7"),
        ([FIN_PACKET], "unexpected FIN from the sender"),
        ([error_packet("no luck")], "error from sender: no luck"),
        ([END_OF_LIST, FIN_PACKET, END_OF_LIST], "packet after FIN"),
        ([request_packet(1)], "unexpected packet of type 1 from the sender"),
        ([b"\xff\xff"], ""),
    ],
)
def test_hostile_senders(packets: list[bytes], reason: str) -> None:
    from pybuildkit.golang.errors import error_text

    with pytest.raises((BuildkitError, OSError)) as caught:
        TreeReceiver(MemoryStore(), None).feed(packets)
    assert reason in error_text(caught.value)


@pytest.mark.parametrize(("last", "text"), [([error_packet("no")], "error from sender: no"), ([], "stream is closed")])
async def test_the_clients_error_beats_the_end_of_the_stream(last: list[bytes], text: str) -> None:
    """A client that fails ends the stream; a request may find it ended before the client's words are read."""
    stream = Ended([entry("f", size=1)], *([last] if last else []))
    with pytest.raises((BuildkitError, OSError)) as caught:
        await receive_tree(background(), stream, MemoryStore(), None, lambda size, done: None)
    assert error_text(caught.value) == text
