"""The index of an OCI layout; names of client/ociindex/ociindex_test.go are kept where one is ported."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from pybuildkit.client import ociindex
from pybuildkit.golang.errors import BuildkitError, error_text

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
NAME, REF = "io.containerd.image.name", "org.opencontainers.image.ref.name"


def _descriptor(number: int, **more: object) -> dict[str, object]:
    return {"mediaType": MANIFEST, "digest": f"sha256:{number:064}", "size": number, **more}


def _manifests(store: ociindex.StoreIndex) -> list[Mapping[str, object]]:
    manifests = store.read()["manifests"]
    assert isinstance(manifests, list)
    return manifests


def test_empty_dir(tmp_path: Path) -> None:
    store = ociindex.new_store_index(str(tmp_path))
    for call in (store.read, store.get_single, lambda: store.get("x")):
        with pytest.raises(BuildkitError) as caught:
            call()
        path = tmp_path / "index.json"
        assert str(caught.value) == f"could not read {path}: open {path}: no such file or directory"
    assert list(tmp_path.iterdir()) == [], "no lock is left"


def test_read_index(tmp_path: Path) -> None:
    index = {"schemaVersion": 2, "manifests": [_descriptor(1), _descriptor(2)], "unknown": 1}
    (tmp_path / "index.json").write_text(json.dumps(index))
    store = ociindex.new_store_index(str(tmp_path))
    assert [m["size"] for m in _manifests(store)] == [1, 2]
    assert store.get_single() is None


def test_read_by_tag(tmp_path: Path) -> None:
    index = {
        "manifests": [
            _descriptor(1, annotations={REF: "a"}),
            _descriptor(2, annotations={REF: "x", NAME: "a"}),
            _descriptor(3),
        ]
    }
    (tmp_path / "index.json").write_text(json.dumps(index))
    store = ociindex.new_store_index(str(tmp_path))
    found = [store.get(tag) for tag in ("a", "x", "none")]
    assert [d and d["size"] for d in found] == [2, 2, None], "a name goes before a tag"


def test_write_single_descriptor(tmp_path: Path) -> None:
    store = ociindex.new_store_index(str(tmp_path))
    store.put(_descriptor(1))
    assert store.get_single() == _descriptor(1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.json", "oci-layout"]
    assert (tmp_path / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'


def test_add_descriptor_with_tag(tmp_path: Path) -> None:
    store = ociindex.new_store_index(str(tmp_path))
    store.put(_descriptor(1))
    given = _descriptor(2, annotations={"k": "v"})
    store.put(given, ociindex.tag("ver1"))
    assert given == _descriptor(2, annotations={"k": "v"}), "what was given is not changed"
    store.put(_descriptor(3), ociindex.tag("ver1"))
    assert [(m["size"], m.get("annotations")) for m in _manifests(store)] == [(1, None), (3, {REF: "ver1"})]


def test_add_multiple_names(tmp_path: Path) -> None:
    store = ociindex.new_store_index(str(tmp_path))
    store.put(_descriptor(1), ociindex.name("h.io/x:1"), ociindex.name("h.io/x:2"), ociindex.tag("t"))
    assert [m["annotations"] for m in _manifests(store)] == [
        {NAME: "h.io/x:1", REF: "1"},
        {NAME: "h.io/x:2", REF: "2"},
        {REF: "t"},
    ]


def test_replace_by_image_name(tmp_path: Path) -> None:
    store = ociindex.new_store_index(str(tmp_path))
    store.put(_descriptor(1), ociindex.name("h.io/x:1"), ociindex.name("h.io/y:1"))
    store.put(_descriptor(2), ociindex.name("h.io/x:1"))
    assert [
        (m["size"], store.get(n) == m) for n, m in zip(("h.io/y:1", "h.io/x:1"), _manifests(store), strict=True)
    ] == [
        (1, True),
        (2, True),
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", "json: cannot unmarshal array into Go value of type v1.Index"),
        ('"x"', "json: cannot unmarshal string into Go value of type v1.Index"),
        ("{", "unexpected end of JSON input"),
        ("nonsense", "invalid character 'o' in literal null (expecting 'u')"),
        (
            '{"manifests":{}}',
            "json: cannot unmarshal object into Go struct field Index.manifests of type []v1.Descriptor",
        ),
        ('{"manifests":[1]}', "json: cannot unmarshal number into Index.manifests.0 of type v1.Descriptor"),
        (
            '{"manifests":[{"size":1.5}]}',
            "json: cannot unmarshal number 1.5 into Go struct field Index.manifests.0.size of type int64",
        ),
        (
            '{"manifests":[{"annotations":{"a":1}}]}',
            "json: cannot unmarshal number into Go struct field Index.manifests.0.annotations.a of type string",
        ),
        (
            '{"manifests":[{"platform":"x"}]}',
            "json: cannot unmarshal string into Go struct field Index.manifests.0.platform of type v1.Platform",
        ),
        (
            '{"manifests":[{"urls":[1]}]}',
            "json: cannot unmarshal number into Index.manifests.0.urls.0 of type string",
        ),
        (
            '{"manifests":[{"data":"!!"}]}',
            "json: cannot unmarshal string into Go struct field Index.manifests.0.data of type []uint8: "
            "illegal base64 data at input byte 0",
        ),
        ('{"schemaVersion":"2"}', "json: cannot unmarshal string into Go struct field Index.schemaVersion of type int"),
    ],
)
def test_bad_index(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "index.json"
    path.write_text(text)
    store = ociindex.new_store_index(str(tmp_path))
    calls = (store.read, lambda: store.put(_descriptor(1)))
    for call in calls:
        with pytest.raises(BuildkitError) as caught:
            call()
        quoted = json.dumps(text)
        assert str(caught.value) == f"could not unmarshal {path} ({quoted}): {error}"
    assert path.read_text() == text
    assert not path.with_name("index.json.lock").exists()


def test_names_whatever_their_case_and_null(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"Manifests":[{"SIZE":5,"digest":null,"platform":null},null],"subject":null}')
    assert ociindex.new_store_index(str(tmp_path)).read() == {
        "schemaVersion": 0,
        "manifests": [{"mediaType": "", "digest": "", "size": 5}, {"mediaType": "", "digest": "", "size": 0}],
    }


def test_another_process_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "index.json.lock"
    fd = os.open(lock, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        store = ociindex.new_store_index(str(tmp_path))
        with pytest.raises(ociindex.StoreIndexError, match=f"^could not lock {lock}$"):
            store.put(_descriptor(1))
        with pytest.raises(ociindex.StoreIndexError):
            store.read()
    finally:
        os.close(fd)


def test_lock_file_that_its_holder_has_removed_locks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the open and the lock the one before may end, and take the file with it: it is opened again."""
    flock, locked = fcntl.flock, list[bool]()
    path = tmp_path / "index.json.lock"

    def late(fd: int, operation: int) -> None:
        if not locked:
            path.unlink()
        flock(fd, operation)
        locked.append(path.exists() and os.path.samestat(os.fstat(fd), path.stat()))

    monkeypatch.setattr(fcntl, "flock", late)
    ociindex.new_store_index(str(tmp_path)).put(_descriptor(1))
    assert locked == [False, True]


