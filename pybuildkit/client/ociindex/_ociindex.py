"""Reading and changing an index.json under its lock.

Mirrors client/ociindex/ociindex.go, v0.32.2.

Every call takes the lock file `index.json.lock` beside the index, shared for reading and exclusive for writing, and
fails at once where another process holds it. Descriptors and indexes are plain dicts as in their JSON.

Differs from Go: the index is replaced as a whole by a rename, so that a full disk or a crash leaves the old one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pybuildkit.client.ociindex._spec import Json, read_descriptor, read_index
from pybuildkit.golang import errors, json
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

ANNOTATION_IMAGE_NAME = "io.containerd.image.name"
ANNOTATION_REF_NAME = "org.opencontainers.image.ref.name"
MEDIA_TYPE_INDEX = "application/vnd.oci.image.index.v1+json"
LAYOUT = '{"imageLayoutVersion":"1.0.0"}'


class StoreIndexError(BuildkitError):
    """The index is locked by another process."""


class NameOrTag:
    """What an image is called in an index: a full name, or a tag alone."""

    __slots__ = ("is_tag", "value")

    def __init__(self, value: str, is_tag: bool) -> None:
        self.value = value
        self.is_tag = is_tag


def name(value: str) -> NameOrTag:
    """A full image name."""
    return NameOrTag(value, False)


def tag(value: str) -> NameOrTag:
    """A tag alone."""
    return NameOrTag(value, True)


def new_store_index(store_path: str) -> StoreIndex:
    """The index of an OCI layout; nothing is read or made yet.

    Args:
        store_path: the layout's folder.
    """
    return StoreIndex(store_path)


class StoreIndex:
    """The index of one OCI layout."""

    def __init__(self, store_path: str) -> None:
        folder = posixpath.normpath(store_path) if store_path else ""
        self._index_path = posixpath.join(folder, "index.json")
        self._layout_path = posixpath.join(folder, "oci-layout")
        self._lock_path = self._index_path + ".lock"

    def read(self) -> Json:
        """The index.

        Raises:
            WrappedError: "could not lock …", "could not read …" or "could not unmarshal …".
            StoreIndexError: another process is writing it.
        """
        with self._locked(fcntl.LOCK_SH):
            try:
                with open(self._index_path, "rb") as file:
                    data = file.read()
            except OSError as err:
                raise errors.wrap(errors.with_op(err, _op(err)), f"could not read {self._index_path}") from err
        return self._parse(data)

    def put(self, descriptor: Mapping[str, object], *names: NameOrTag) -> None:
        """Add a descriptor, once for each name; what had the same name or tag before is dropped from the index.

        Without a name it is added as it is. The file `oci-layout` is written too.

        Raises:
            WrappedError, StoreIndexError: as `read`; the index is unchanged then.
        """
        with self._locked(fcntl.LOCK_EX):
            self._replace(self._layout_path, LAYOUT.encode())
            index = self._read_for_update()
            index["schemaVersion"] = index.get("schemaVersion") or 2
            media_type = index.get("mediaType") or MEDIA_TYPE_INDEX
            manifests = index.get("manifests") or []
            assert isinstance(manifests, list)
            for entry in names or (None,):
                manifests = _insert(manifests, descriptor, entry)
            version = index.pop("schemaVersion")
            changed: Json = {"schemaVersion": version, "mediaType": media_type}
            changed |= {key: value for key, value in index.items() if key != "mediaType"}
            changed["manifests"] = manifests
            self._write(json.marshal(changed).encode())

    def get(self, tag: str) -> Json | None:
        """The descriptor of that name or, failing that, of that tag; None where the index has neither."""
        manifests = self._manifests()
        for annotation in (ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME):
            for manifest in manifests:
                if _annotations(manifest).get(annotation) == tag:
                    return manifest
        return None

    def get_single(self) -> Json | None:
        """The only descriptor of the index, None where it has none or several."""
        manifests = self._manifests()
        return manifests[0] if len(manifests) == 1 else None

    def _manifests(self) -> list[Json]:
        manifests = self.read().get("manifests") or []
        assert isinstance(manifests, list)
        return manifests

    def _parse(self, data: bytes) -> Json:
        try:
            return read_index(data)
        except BuildkitError as err:
            shown = quote(data.decode("utf-8", "surrogateescape"))
            raise errors.wrap(err, f"could not unmarshal {self._index_path} ({shown})") from err

    def _read_for_update(self) -> Json:
        try:
            with open(self._index_path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return {}
        except OSError as err:
            what = "read" if _op(err) == "read" else "open"
            raise errors.wrap(errors.with_op(err, what), f"could not {what} {self._index_path}") from err
        return self._parse(data) if data else {}

    def _write(self, data: bytes) -> None:
        try:
            self._replace(self._index_path, data)
        except OSError as err:
            raise errors.wrap(err, f"could not write {self._index_path}") from err

    def _replace(self, path: str, data: bytes) -> None:
        """Give a file new contents in one step; a symbolic link's target is what is replaced."""
        path = os.path.realpath(path)
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644), "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except OSError as err:
            _remove(temporary)
            if err.filename is None or err.filename == temporary:
                err.filename = path
            raise errors.with_op(err, "open" if err.errno in (errno.EACCES, errno.EROFS) else "write") from None

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        fd = self._lock(kind)
        try:
            yield
        finally:
            if fd is not None:
                _remove(self._lock_path)
                os.close(fd)

    def _lock(self, kind: int) -> int | None:
        """The descriptor that holds the lock; None where reading goes on without one."""
        while True:
            try:
                fd = os.open(self._lock_path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
            except OSError as err:
                if kind == fcntl.LOCK_SH and err.errno in (errno.EPERM, errno.EROFS):
                    return None
                raise errors.wrap(errors.with_op(err, "open"), f"could not lock {self._lock_path}") from err
            try:
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
                if _is_same_file(fd, self._lock_path):
                    return fd
            except BlockingIOError:
                os.close(fd)
                raise StoreIndexError(f"could not lock {self._lock_path}") from None
            except OSError as err:
                os.close(fd)
                raise errors.wrap(err, f"could not lock {self._lock_path}") from err
            os.close(fd)  # the holder before us has removed the file meanwhile


def _is_same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _op(err: OSError) -> str:
    return "read" if err.errno == errno.EISDIR else "open"


def _annotations(descriptor: Mapping[str, object]) -> dict[str, str]:
    annotations = descriptor.get("annotations") or {}
    assert isinstance(annotations, dict)
    return annotations


def _insert(manifests: list[Json], descriptor: Mapping[str, object], entry: NameOrTag | None) -> list[Json]:
    """The manifests with the descriptor added, and what it replaces gone."""
    added = read_descriptor(descriptor)
    if entry is None:
        return [*manifests, added]
    image_name = "" if entry.is_tag else entry.value
    ref_name = entry.value if entry.is_tag else _oci_reference_name(entry.value)
    annotations = _annotations(added)
    if image_name:
        annotations[ANNOTATION_IMAGE_NAME] = image_name
    annotations[ANNOTATION_REF_NAME] = ref_name
    kept = [manifest for manifest in manifests if not _is_named(manifest, image_name, ref_name)]
    return [*kept, read_descriptor({**added, "annotations": annotations})]


def _is_named(manifest: Mapping[str, object], image_name: str, ref_name: str) -> bool:
    annotations = _annotations(manifest)
    return (
        annotations.get(ANNOTATION_REF_NAME, "") == ref_name
        and annotations.get(ANNOTATION_IMAGE_NAME, "") == image_name
    )


def _oci_reference_name(image_name: str) -> str:
    """The part of a name that the specification calls its reference: tag and digest; the whole where it has no host."""
    from pybuildkit.golang.url import URLError, parse

    if "://" in image_name:
        return image_name
    try:
        url = parse("dummy://" + image_name)
    except URLError:
        return image_name
    if not url.host:
        return image_name
    for position, char in enumerate(url.path):
        if char in ":@":
            return url.path[position + (char == ":") :]
    return ""
