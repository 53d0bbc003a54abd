"""The content store in a folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from pybuildkit.golang.errors import BuildkitError, error_text, find
from pybuildkit.third_party.containerd.content import Store, digest_of, new_store
from pybuildkit.third_party.containerd.errdefs import (
    AlreadyExistsError,
    ContainerdError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from tests.session.unprivileged import unprivileged

DATA = b"some content"
DIGEST = digest_of(DATA)


def add(store: Store, data: bytes) -> str:
    writer = store.writer(f"ref-{digest_of(data)}")
    writer.write(data)
    writer.commit(len(data), digest_of(data))
    return writer.digest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(str(tmp_path / "store"))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_commit_read_delete(store: Store, tmp_path: Path) -> None:
    assert add(store, DATA) == DIGEST
    assert files(tmp_path) == [f"store/blobs/sha256/{DIGEST[7:]}"]
    path = tmp_path / "store/blobs/sha256" / DIGEST[7:]
    assert path.stat().st_mode & 0o222 == 0
    info = store.info(DIGEST)
    assert (info.digest, info.size, info.created_at) == (DIGEST, len(DATA), path.stat().st_mtime_ns)
    assert store.read_blob(DIGEST) == DATA
    reader = store.open(DIGEST)
    assert (reader.size, reader.read_at(4, 5), reader.read_at(99, 99)) == (12, b"cont", b"")
    reader.close()
    reader.close()
    assert [info.digest for info in store.walk()] == [DIGEST]
    store.delete(DIGEST)
    store.delete(DIGEST)
    assert list(store.walk()) == []
    for call in (store.info, store.open, store.read_blob):
        with pytest.raises(NotFoundError):
            call(DIGEST)


def test_not_found_text(store: Store) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.info(DIGEST)
    assert str(caught.value) == f"content {DIGEST}: not found"


@pytest.mark.parametrize("digest", ["", "sha256", "sha256:xyz", "md5:" + "0" * 32, "sha256:../../etc", "a/b:c"])
def test_invalid_digests_reach_no_file(digest: str, store: Store) -> None:
    for call in (store.info, store.open, store.read_blob, store.delete):
        with pytest.raises(BuildkitError) as caught:
            call(digest)
        assert find(caught.value, InvalidArgumentError) is not None


def test_ingest_resumes_in_another_process(store: Store, tmp_path: Path) -> None:
    writer = store.writer("ref", total=len(DATA))
    writer.write(DATA[:5])
    writer.close()
    writer.close()
    later = new_store(str(tmp_path / "store"))
    status = later.status("ref")
    assert (status.ref, status.offset, status.total) == ("ref", 5, len(DATA))
    assert status.started_at <= status.updated_at
    assert [found.ref for found in later.list_statuses()] == ["ref"]
    assert later.list_statuses(["ref==other"]) == []
    again = later.writer("ref")
    assert again.status().offset == 5
    again.write(DATA[5:])
    again.commit(len(DATA), DIGEST)
    assert later.read_blob(DIGEST) == DATA
    assert later.list_statuses() == []


@pytest.mark.parametrize("damage", ["startedat", "ref", "total"])
def test_ingest_that_cannot_be_resumed_begins_again(damage: str, store: Store, tmp_path: Path) -> None:
    writer = store.writer("ref", total=99)
    writer.write(b"old")
    writer.close()
    folder = tmp_path / "store/ingest" / hashlib.sha256(b"ref").hexdigest()
    (folder / damage).write_text("98")
    writer = store.writer("ref", total=99 if damage == "total" else 0)
    assert writer.status().offset == 0
    writer.write(DATA)
    writer.commit(0, DIGEST)
    assert store.read_blob(DIGEST) == DATA


def test_truncate(store: Store) -> None:
    writer = store.writer("ref")
    writer.write(b"wrong")
    with pytest.raises(BuildkitError):
        writer.truncate(2)
    writer.truncate(0)
    writer.write(DATA)
    writer.commit(len(DATA), DIGEST)
    assert store.read_blob(DIGEST) == DATA


def test_commit_checks(store: Store, tmp_path: Path) -> None:
    for size, expected, text in (
        (3, "", f"unexpected commit size {len(DATA)}, expected 3: failed precondition"),
        (0, digest_of(b""), f"unexpected commit digest {DIGEST}, expected {digest_of(b'')}: failed precondition"),
    ):
        writer = store.writer("ref")
        writer.truncate(0)
        writer.write(DATA)
        with pytest.raises(FailedPreconditionError) as caught:
            writer.commit(size, expected)
        assert str(caught.value) == text
        with pytest.raises(FailedPreconditionError, match="cannot commit on closed writer"):
            writer.commit()
        with pytest.raises(FailedPreconditionError, match="cannot write on closed writer"):
            writer.write(b"x")
    assert not (tmp_path / "store/blobs").exists()
    assert store.status("ref").offset == len(DATA)
    store.abort("ref")
    store.abort("ref")
    with pytest.raises(NotFoundError):
        store.status("ref")


def test_other_algorithms(store: Store) -> None:
    expected = f"sha512:{hashlib.sha512(DATA).hexdigest()}"
    for opened in (expected, ""):
        writer = store.writer("ref", expected=opened)
        writer.write(DATA)
        writer.commit(0, expected)
        assert store.read_blob(expected) == DATA
        store.delete(expected)


def test_existing_blob(store: Store) -> None:
    add(store, DATA)
    with pytest.raises(AlreadyExistsError, match=f"content {DIGEST}: already exists"):
        store.writer("ref", expected=DIGEST)
    writer = store.writer("ref")
    writer.write(DATA)
    with pytest.raises(AlreadyExistsError):
        writer.commit()
    assert store.list_statuses() == []


def test_one_writer_for_a_name(store: Store) -> None:
    writer = store.writer("ref")
    with pytest.raises(UnavailableError, match=r"ref ref locked for .*: unavailable"):
        store.writer("ref")
    store.writer("other").close()
    writer.close()
    store.writer("ref").close()
    with pytest.raises(InvalidArgumentError):
        store.writer("")


def test_read_only(store: Store, tmp_path: Path) -> None:
    add(store, DATA)
    store.writer("ref").close()
    inputs = new_store(str(tmp_path / "store"), read_only=True)
    before = files(tmp_path)
    assert inputs.read_blob(DIGEST) == DATA
    for call in (
        lambda: inputs.delete(DIGEST),
        lambda: inputs.writer("new"),
        lambda: inputs.abort("ref"),
        lambda: inputs.update(inputs.info(DIGEST)),
    ):
        with pytest.raises(PermissionDeniedError, match="is read-only: permission denied"):
            call()
    assert files(tmp_path) == before


def test_walk_leaves_out_what_is_no_blob(store: Store, tmp_path: Path) -> None:
    add(store, DATA)
    add(store, b"other")
    (tmp_path / "store/blobs/sha256/README").write_text("no blob")
    (tmp_path / "store/blobs/md5").mkdir()
    assert [info.digest for info in store.walk()] == sorted([DIGEST, digest_of(b"other")])
    assert [info.digest for info in store.walk([f"digest=={DIGEST}"])] == [DIGEST]
    with pytest.raises(BuildkitError, match="parse error"):
        list(store.walk(["=="]))


def test_labels_are_not_kept(store: Store) -> None:
    add(store, DATA)
    with pytest.raises(FailedPreconditionError):
        store.update(store.info(DIGEST))


@pytest.mark.parametrize("read_only", [False, True])
def test_root_is_made_or_named(read_only: bool, tmp_path: Path) -> None:
    new_store(str(tmp_path / "a/b"), read_only=read_only)
    assert (tmp_path / "a/b").is_dir()
    (tmp_path / "file").touch()
    path = str(tmp_path / "file/x")
    with pytest.raises(BuildkitError) as caught:
        new_store(path, read_only=read_only)
    assert error_text(caught.value) == f'failed to stat "{path}": stat {path}: not a directory'
    with pytest.raises(BuildkitError) as caught:
        new_store("", read_only=read_only)
    assert error_text(caught.value) == 'failed to mkdir "": mkdir : no such file or directory'


def test_forbidden_folder() -> None:
    with unprivileged() as folder:
        folder.chmod(0o500)
        with pytest.raises(BuildkitError, match=r"failed to mkdir .*: permission denied"):
            new_store(str(folder / "store"))
        with pytest.raises(PermissionError):
            new_store(str(folder)).writer("ref")
        folder.chmod(0o700)


def test_failed_write_leaves_no_blob_and_no_lock(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = store.writer("ref")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left") as caught:
            writer.write(DATA)
    assert error_text(caught.value).endswith("/data: no space left on device")
    writer.close()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        writer = store.writer("ref")
        writer.write(DATA)
        with pytest.raises(OSError, match="No space left"):
            writer.commit()
    assert not (tmp_path / "store/blobs").exists()
    add(store, DATA)
    store.writer("ref").close()


def test_every_class_has_a_word_and_a_code() -> None:
    for cls in ContainerdError.__subclasses__():
        assert str(cls()) == cls.word
        assert str(cls("this")) == f"this: {cls.word}"
    assert len({cls.grpc_code for cls in ContainerdError.__subclasses__()}) == len(ContainerdError.__subclasses__())
