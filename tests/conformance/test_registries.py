"""Pulls from real registries through the daemon, with credentials from Docker's configuration."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance import registry
from tests.conformance.services import build, last_line, need
from tests.daemons import OTHER_CLIENT, ours_alone

USER, PASSWORD = "a user", "a pässword: with & all"
DOCKERFILE = "FROM {}\nCOPY Dockerfile /copied\n"


def image(where: registry.Registry) -> tuple[str, bytes]:
    """An image in the registry, and the content of its one file."""
    content = os.urandom(2000)
    return where.push("img", {"from-the-image": content}), content


def test_open_registry(addr: str, tmp_path: Path) -> None:
    with registry.serve(tmp_path / "registry") as where:
        ref, content = image(where)
        result = build(addr=addr, cwd=tmp_path, files={"Dockerfile": DOCKERFILE.format(ref)})
    assert (tmp_path / "out/from-the-image").read_bytes() == content
    assert "sharing credentials" not in result.stderr


def test_htpasswd_realm(addr: str, tmp_path: Path) -> None:
    """The password has a byte that is no UTF-8."""
    password = f"{PASSWORD} \udce9"
    with registry.htpasswd_registry(tmp_path / "registry", USER, password) as where:
        ref, content = image(where)
        files = {"Dockerfile": DOCKERFILE.format(ref)}
        refused = build(addr=addr, cwd=tmp_path, files=files, ok=False)
        env = registry.docker_config(tmp_path / "login", {where.host: (USER, password)})
        result = build(addr=addr, cwd=tmp_path, files=files, env=env)
    assert "401 Unauthorized" in last_line(refused) or "no basic auth credentials" in last_line(refused)
    assert (tmp_path / "out/from-the-image").read_bytes() == content
    assert f"[auth] sharing credentials for {where.host}" in result.stderr


@contextmanager
def helped(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str | bytes], bytes, dict[str, str]]]:
    """A registry whose login a helper knows: the helper, a context, the image's file, the environment."""
    with registry.htpasswd_registry(tmp_path / "registry", "helped", "by-a-helper") as where:
        ref, content = image(where)
        helper = tmp_path / "bin/docker-credential-oftest"
        helper.parent.mkdir()
        answer = '{"ServerURL":"x","Username":"helped","Secret":"by-a-helper"}'
        helper.write_text(f'#!/bin/sh\n[ "$1" = get ] && [ "$(cat)" = {where.host} ] && echo \'{answer}\'\n')
        helper.chmod(0o755)
        (tmp_path / "login").mkdir()
        (tmp_path / "login/config.json").write_text(f'{{"credHelpers": {{"{where.host}": "oftest"}}}}')
        env = {"DOCKER_CONFIG": str(tmp_path / "login"), "PATH": f"{helper.parent}:{os.environ['PATH']}"}
        yield helper, {"Dockerfile": DOCKERFILE.format(ref)}, content, env


def test_credential_helper(addr: str, tmp_path: Path) -> None:
    with helped(tmp_path) as (_, files, content, env):
        build(addr=addr, cwd=tmp_path, files=files, env=env)
    assert (tmp_path / "out/from-the-image").read_bytes() == content


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            "echo junk",
            "invalid character 'j'"
            if OTHER_CLIENT
            else "error getting credentials - err: docker-credential-oftest wrote no JSON",
        ),
        ("echo no luck; exit 1", "error getting credentials - err: exit status 1, out: `no luck`"),
    ],
)
def test_credential_helper_that_fails(addr: str, tmp_path: Path, script: str, text: str) -> None:
    with helped(tmp_path) as (helper, files, _, env):
        helper.write_text(f"#!/bin/sh\n{script}\n")
        broken = build(addr=addr, cwd=tmp_path, files=files, env=env, ok=False)
    assert text in last_line(broken)


def test_malformed_configuration_is_a_warning(addr: str, tmp_path: Path) -> None:
    (tmp_path / "login").mkdir()
    (tmp_path / "login/config.json").write_text('{"auths": {"h": ')
    env = {"DOCKER_CONFIG": str(tmp_path / "login")}
    files = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /copied\n"}
    result = build(addr=addr, cwd=tmp_path, files=files, env=env)
    path = tmp_path / "login/config.json"
    assert result.stderr.startswith(f"WARNING: Error parsing config file ({path}): unexpected EOF\n")
    assert (tmp_path / "out/copied").exists()


