"""Images in a registry of this test's own: what is asked of it, and what of its answers is believed."""

from __future__ import annotations

import io

import pytest

from fake_buildkitd.image import Descriptor, ImageError
from fake_buildkitd.image._pull import NoPlatformError, image_config, matches, pull, select_manifest
from fake_buildkitd.image._spec import objects
from fake_buildkitd.progress import Progress, VertexWriter
from fake_buildkitd.registry import Authorizer, ImageNotFoundError, RemoteImage, RequestError, StatusError
from fake_buildkitd.registry._auth import merged_scopes
from fake_buildkitd.registry._request import _LOOKUP_SECONDS
from fake_buildkitd.store import MemoryStore
from pybuildkit.client._graph import Vertex, VertexStatus
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session import Manager
from pybuildkit.third_party import platforms
from pybuildkit.third_party.distribution import reference
from tests.fake_buildkitd.helpers import tree_of
from tests.fake_buildkitd.registry.doubles import OCI, Registry, digest, served
from tests.fake_buildkitd.registry.servers import Answer, Request

CTX = context.background()
AMD64, ARM64 = platforms.parse("linux/amd64"), platforms.parse("linux/arm64")


def remote(registry: Registry, name: str = "img", push: bool = False) -> RemoteImage:
    ref = reference.tag_name_only(reference.parse_normalized_named(f"{registry.host}/{name}"))
    return RemoteImage(ref, Authorizer(Manager(), ()), push=push)


def writer() -> VertexWriter:
    return VertexWriter(Progress(), Vertex(digest="sha256:v", name="v"))


async def test_an_image_is_pulled_once() -> None:
    store = MemoryStore()
    with served() as registry:
        registry.image({"a": b"1", "b": b"2"}, {".wh.b": b"", "c": b"3"})
        image, told = remote(registry), writer()
        _, manifest = await select_manifest(CTX, image, await image.resolve(CTX), AMD64)
        snapshot = await pull(CTX, image, manifest, "img", store, told)
        again = await pull(CTX, image, manifest, "img", store, writer())
        limited = await pull(CTX, image, manifest, "img", store, writer(), limit=1)
    assert snapshot is not None
    assert limited is not None
    assert again is snapshot
    assert {name: text for name, (_, text) in tree_of(store, snapshot.root).items()} == {"a": "1", "c": "3"}
    assert set(tree_of(store, limited.root)) == {"a", "b"}
    blobs = [request.path for request in registry.requests if "/blobs/" in request.path]
    for described in objects(manifest["layers"]):
        assert blobs.count(f"/v2/img/blobs/{described['digest']}") == 1
    shown = [item for _, item in told.progress._items.values() if isinstance(item, VertexStatus)]
    assert [each.id for each in shown if each.total] == [each["digest"] for each in objects(manifest["layers"])]
    assert all(each.completed for each in shown)


