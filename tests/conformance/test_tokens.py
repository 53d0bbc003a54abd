"""Token servers of registries: behind TLS of their own authority, for pushes, anonymous, with identity tokens."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit.client import ExportEntry, SolveOpt
from pybuildkit.golang import context
from pybuildkit.session.auth.authprovider import DockerAuthProviderConfig, load_auth_config, new_docker_auth_provider
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.docker_config import AuthConfig, ConfigFile
from tests.conformance import registry
from tests.conformance.bridges import Authority
from tests.conformance.services import build, last_line, need
from tests.daemons import write_tree

USER, PASSWORD = "user", "planted-password"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, " + registry.MANIFEST


class Settings:
    """A token server's TLS, which asks for a client certificate, and the files that get a client in."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        self.ca = authority.ca
        self.tls: ssl.SSLContext = authority.server(*authority.issue("server", ip="127.0.0.1"))
        self.tls.set_alpn_protocols(["http/1.1"])
        self.cert, self.key = authority.issue("client")

    def flags(self, host: str, *fields: str) -> list[str]:
        return ["--registry-auth-tlscontext", ",".join([f"host={host}", *fields])]


def test_tls_context_of_a_token_server(addr: str, tmp_path: Path) -> None:
    """The settings are used for the registry that they name, in one value or in several."""
    need(addr, "pull")
    settings = Settings(tmp_path / "pki")
    ca, pair = f"ca={settings.ca}", (f"cert={settings.cert}", f"key={settings.key}")
    with registry.token_registry(tmp_path / "registry", USER, PASSWORD, settings.tls) as tokens:
        host = tokens.registry.host
        content = os.urandom(100)
        ref = tokens.registry.push("img", {"from-the-image": content})
        env = registry.docker_config(tmp_path / "login", {host: (USER, PASSWORD)})
        given = {"addr": addr, "cwd": tmp_path, "env": env}

        def pull(*flags: str, ok: bool = True) -> str:
            # another step each time, so that the daemon does not answer from its memory of the image
            files = {"Dockerfile": f"FROM {ref}\nCOPY salt /salt\n", "salt": os.urandom(20)}
            result = build(*flags, **given, files=files, ok=ok)  # type: ignore[arg-type]  # as they are named
            return last_line(result)

        refusals = {
            "no settings": [],
            "another host's": settings.flags("registry.example", ca, *pair),
        }
        for name, flags in refusals.items():
            assert "failed to fetch oauth token: " in pull(*flags, ok=False), name
        assert "remote error: tls: certificate required" in pull(*settings.flags(host, ca), ok=False)
        assert tokens.given == []
        pull(*settings.flags(host, ca), *settings.flags(host, *pair))
        assert tokens.given
        assert (tmp_path / "out/from-the-image").read_bytes() == content


def test_tls_context_without_verification(addr: str, tmp_path: Path) -> None:
    need(addr, "pull")
    settings = Settings(tmp_path / "pki")
    pair = (f"cert={settings.cert}", f"key={settings.key}")
    with registry.token_registry(tmp_path / "registry", USER, PASSWORD, settings.tls) as tokens:
        ref = tokens.registry.push("img", {"from-the-image": b"x"})
        env = registry.docker_config(tmp_path / "login", {tokens.registry.host: (USER, PASSWORD)})
        flags = settings.flags(tokens.registry.host, *pair, "insecure=true")
        build(*flags, addr=addr, cwd=tmp_path, files={"Dockerfile": f"FROM {ref}\nCOPY Dockerfile /\n"}, env=env)
    assert tokens.given


def test_token_of_another_build(real_addr: str, tmp_path: Path) -> None:
    """A daemon uses the token of a build for the next one only where the client proves that it is the same one.

    It asks for a signature by the key which the token seed and the login make: another seed, and the daemon asks for
    another token.
    """
    need(real_addr, "pull")
    with registry.token_registry(tmp_path / "registry", USER, PASSWORD) as tokens:
        ref = tokens.registry.push("img", {"from-the-image": b"x"})
        logins = {
            name: registry.docker_config(tmp_path / name, {tokens.registry.host: (USER, PASSWORD)}) for name in "ab"
        }
        given = []
        for name in "aab":
            files: dict[str, str | bytes] = {"Dockerfile": f"FROM {ref}\nCOPY salt /salt\n", "salt": os.urandom(20)}
            build(addr=real_addr, cwd=tmp_path, files=files, env=logins[name])
            given.append(len(tokens.given))
    first, same, other = given
    assert first > 0
    assert same == first
    assert other > same
    seeds = [(tmp_path / name / ".token_seed").read_bytes() for name in "ab"]
    assert seeds[0] != seeds[1]