@ours_alone
def test_credentials_kept_back(addr: str, tmp_path: Path) -> None:
    with registry.htpasswd_registry(tmp_path / "registry", USER, PASSWORD) as where:
        ref, content = image(where)
        files = {"Dockerfile": DOCKERFILE.format(ref)}
        env = registry.docker_config(tmp_path / "login", {where.host: (USER, PASSWORD)})
        other = ["--registry-auth-allow", "registry.example"]
        refused = build(*other, addr=addr, cwd=tmp_path, files=files, env=env, ok=False)
        both = [*other, "--registry-auth-allow", where.host]
        build(*both, addr=addr, cwd=tmp_path, files=files, env=env)
    assert f"refusing credentials for {where.host}: not allowed by --registry-auth-allow" in refused.stderr
    assert (tmp_path / "out/from-the-image").read_bytes() == content


def test_token_server(addr: str, tmp_path: Path) -> None:
    """The client, not the daemon, asks the token server: it alone has the password."""
    with registry.token_registry(tmp_path / "registry", USER, PASSWORD) as tokens:
        ref, content = image(tokens.registry)
        env = registry.docker_config(tmp_path / "login", {tokens.registry.host: (USER, PASSWORD)})
        result = build(addr=addr, cwd=tmp_path, files={"Dockerfile": DOCKERFILE.format(ref)}, env=env)
    assert (tmp_path / "out/from-the-image").read_bytes() == content
    assert tokens.given
    scopes = {s for r in tokens.server.requests for s in [*r.query.get("scope", []), *r.form.get("scope", [])]}
    assert scopes == {"repository:img:pull"}
    assert f"[auth] img:pull token for {tokens.registry.host}" in result.stderr
    if not OTHER_CLIENT:
        assert re.search(rf"^#\d+ [\d.]+ asking {tokens.server.url.split('/')[2]}$", result.stderr, re.MULTILINE)
    seed = tmp_path / "login/.token_seed"
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600


@ours_alone
def test_token_server_that_refuses(addr: str, tmp_path: Path) -> None:
    """The server's answer quotes the password; the error does not."""
    with registry.token_registry(tmp_path / "registry", USER, PASSWORD) as tokens:
        ref, _ = image(tokens.registry)
        env = registry.docker_config(tmp_path / "login", {tokens.registry.host: (USER, "wrong-and-planted")})
        files = {"Dockerfile": DOCKERFILE.format(ref)}
        result = build("--debug", addr=addr, cwd=tmp_path, files=files, env=env, ok=False)
    assert "failed to fetch oauth token" in last_line(result)
    assert "401" in last_line(result)
    assert "wrong-and-planted" not in result.stderr
    assert registry.basic(USER, "wrong-and-planted").split()[1] not in result.stderr


def test_a_login_is_in_no_record_of_a_build(addr: str, tmp_path: Path) -> None:
    """Pull, push and cache with one password; it is in nothing that the build prints or writes."""
    need(addr, "image-store", "registry-export")
    secret = f"planted-{os.urandom(8).hex()}"
    with registry.htpasswd_registry(tmp_path / "registry", USER, secret) as where:
        ref, content = image(where)
        env = registry.docker_config(tmp_path / "login", {where.host: (USER, secret)})
        flags = [
            *("--export-cache", f"type=registry,ref={where.host}/cache:1"),
            *("--import-cache", f"type=registry,ref={where.host}/cache:1"),
            *("--trace", "trace", "--metadata-file", "meta", "--ref-file", "ref", "--debug"),
            *("--opt", "attest:provenance=mode=max"),
        ]
        output = [*("-o", f"type=image,name={where.host}/made:1,push=true"), *("-o", "type=local,dest=out")]
        files = {"Dockerfile": DOCKERFILE.format(ref)}
        result = build(*flags, addr=addr, cwd=tmp_path, files=files, env=env, output=output)
        pushed = where.request("HEAD", "/v2/made/manifests/1", Accept="application/vnd.oci.image.index.v1+json")
    assert pushed[0] == 200
    assert (tmp_path / "out/from-the-image").read_bytes() == content
    planted = [secret.encode(), registry.basic(USER, secret).split()[1].encode()]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "login" not in path.parts]
    records = {"stderr": result.stderr.encode(), "stdout": result.stdout}
    records |= {str(path): path.read_bytes() for path in written if "registry" not in path.parts}
    assert {"meta", "ref", "trace"} <= {path.name for path in written}
    assert not [name for name, data in records.items() for each in planted if each in data]
