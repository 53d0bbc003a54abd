"""Asking for images: the registry client against a small registry, and through a gateway's answers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pybuildkit.client import llb
from pybuildkit.client.llb import imagemetaresolver, sourceresolver
from pybuildkit.golang.context import Context, background
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party.platforms import Platform

CTX = background()


def _blob(value: object) -> tuple[str, bytes]:
    data = json.dumps(value).encode()
    return "sha256:" + hashlib.sha256(data).hexdigest(), data


CONFIG = _blob({"architecture": "arm64", "os": "linux", "config": {"Env": ["A=1"], "WorkingDir": "/w"}})
MANIFEST = _blob({"config": {"digest": CONFIG[0]}, "layers": []})
INDEX = _blob(
    {
        "manifests": [
            {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "s390x"}},
            {"digest": MANIFEST[0], "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        ]
    }
)


@contextlib.contextmanager
def registry(*, wants_token: bool = False, config: bytes = CONFIG[1]) -> Iterator[tuple[str, list[str]]]:
    """A registry with the image `app:latest`; gives its address and the requests that it has seen."""
    asked: list[str] = []
    found = {
        "/v2/app/manifests/latest": INDEX[1],
        f"/v2/app/manifests/{MANIFEST[0]}": MANIFEST[1],
        f"/v2/app/blobs/{CONFIG[0]}": config,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.partition("?")[0])
            if self.path.startswith("/token"):
                self._answer(200, b'{"token": "secret"}')
            elif wants_token and self.headers.get("Authorization") != "Bearer secret":
                realm = f"http://localhost:{server.server_port}/token"
                self._answer(401, b"", ("WWW-Authenticate", f'Bearer realm="{realm}",service="s",scope="x"'))
            else:
                self._answer(200 if self.path in found else 404, found.get(self.path, b""))

        def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the tests look at `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"localhost:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("wants_token", [False, True])
async def test_image_config_comes_from_the_registry(wants_token: bool) -> None:
    with registry(wants_token=wants_token) as (address, asked):
        resolver = imagemetaresolver.new()
        state = llb.image(f"{address}/app", llb.linux_arm64, llb.with_meta_resolver(resolver), llb.resolve_digest(True))
        definition = await state.run(llb.shlex("x")).root().marshal(CTX)
        ops = [op for _, op in definition.ops()]
        assert ops[0].source.identifier == f"docker-image://{address}/app:latest@{INDEX[0]}"
        assert list(ops[1].exec.meta.env) == ["A=1"]
        assert ops[1].exec.meta.cwd == "/w"
        count = len(asked)
        opt = sourceresolver.Opt(
            image_opt=sourceresolver.ResolveImageOpt(platform=Platform(os="linux", architecture="arm64"))
        )
        assert (await resolver.resolve_image_config(CTX, f"{address}/app:latest", opt))[1] == INDEX[0]
        assert len(asked) == count  # remembered


async def test_what_a_registry_does_not_have_is_named() -> None:
    with registry() as (address, _):
        resolver = imagemetaresolver.new(
            imagemetaresolver.with_default_platform(Platform(os="linux", architecture="amd64"))
        )
        for ref, text in ((f"{address}/app:none", "not found"), (f"{address}/app:latest", "no match for platform")):
            with pytest.raises(imagemetaresolver.RegistryError, match=text):
                await resolver.resolve_image_config(CTX, ref, sourceresolver.Opt())


async def test_a_blob_that_was_changed_is_refused() -> None:
    with registry(config=b"{}") as (address, _):
        state = llb.image(f"{address}/app", llb.linux_arm64, llb.with_meta_resolver(imagemetaresolver.new()))
        with pytest.raises(imagemetaresolver.RegistryError, match="sent something else than sha256:"):
            await state.marshal(CTX)


class _Gateway:
    """Answers questions about sources as a daemon would."""

    def __init__(self, answer: sourceresolver.MetaResponse) -> None:
        self.answer = answer
        self.asked: list[ops_pb2.SourceOp] = []

    async def resolve_source_metadata(
        self, ctx: Context, op: ops_pb2.SourceOp, opt: sourceresolver.Opt
    ) -> sourceresolver.MetaResponse:
        self.asked.append(op)
        return self.answer


async def test_image_meta_resolver_asks_the_gateway() -> None:
    op = ops_pb2.SourceOp(identifier="docker-image://docker.io/library/other:1")
    image = sourceresolver.ResolveImageResponse(digest="sha256:1", config=b"{}")
    gateway = _Gateway(sourceresolver.MetaResponse(op=op, image=image))
    resolver = sourceresolver.new_image_meta_resolver(gateway)
    answer = await resolver.resolve_image_config(CTX, "app", sourceresolver.Opt())
    assert answer == ("docker.io/library/other:1", "sha256:1", b"{}")
    store = sourceresolver.ResolveImageConfigOptStore(session_id="s", store_id="t")
    layout = sourceresolver.Opt(oci_layout_opt=sourceresolver.ResolveOCILayoutOpt(store=store))
    await resolver.resolve_image_config(CTX, "app", layout)
    assert [asked.identifier for asked in gateway.asked] == [
        "docker-image://docker.io/library/app",
        "oci-layout://docker.io/library/app",
    ]
    assert dict(gateway.asked[1].attrs) == {"oci.session": "s", "oci.store": "t"}


async def test_a_policy_that_replaces_the_image_by_something_else_is_an_error() -> None:
    answer = sourceresolver.MetaResponse(op=ops_pb2.SourceOp(identifier="https://example.com"))
    resolver = sourceresolver.new_image_meta_resolver(_Gateway(answer))
    with pytest.raises(sourceresolver.ResolveToNonImageError, match="ref mutated by policy to non-image"):
        await resolver.resolve_image_config(CTX, "app", sourceresolver.Opt())
    with pytest.raises(BuildkitError, match='could not parse reference "App": invalid reference format'):
        await resolver.resolve_image_config(CTX, "App", sourceresolver.Opt())