async def test_an_index_by_platform() -> None:
    with served() as registry:
        amd, arm = registry.image({"a": b"1"}), registry.image({"b": b"2"})
        entries = [
            {**amd, "platform": {"os": "unknown", "architecture": "unknown"}},
            {**amd, "platform": {"os": "linux", "architecture": "amd64"}},
            {**arm, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        ]
        kind = OCI + "index.v1+json"
        registry.manifest({"schemaVersion": 2, "mediaType": kind, "manifests": entries}, kind, "latest")
        image = remote(registry)
        found = await image.resolve(CTX)
        assert (await select_manifest(CTX, image, found, AMD64))[0].digest == amd["digest"]
        assert (await select_manifest(CTX, image, found, ARM64))[0].digest == arm["digest"]
        with pytest.raises(NoPlatformError, match=f"no match for platform in manifest {found.digest}: not found"):
            await image_config(CTX, image, found, platforms.parse("linux/s390x"))


@pytest.mark.parametrize(
    ("wanted", "offered", "rank"),
    [
        ("linux/amd64", "linux/amd64", 0),
        ("linux/amd64", "linux/amd64/v3", None),
        ("linux/amd64/v3", "linux/amd64", 2),
        ("linux/arm/v7", "linux/arm/v6", 1),
        ("linux/arm/v6", "linux/arm/v7", None),
        ("linux/arm64", "linux/arm64/v8", 0),
        ("linux/arm64", "linux/amd64", None),
        ("linux/amd64", "windows/amd64", None),
    ],
)
def test_matching_platforms(wanted: str, offered: str, rank: int | None) -> None:
    assert matches(platforms.parse(wanted), platforms.parse(offered)) == rank


def test_an_arm64_machine_runs_arm_images_last() -> None:
    ranks = [matches(ARM64, platforms.parse(name)) for name in ("linux/arm64", "linux/arm/v7", "linux/arm/v6")]
    assert ranks == sorted(ranks, key=lambda rank: rank if rank is not None else 99)


async def test_blobs_are_checked() -> None:
    store = MemoryStore()
    with served() as registry:
        registry.image({"a": b"1"})
        image = remote(registry)
        _, manifest = await select_manifest(CTX, image, await image.resolve(CTX), AMD64)
        path = f"/v2/img/blobs/{objects(manifest['layers'])[0]['digest']}"
        good = registry.content[path]
        registry.content[path] = (good[0], b"another content")
        with pytest.raises(ImageError, match=r"unexpected commit digest sha256:\w+, expected sha256:"):
            await pull(CTX, image, manifest, "img", store, writer())
        registry.content[path] = (good[0], bytes(100_000))
        with pytest.raises(ImageError, match="has more than its"):
            await pull(CTX, image, manifest, "img", store, writer())
        del registry.content[path]
        with pytest.raises(ImageNotFoundError, match="not found"):
            await pull(CTX, image, manifest, "img", store, writer())
        registry.content[path] = good
        wrong = registry.image({"a": b"1"}, diff_id=f"sha256:{64 * '0'}")
        _, manifest = await select_manifest(CTX, image, Descriptor(OCI + "manifest.v1+json", wrong["digest"], 0), AMD64)
        with pytest.raises(ImageError, match="mismatched layer diffID"):
            await pull(CTX, image, manifest, "img", store, writer())
        registry.content[f"/v2/img/manifests/{wrong['digest']}"] = (OCI + "manifest.v1+json", b"{}")
        with pytest.raises(ImageError, match="unexpected commit digest"):
            await select_manifest(CTX, image, Descriptor(OCI + "manifest.v1+json", wrong["digest"], 0), AMD64)
    assert not store.snapshots()


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ((404, {}, b""), ImageNotFoundError, "/img:latest: not found"),
        ((500, {}, b""), StatusError, "unexpected status from HEAD request to http://"),
        ((401, {}, b""), StatusError, ": 401 Unauthorized"),
        ((401, {"WWW-Authenticate": 'Basic realm="x"'}, b""), StatusError, ": 401 Unauthorized"),
        ((401, {"WWW-Authenticate": "Bearer"}, b""), BuildkitError, "failed to authorize: no realm specified"),
        ((302, {"Location": "/v2/img/manifests/latest"}, b""), RequestError, "stopped after 10 redirects"),
    ],
)
async def test_bad_answers(answer: Answer, error: type[BuildkitError], text: str) -> None:
    with served() as registry:
        registry.hook = lambda request: answer
        with pytest.raises(error) as caught:
            await remote(registry).resolve(CTX)
    assert text in str(caught.value)


async def test_a_manifest_of_endless_size() -> None:
    with served() as registry:
        registry.content["/v2/img/manifests/latest"] = (OCI + "manifest.v1+json", b" " * (9 << 20))
        image = remote(registry)
        with pytest.raises(BuildkitError, match="an answer of more than 8388608 bytes"):
            await image.manifest(CTX, Descriptor("", "latest", 0))


async def test_a_manifest_of_an_unknown_kind() -> None:
    """A registry may not know what a manifest's kind is: its text says."""
    with served() as registry:
        made = registry.image({"a": b"1"})
        data = registry.content["/v2/img/manifests/latest"][1]
        registry.content["/v2/img/manifests/latest"] = ("application/json", data)
        assert (await remote(registry).resolve(CTX)).media_type == made["mediaType"]
        registry.content["/v2/img/manifests/latest"] = ("text/html", b"<html>")
        with pytest.raises(ImageError, match="failed to parse manifest"):
            await remote(registry).resolve(CTX)


async def test_a_registry_without_head() -> None:
    with served() as registry:
        made = registry.image({"a": b"1"})
        registry.hook = lambda request: (405, {}, b"") if request.method == "HEAD" else None
        assert (await remote(registry).resolve(CTX)).digest == made["digest"]


async def test_a_configuration_of_endless_size() -> None:
    with served() as registry, pytest.raises(ImageError, match="is too large"):
        await remote(registry).blob(CTX, Descriptor("", digest(b""), 1 << 40))


