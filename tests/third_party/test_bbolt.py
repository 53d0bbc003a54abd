"""Reading a database that bbolt wrote (testdata/bolt.db.gz), whole and damaged."""

import fcntl
import gzip
import os
import random
from pathlib import Path

import pytest

from pybuildkit.third_party import bbolt

DATA = gzip.decompress((Path(__file__).parent / "testdata" / "bolt.db.gz").read_bytes())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "bolt.db"
    path.write_bytes(DATA)
    return path


def _content(bucket: bbolt.Bucket) -> dict[bytes, object]:
    return {key: value if isinstance(value, bytes) else _content(value) for key, value in bucket.items()}


def test_reads_all_buckets(path: Path) -> None:
    with bbolt.open(str(path)) as root:
        content = _content(root)
    many = {f"key{number:04}".encode(): f"value {number}".encode() for number in range(1000)}
    assert content == {
        b"empty": {},
        b"many": many | {b"zlong": bytes(10_000)},
        b"meta": {b"a": b"1", b'b"x': b'{"v":2}', b"inner": {b"k": b"v"}},
    }
    assert list(content) == sorted(content)


def test_the_other_meta_page_serves_when_one_is_torn(path: Path) -> None:
    """One of the two is older and shows the database as it was: empty."""
    sizes = []
    for page in (0, 4096):
        torn = bytearray(DATA)
        torn[page + 16 + 60] ^= 0xFF
        path.write_bytes(torn)
        with bbolt.open(str(path)) as root:
            sizes.append(len(list(root.items())))
    assert sorted(sizes) == [0, 3]


@pytest.mark.parametrize("data", [b"", b"garbage", bytes(100_000), DATA[:60]])
def test_no_database(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(bbolt.BoltError, match="invalid database"), bbolt.open(str(path)):
        pass


def test_both_checksums_wrong(path: Path) -> None:
    torn = bytearray(DATA)
    for page in (0, 4096):
        torn[page + 16 + 60] ^= 0xFF
    path.write_bytes(torn)
    with pytest.raises(bbolt.BoltError, match="checksum error"), bbolt.open(str(path)):
        pass


def test_a_writer_holds_the_file(path: Path) -> None:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(bbolt.BoltError, match="timeout"), bbolt.open(str(path), timeout=0):
            pass
    finally:
        os.close(fd)


def test_damage_is_an_error_or_other_content_and_never_a_crash(path: Path) -> None:
    rng = random.Random(7)
    for _ in range(150):
        damaged = bytearray(DATA)
        for _ in range(rng.randrange(1, 8)):
            damaged[rng.randrange(8192, len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged[: rng.choice((len(damaged), rng.randrange(8192, len(damaged))))])
        try:
            with bbolt.open(str(path)) as root:
                _content(root)
        except bbolt.BoltError:
            continue
