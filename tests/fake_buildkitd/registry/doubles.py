"""A registry in the test's own process, with images made of plain values."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fake_buildkitd.registry.servers import Answer, Request, http_server

Json = dict[str, Any]
OCI = "application/vnd.oci.image."


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@dataclass
class Registry:
    """A registry with blobs and manifests by path; `hook` may answer in its place."""

    host: str = ""
    content: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    hook: Callable[[Request], Answer | None] = lambda request: None

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        answer = self.hook(request)
        if answer is not None:
            return answer
        kind, data = self.content.get(request.path, ("", b""))
        if not kind:
            return 404, {}, b"{}"
        return 200, {"Content-Type": kind, "Docker-Content-Digest": digest(data)}, data

    def blob(self, data: bytes, kind: str = "application/octet-stream") -> Json:
        self.content[f"/v2/img/blobs/{digest(data)}"] = (kind, data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def manifest(self, value: Json, kind: str, tag: str = "") -> Json:
        data = json.dumps(value).encode()
        for name in (digest(data), tag):
            self.content[f"/v2/img/manifests/{name}"] = (kind, data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def image(
        self,
        *files: Mapping[str, bytes],
        tag: str = "latest",
        diff_id: str = "",
        config: Mapping[str, object] | None = None,
        platform: tuple[str, str] = ("linux", "amd64"),
    ) -> Json:
        """An image with a layer for each set of files; `config` is that section of its configuration."""
        layers = [layer(each) for each in files]
        described_config = {
            "os": platform[0],
            "architecture": platform[1],
            "created": "2001-02-03T04:05:06Z",
            "config": config or {},
            "history": [{"created_by": f"layer {number}"} for number in range(len(files))],
            "rootfs": {"type": "layers", "diff_ids": [diff_id or digest(each) for each in layers]},
        }
        kind = OCI + "manifest.v1+json"
        blobs = [self.blob(gzip.compress(each, mtime=0), OCI + "layer.v1.tar+gzip") for each in layers]
        described = self.blob(json.dumps(described_config).encode(), OCI + "config.v1+json")
        value = {"schemaVersion": 2, "mediaType": kind, "config": described, "layers": blobs}
        return self.manifest(value, kind, tag)


@contextmanager
def served() -> Iterator[Registry]:
    """Run a registry until the block ends."""
    registry = Registry()
    with http_server(registry.answer) as host:
        registry.host = host
        yield registry
