"""No secret, password or token in anything that a build leaves or shows, except where a step puts it on purpose."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pybuildkit.client import CacheOptionsEntry, SolveOpt
from pybuildkit.session.auth.authprovider import DockerAuthProviderConfig, load_auth_config, new_docker_auth_provider
from pybuildkit.session.secrets.secretsprovider import from_map
from pybuildkit.third_party.containerd.remotes.docker import Token, TokenOptions
from pybuildkit.third_party.docker_config import AuthConfig, ConfigFile
from tests.conformance import registry
from tests.conformance.services import BUILD, LOCAL, make_key, need, program
from tests.daemons import OTHER_CLIENT, RUN_OPTIONS, finish, ours_alone, read_until, run, start, write_tree

SECRET, VARIABLE, PASSWORD = "PlantedInAFile", "PlantedInAVariable", "PlantedPassword"
FILES = [
    *("--trace", "records/trace", "--metadata-file", "records/metadata", "--ref-file", "records/ref"),
    *("--debug-json-cache-metrics", "records/metrics"),
]
PROFILES = {"--profile-cpu": "cpu.pstats", "--profile-memory": "memory.tracemalloc"}
RECORDS = [*FILES, *(word for flag in PROFILES if not OTHER_CLIENT for word in (flag, "records"))]


def dockerfile(ref: str, end: str) -> str:
    """A step that reads all secrets; its `end` is the shell's last words."""
    mounts = "--mount=type=secret,id=file --mount=type=secret,id=variable --mount=type=ssh"
    script = f"/bin/busybox cat /run/secrets/file /run/secrets/variable > /dev/null; {end}"
    return f'FROM {ref}\nCOPY Dockerfile /\nRUN {mounts} ["/bin/busybox", "sh", "-c", "{script}"]\n'


def flags() -> list[str]:
    secrets = ["--secret", "id=file,src=secret", "--secret", "id=variable,env=PLANTED_VARIABLE"]
    return [*BUILD, *RUN_OPTIONS, *secrets, "--ssh", "default=key", *RECORDS, *LOCAL]


def planted(tmp_path: Path, tokens: list[str]) -> dict[str, bytes]:
    """What must not be found, in the forms that it may have."""
    login = f"user:{PASSWORD}".encode()
    key = (tmp_path / "key").read_text().splitlines()
    values = {"file": SECRET, "variable": VARIABLE, "password": PASSWORD, "key": key[2]}
    seed = tmp_path / "login/.token_seed"
    found = {name: value.encode() for name, value in values.items()}
    found["login"] = base64.b64encode(login)
    found |= {f"token {i}": token.encode() for i, token in enumerate(tokens)}
    if seed.exists():
        found["seed"] = seed.read_bytes()
    return found


@pytest.mark.parametrize("progress", ["plain", "rawjson"])
@pytest.mark.parametrize("end", ["true", "exit 3"])
def test_planted_values(real_addr: str, tmp_path: Path, busybox: Path, progress: str, end: str) -> None:
    need(real_addr, "run")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "records").mkdir()
    make_key(tmp_path / "key", "planted")
    with registry.token_registry(tmp_path / "registry", "user", PASSWORD) as tokens:
        ref = tokens.registry.push("img", {"bin/busybox": busybox.read_bytes()})
        write_tree(tmp_path / "test", {"Dockerfile": dockerfile(ref, end)})
        env = registry.docker_config(tmp_path / "login", {tokens.registry.host: ("user", PASSWORD)})
        argv = ["--debug", *flags(), f"--progress={progress}"]
        result = run(*argv, addr=real_addr, cwd=tmp_path, env={**env, "PLANTED_VARIABLE": VARIABLE})
    assert (result.code == 0) == (end == "true"), result.stderr
    assert tokens.given
    texts = {"standard error": result.stderr.encode(), "standard output": result.stdout}
    texts |= {path.name: path.read_bytes() for path in (tmp_path / "records").iterdir()}
    assert {"trace", "ref", *(PROFILES.values() if not OTHER_CLIENT else ())} <= set(texts)
    for name, value in planted(tmp_path, tokens.given).items():
        assert [where for where, text in texts.items() if value in text] == [], name