async def test_builds_at_once(addr: str, tmp_path: Path) -> None:
    """Several builds of one program, with one provider of logins and secrets of their own, pull at the same time."""
    need(addr, "pull")
    ctx = context.background()
    with registry.token_registry(tmp_path / "registry", USER, PASSWORD) as tokens:
        refs = [tokens.registry.push(name, {"from-the-image": name.encode()}) for name in ("img", "cache")]
        config = ConfigFile()
        config.auth_configs[tokens.registry.host] = AuthConfig(username=USER, password=PASSWORD)
        auth = new_docker_auth_provider(
            DockerAuthProviderConfig(auth_config_provider=load_auth_config(config), seed_folder=str(tmp_path / "seeds"))
        )
        async with await buildkit.new(ctx, addr) as client:

            async def one(number: int) -> None:
                text = f"FROM {refs[number % 2]}\nCOPY Dockerfile /made-{number}\n"
                folder = write_tree(tmp_path / f"in-{number}", {"Dockerfile": text})
                mounts = {name: fsutil.new_fs(str(folder)) for name in ("context", "dockerfile")}
                out = [ExportEntry(type="local", output_dir=str(tmp_path / f"out-{number}"))]
                opt = SolveOpt(frontend="dockerfile.v0", local_mounts=mounts, session=[auth], exports=out)
                await client.solve(ctx, None, opt)

            await asyncio.gather(*(one(number) for number in range(4)))
    for number in range(4):
        made = tmp_path / f"out-{number}"
        assert (made / "from-the-image").read_text() == ("img", "cache")[number % 2]
        assert (made / f"made-{number}").is_file()
    assert {scope for request in tokens.server.requests for scope in request.form.get("scope", [])} == {
        "repository:img:pull",
        "repository:cache:pull",
    }


def test_push(addr: str, tmp_path: Path) -> None:
    """The image that the metadata names is the one in the registry; the token is for pushing to its repository."""
    need(addr, "oci")
    with registry.token_registry(tmp_path / "registry", USER, PASSWORD) as tokens:
        name = f"{tokens.registry.host}/img:pushed"
        env = registry.docker_config(tmp_path / "login", {tokens.registry.host: (USER, PASSWORD)})
        output = ["--output", f"type=image,name={name},push=true,annotation.org.example.key=a value"]
        files = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}
        metadata = ["--metadata-file", "metadata.json"]
        result = build(*metadata, addr=addr, cwd=tmp_path, files=files, env=env, output=output)
        described = json.loads((tmp_path / "metadata.json").read_bytes())
        stored = tokens.registry.content("/v2/img/manifests/pushed", Accept=MANIFESTS)
    assert described["containerimage.digest"] == registry.digest(stored)
    assert described["image.name"] == name
    assert described["containerimage.descriptor"]["digest"] == registry.digest(stored)
    assert json.loads(stored)["annotations"] == {"org.example.key": "a value"}
    assert f"pushing manifest for {name}@{registry.digest(stored)}" in result.stderr
    scopes = {s for r in tokens.server.requests for s in [*r.query.get("scope", []), *r.form.get("scope", [])]}
    assert "repository:img:pull,push" in {s for scope in scopes for s in scope.split(" ")}


def test_push_that_is_refused(addr: str, tmp_path: Path) -> None:
    need(addr, "oci")
    with registry.token_registry(tmp_path / "registry", USER, PASSWORD) as tokens:
        env = registry.docker_config(tmp_path / "login", {tokens.registry.host: (USER, "wrong")})
        output = ["--output", f"type=image,name={tokens.registry.host}/img:pushed,push=true"]
        files = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}
        result = build(addr=addr, cwd=tmp_path, files=files, env=env, output=output, ok=False)
    assert last_line(result).startswith("error: failed to solve: ")
    assert "failed to fetch oauth token" in last_line(result)
    assert tokens.given == []


@pytest.mark.parametrize("name", ["identitytoken", "registrytoken"])
def test_tokens_of_the_configuration(addr: str, tmp_path: Path, name: str) -> None:
    """An identity token is traded for a registry's token; a registry's token is used as it is."""
    need(addr, "pull")
    with registry.token_registry(tmp_path / "registry", "", PASSWORD) as tokens:
        ref = tokens.registry.push("img", {"from-the-image": b"x"})
        bearer = tokens.registry.headers["Authorization"].removeprefix("Bearer ")
        (tmp_path / "login").mkdir()
        entry = {name: PASSWORD if name == "identitytoken" else bearer}
        (tmp_path / "login/config.json").write_text(json.dumps({"auths": {tokens.registry.host: entry}}))
        env = {"DOCKER_CONFIG": str(tmp_path / "login")}
        files = {"Dockerfile": f"FROM {ref}\nCOPY Dockerfile /\n"}
        build(addr=addr, cwd=tmp_path, files=files, env=env)
    grants = [request.form.get("grant_type") for request in tokens.server.requests]
    assert grants == ([["refresh_token"]] if name == "identitytoken" else [])
    assert (tmp_path / "out/from-the-image").read_bytes() == b"x"
