"""What Go's two ends said, played to ours: its sender to our receiver, its receiver to our sender, byte for byte.

The vectors' runner lets our two ends talk to each other; here each talks to what was recorded.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pybuildkit.third_party.fsutil import ReceiveOpt, Receiver, Sender, new_fs
from pybuildkit.third_party.fsutil._packet import DATA, FIN_PACKET, decode_packet
from pybuildkit.third_party.fsutil._sender import LargeFile
from tests.golden.areas.fsutil import make_tree, tree_json

VECTORS = Path(__file__).resolve().parents[2] / "golden/vectors/fsutil.json"


def cases() -> list[Any]:
    """The recorded transfers."""
    read = json.loads(VECTORS.read_text())
    found = [case for case in (read["cases"] if isinstance(read, dict) else read) if case["group"] == "sync"]
    assert found
    return [pytest.param(case, id=case["name"]) for case in found]


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the recorded trees have root as their owner")


def packets(case: dict[str, Any], side: str) -> list[bytes]:
    """What one end said."""
    return [bytes.fromhex(packet["hex"]) for packet in case[f"{side}_packets"]]


def folder(root: Path, tree: list[dict[str, Any]] | None) -> Path:
    """A directory with a recorded tree."""
    root.mkdir()
    make_tree(root, tree or [])
    return root


@pytest.mark.parametrize("case", cases())
def test_what_gos_sender_says(tmp_path: Path, case: dict[str, Any]) -> None:
    """Our receiver asks for the same, at the same time, and makes the same tree."""
    dest = folder(tmp_path / "dest", case.get("dest_tree"))
    core = Receiver(str(dest), ReceiveOpt(merge=case.get("merge", False), special_files=True))
    said = []
    for raw in packets(case, "sender"):
        core.feed([raw])
        said += core.outgoing(100)
    core.end()
    core.close()
    assert said == packets(case, "receiver")
    assert tree_json(dest) == case["dest_after"]


@pytest.mark.parametrize("case", cases())
def test_what_gos_receiver_says(tmp_path: Path, case: dict[str, Any]) -> None:
    """Our sender lists the same entries and sends the same contents, each with its end."""
    core = Sender(new_fs(str(folder(tmp_path / "src", case["tree"]))))
    listed: list[bytes] = []
    while not core.listed:
        listed += core.list_more()
    sent: list[bytes] = []
    for raw in packets(case, "receiver"):
        core.receive(raw)
        while core.requested:
            for item in core.read_more():
                batch = item if not isinstance(item, LargeFile) else item.read()
                sent += [bytes(p) if isinstance(p, bytes | bytearray | memoryview) else b"".join(p) for p in batch]
    core.close()
    assert core.finished
    wanted = packets(case, "sender")
    assert listed == [raw for raw in wanted if raw != FIN_PACKET and decode_packet(raw).type != DATA]
    assert contents(sent) == contents([raw for raw in wanted if decode_packet(raw).type == DATA])


def contents(sent: list[bytes]) -> dict[int, tuple[bytes, int]]:
    """Each file's content, and how often its end was told."""
    found: dict[int, tuple[bytes, int]] = {}
    for raw in sent:
        packet = decode_packet(raw)
        data, ends = found.get(packet.id, (b"", 0))
        found[packet.id] = (data + bytes(packet.data), ends + (not packet.data))
    return found