async def test_an_anonymous_token() -> None:
    """The registry wants a token that it gives to anybody; it is asked for once."""
    tokens: list[Request] = []

    def hook(request: Request) -> Answer | None:
        if request.path == "/token":
            tokens.append(request)
            return 200, {"Content-Type": "application/json"}, b'{"token": "t0k"}'
        if request.headers.get("authorization") != "Bearer t0k":
            realm = f'Bearer realm="http://{registry.host}/token",service="s",scope="repository:img:pull"'
            return 401, {"WWW-Authenticate": realm}, b""
        return None

    with served() as registry:
        registry.hook = hook
        registry.image({"a": b"1"})
        image = remote(registry)
        _, manifest = await select_manifest(CTX, image, await image.resolve(CTX), AMD64)
        assert await pull(CTX, image, manifest, "img", MemoryStore(), writer()) is not None
    assert [request.query for request in tokens] == [{"scope": ["repository:img:pull"], "service": ["s"]}]
    assert "authorization" not in tokens[0].headers


async def test_a_token_stays_with_its_registry() -> None:
    """A blob may lie on another host, which is not told the token."""
    store = MemoryStore()
    with served() as registry, served() as other:

        def hook(request: Request) -> Answer | None:
            if request.path == "/token":
                return 200, {}, b'{"token": "t0k"}'
            if request.headers.get("authorization") != "Bearer t0k":
                return 401, {"WWW-Authenticate": f'Bearer realm="http://{registry.host}/token"'}, b""
            if "/blobs/" in request.path:
                return 307, {"Location": f"http://{other.host}{request.path}"}, b""
            return None

        registry.hook = hook
        registry.image({"a": b"1"})
        other.content = registry.content
        image = remote(registry)
        _, manifest = await select_manifest(CTX, image, await image.resolve(CTX), AMD64)
        assert await pull(CTX, image, manifest, "img", store, writer()) is not None
    assert other.requests
    assert all("authorization" not in request.headers for request in other.requests)


async def test_pushing() -> None:
    put: dict[str, bytes] = {}

    def hook(request: Request) -> Answer | None:
        if request.method == "POST":
            return 202, {"Location": "/upload?state=1"}, b""
        if request.method == "PUT":
            put[request.path + str(sorted(request.query.items()))] = request.body
            return 201, {}, b""
        return None

    data = b"of a blob"
    described = Descriptor("application/octet-stream", digest(data), len(data))
    with served() as registry:
        registry.hook = hook
        image = remote(registry, push=True)
        await image.push_blob(CTX, described, lambda name: io.BytesIO(data))
        await image.push_manifest(CTX, OCI + "manifest.v1+json", b"{}", "latest")
        sent = len(put)
        registry.blob(data)
        await image.push_blob(CTX, described, lambda name: io.BytesIO(data))
    assert put == {
        f"/upload[('digest', ['{digest(data)}']), ('state', ['1'])]": data,
        "/v2/img/manifests/latest[]": b"{}",
    }
    assert sent == len(put)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_registry_that_takes_nothing(method: str) -> None:
    def hook(request: Request) -> Answer | None:
        if request.method == method:
            return 403, {}, b"{}"
        return (202, {"Location": "/upload"}, b"") if request.method == "POST" else None

    described = Descriptor("", digest(b"x"), 1)
    with served() as registry:
        registry.hook = hook
        with pytest.raises(StatusError, match=f"unexpected status from {method} request to .*: 403 Forbidden"):
            await remote(registry, push=True).push_blob(CTX, described, lambda name: io.BytesIO(b"x"))


async def test_nobody_there() -> None:
    registry = Registry(host="127.0.0.1:1")
    with pytest.raises(RequestError) as caught:
        await remote(registry).resolve(CTX)
    reason = "dial tcp 127.0.0.1:1: connect: connection refused"
    url = "http://127.0.0.1:1/v2/img/manifests/latest"
    assert str(caught.value) == f'failed to do request: Head "{url}": {reason}'


async def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    with pytest.raises(RequestError, match=r"dial tcp: lookup host\.invalid: (no such host|i/o timeout)"):
        await remote(Registry(host="host.invalid")).resolve(CTX)
    assert _LOOKUP_SECONDS <= 10


def test_scopes() -> None:
    assert merged_scopes(["repository:a:pull", "repository:b:pull", "repository:a:push,pull"]) == [
        "repository:a:pull,push",
        "repository:b:pull",
    ]