def test_parallel_puts_lose_nothing(tmp_path: Path) -> None:
    store = ociindex.new_store_index(str(tmp_path))
    done: list[int] = []

    end = time.monotonic() + 60

    def put(number: int) -> None:
        while time.monotonic() < end:
            try:
                store.put(_descriptor(number), ociindex.tag(str(number)))
            except ociindex.StoreIndexError:
                time.sleep(0.001)  # another one has the lock
                continue
            done.append(number)
            return

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(8))
    assert sorted(str(m["size"]) for m in _manifests(store)) == [str(n) for n in range(8)]


PROCESS = """
import sys
from pybuildkit.client import ociindex
store = ociindex.new_store_index(sys.argv[1])
sys.stdin.read()
for number in sys.argv[2:]:
    descriptor = {"mediaType": "m", "digest": f"sha256:{int(number):064}", "size": int(number)}
    while True:
        try:
            store.put(descriptor, ociindex.tag(f"own-{number}"))
            store.put(descriptor, ociindex.tag("latest"))
            break
        except ociindex.StoreIndexError:
            continue  # another process has the lock
"""


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    numbers = [[str(10 * who + number) for number in range(10)] for who in (0, 1)]
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path), *each], stdin=subprocess.PIPE)
        for each in numbers
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()  # both are let go at nearly the same time
    assert [process.wait(60) for process in processes] == [0, 0]
    store = ociindex.new_store_index(str(tmp_path))
    found = [store.get(f"own-{number}") for each in numbers for number in each]
    assert [each and each["size"] for each in found] == list(range(20))
    assert len(_manifests(store)) == 21, "of the tag that both gave there is one"
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", "oci-layout"}


@pytest.mark.parametrize("call", ["write", "replace"])
def test_a_failed_write_leaves_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    store = ociindex.new_store_index(str(tmp_path))
    store.put(_descriptor(1), ociindex.tag("a"))
    before = (tmp_path / "index.json").read_bytes()
    if call == "replace":

        def full(source: str, target: str) -> None:
            raise OSError(28, "No space left on device", source, None, target)

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises((BuildkitError, OSError)) as caught:
            store.put(_descriptor(2), ociindex.tag("a"))
        assert "no space left on device" in error_text(caught.value)
    else:
        (tmp_path / "oci-layout").unlink()
        (tmp_path / "oci-layout").mkdir()
        with pytest.raises((BuildkitError, OSError)):
            store.put(_descriptor(2), ociindex.tag("a"))
    assert (tmp_path / "index.json").read_bytes() == before
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"index.json", "oci-layout"}