def test_planted_values_in_no_process_title(
    real_addr: str, tmp_path: Path, busybox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a step runs, the title and the arguments of the command hold names only."""
    need(real_addr, "run")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "records").mkdir()
    make_key(tmp_path / "key", "planted")
    text = dockerfile("scratch", "echo reached; /bin/busybox sleep 60").replace("COPY Dockerfile", "COPY .")
    write_tree(tmp_path / "test", {"Dockerfile": text, "bin/": ""})
    shutil.copy(busybox, tmp_path / "test/bin/busybox")
    monkeypatch.setenv("PLANTED_VARIABLE", VARIABLE)
    process = start(*flags(), "--progress=plain", "--no-cache", addr=real_addr, cwd=tmp_path)
    read_until(process, b" reached\n")
    folder = Path(f"/proc/{process.pid}")
    shown = [(folder / name).read_bytes() for name in ("cmdline", "comm")]
    shown += [(task / "comm").read_bytes() for task in (folder / "task").iterdir()]
    process.terminate()
    code, _, _ = finish(process, 20)
    assert code == 1
    for name, value in planted(tmp_path, []).items():
        assert not any(value in text for text in shown), name


KEY, TOKEN = "PlantedKey", "PlantedToken"
CACHES = [
    f"type=s3,bucket=b,region=r,access_key_id=a,secret_access_key={KEY},session_token={TOKEN}",
    f"type=azblob,account_url=http://127.0.0.1:1,secret_access_key={KEY}",
    f"type=gha,url=http://127.0.0.1:1/,url_v2=http://127.0.0.1:1/,token={TOKEN}",
    f'type=gha,url=http://127.0.0.1:1/,url_v2=http://127.0.0.1:1/,"token={TOKEN}"',
    "type=gha,url=http://127.0.0.1:1/,url_v2=http://127.0.0.1:1/",
    f"type=s3,secret_access_key={KEY},nonsense",
]


@ours_alone
@pytest.mark.parametrize(
    ("flag", "cache"),
    [
        *(("--export-cache", cache) for cache in CACHES),
        *(("--import-cache", cache) for cache in (CACHES[0], CACHES[4])),
    ],
)
def test_keys_and_tokens_of_caches(tmp_path: Path, flag: str, cache: str) -> None:
    """With a daemon that does not know the cache; the token may also come from the environment."""
    cached("embedded://", tmp_path, flag, cache)


@ours_alone
@pytest.mark.parametrize("cache", [CACHES[0], CACHES[-2]])
def test_keys_and_tokens_of_caches_with_a_real_daemon(real_addr: str, tmp_path: Path, cache: str) -> None:
    cached(real_addr, tmp_path, "--export-cache", cache)


def cached(addr: str, tmp_path: Path, flag: str, cache: str) -> None:
    """Build with a cache that cannot be reached, and look for the key and the token in all that is left."""
    write_tree(tmp_path / "test", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    (tmp_path / "records").mkdir()
    env = {"ACTIONS_RUNTIME_TOKEN": TOKEN, "ACTIONS_CACHE_URL": "http://127.0.0.1:1/"}
    argv = ["--debug", *BUILD, flag, cache, *FILES, *LOCAL, "--progress=rawjson"]
    result = run(*argv, addr=addr, cwd=tmp_path, env=env)
    assert flag == "--import-cache" or result.code == 1, result.stderr
    texts = {"standard error": result.stderr.encode(), "standard output": result.stdout}
    texts |= {path.name: path.read_bytes() for path in (tmp_path / "records").iterdir()}
    assert [name for name, text in texts.items() if KEY.encode() in text or TOKEN.encode() in text] == []
    if result.code:
        assert "pybuildctl" in result.stderr or "buildctl" in result.stderr, "the stack names the command line"


@ours_alone
def test_command_line_is_shown_without_its_secrets(tmp_path: Path) -> None:
    write_tree(tmp_path / "test", {"Dockerfile": "FROM scratch\n"})
    options = [
        "--opt",
        f"build-arg:NPM_TOKEN={TOKEN}",
        "--opt",
        f"build-arg:DB_PASSWORD=a, {KEY} b",
        "--opt",
        "plain=kept",
    ]
    options += [
        "--opt",
        f"build-arg:HTTPS_PROXY=http://user:{KEY}@proxy:1",
        "--opt",
        f"context:a=https://{TOKEN}@host/x.git",
    ]
    result = run("--debug", *BUILD, *options, "--output", "type=local", addr="embedded://", cwd=tmp_path)
    assert result.code == 1
    assert "build-arg:NPM_TOKEN=xxxxx --opt build-arg:DB_PASSWORD=xxxxx --opt plain=kept" in result.stderr
    assert "build-arg:HTTPS_PROXY=http://user:xxxxx@proxy:1 --opt context:a=https://xxxxx@host/x.git" in result.stderr
    assert TOKEN not in result.stderr
    assert KEY not in result.stderr


def test_identity_token(addr: str, tmp_path: Path) -> None:
    """Traded for a registry's token, and refused: neither of the two tokens is shown."""
    write_tree(tmp_path, {"records/": "", "test/salt": os.urandom(8)})
    with registry.token_registry(tmp_path / "registry", "", PASSWORD) as tokens:
        ref = tokens.registry.push("img", {"x": b"x"})
        write_tree(tmp_path / "test", {"Dockerfile": f"FROM {ref}\nCOPY salt /\n"})
        for token, code in ((f"{PASSWORD}-wrong", 1), (PASSWORD, 0)):
            auths = {tokens.registry.host: {"identitytoken": token}}
            write_tree(tmp_path, {"login/config.json": json.dumps({"auths": auths})})
            env = {"DOCKER_CONFIG": str(tmp_path / "login")}
            result = run("--debug", *BUILD, *FILES, *LOCAL, addr=addr, cwd=tmp_path, env=env)
            assert result.code == code, result.stderr
            texts = [result.stderr.encode(), result.stdout, *(p.read_bytes() for p in (tmp_path / "records").iterdir())]
            assert not [text for text in texts for each in (PASSWORD, *tokens.given) if each.encode() in text]
    assert tokens.given


def test_reprs_of_what_a_program_holds(tmp_path: Path) -> None:
    """What a traceback's reader or a program's own log may show of the options."""
    held = [
        SolveOpt(cache_exports=[CacheOptionsEntry(type="s3", attrs={"secret_access_key": KEY})]),
        AuthConfig(username="u", password=KEY, identity_token=TOKEN, registry_token=TOKEN),
        TokenOptions(realm="http://h", username="u", secret=KEY),
        Token(token=TOKEN, refresh_token=TOKEN),
        from_map({"id": KEY.encode()}),
        new_docker_auth_provider(DockerAuthProviderConfig(auth_config_provider=load_auth_config(_config()))),
        DockerAuthProviderConfig(auth_config_provider=load_auth_config(_config())),
    ]
    for each in held:
        assert not any(value in repr(each) or value in str(each) for value in (KEY, TOKEN)), type(each)


def _config() -> ConfigFile:
    config = ConfigFile()
    config.auth_configs["h"] = AuthConfig(username="u", password=KEY)
    assert KEY not in repr(config)
    return config


ADDRESSES = [
    "ssh://user:{}@127.0.0.1:1/x",
    "tcp://user:{}@127.0.0.1:1",
    "tcp://user:{}@127.0.0.1:x",
    "tcp://user:part@{}@127.0.0.1:1",
    "unix://user:{}@host/x",
    "nosuch://user:{}@host",
    "http://user:{}@%zz",
    "embedded://user:{}@host/x",
]


@ours_alone
@pytest.mark.parametrize("address", ADDRESSES)
def test_password_of_an_address_is_not_shown(tmp_path: Path, address: str) -> None:
    """Neither by the error nor by the stack below it, which names the command line."""
    result = run("--debug", "--timeout", "2", "debug", "info", addr=address.format(PASSWORD), cwd=tmp_path)
    assert result.code == 1
    assert " debug info\n" in result.stderr
    assert PASSWORD not in result.stderr


@pytest.mark.parametrize("proxy", ["http://user:{}@127.0.0.1:1", "http://user:{}@%zz", "nosuch://user:{}@127.0.0.1:1"])
def test_password_of_a_proxy_is_not_shown(tmp_path: Path, proxy: str) -> None:
    env = {"HTTPS_PROXY": proxy.format(PASSWORD)}
    result = run("--debug", "--timeout", "2", "debug", "info", addr="tcp://host.invalid:1", cwd=tmp_path, env=env)
    assert result.code == 1
    assert PASSWORD not in result.stderr


CONFIGURATIONS = [
    '{"auths": {"HOST": {"auth": "%s',
    '{"auths": {"HOST": {"auth": "%s"}}}',
    '{"auths": {"HOST": {"password": ["%s"]}}}',
    '{"credsStore": 5, "auths": {"HOST": {"identitytoken": "%s"}}}',
    '{"credHelpers": {"HOST": "planted"}}',
]


@pytest.mark.parametrize("text", CONFIGURATIONS)
@pytest.mark.parametrize("by", ["file", "variable"])
def test_malformed_credentials_are_not_quoted(addr: str, tmp_path: Path, text: str, by: str) -> None:
    """What is wrong with Docker's configuration, or with a helper's answer, is told without what it says."""
    write_tree(tmp_path, {"bin/docker-credential-planted": f'#!/bin/sh\necho \'{{"Secret": "{PASSWORD}" oops\'\n'})
    (tmp_path / "bin/docker-credential-planted").chmod(0o755)
    with registry.htpasswd_registry(tmp_path / "registry", "user", "other") as where:
        content = (text % PASSWORD if "%s" in text else text).replace("HOST", where.host)
        write_tree(tmp_path, {"login/config.json": content if by == "file" else "{}"})
        env = {"DOCKER_CONFIG": str(tmp_path / "login"), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
        env |= {"DOCKER_AUTH_CONFIG": content} if by == "variable" else {}
        write_tree(tmp_path / "test", {"Dockerfile": f"FROM {where.host}/img\n"})
        result = run("--debug", *BUILD, "--trace", "trace", *LOCAL, addr=addr, cwd=tmp_path, env=env)
    assert result.code == 1
    assert PASSWORD not in result.stderr
    assert PASSWORD.encode() not in (tmp_path / "trace").read_bytes()
    if "planted" not in text:
        said = "WARNING: Error parsing config file (" if by == "file" else "Failed to create credential store from "
        assert said in result.stderr


def test_sealed_keys_are_not_quoted(addr: str, tmp_path: Path) -> None:
    """A key with a passphrase, for ssh and for TLS: nobody is asked, and no part of it is shown."""
    key = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", PASSWORD, "-C", "planted", "-f", str(key)]
    program("ssh-keygen")
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    write_tree(tmp_path / "test", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    result = run("--debug", *BUILD, "--ssh", f"default={key}", *LOCAL, addr=addr, cwd=tmp_path)
    assert result.code == 1
    assert "passphrase" in result.stderr
    assert not any(line in result.stderr for line in key.read_text().splitlines()[1:-1])
    assert PASSWORD not in result.stderr
