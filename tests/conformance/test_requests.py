"""What a daemon is asked for, as it receives it: caches, outputs and what the environment adds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pybuildkit.api.services.control import control_pb2 as pb
from tests.conformance.faulty import BUILD, Build, Script, serve
from tests.daemons import run

VARIABLES = ("ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_CACHE_SERVICE_V2")
TOKEN = "planted-runtime-token"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def run_on_script(work: Path, folder: Path, *flags: str, env: Mapping[str, str] | None = None) -> tuple[Build, str]:
    """A build with these flags as the daemon has seen it, and all that the command has printed."""
    with serve(Script(), folder) as daemon:
        result = run(*BUILD, *flags, addr=daemon.addr, cwd=work, env=env)
        assert result.code == 0, result.stderr
        (build,) = daemon.builds.values()
        return build, result.stderr + result.stdout.decode()


def received(work: Path, folder: Path, *flags: str, env: Mapping[str, str] | None = None) -> pb.SolveRequest:
    """The request of a build with these flags."""
    return run_on_script(work, folder, *flags, env=env)[0].request


@pytest.mark.parametrize(
    ("variables", "given", "attrs"),
    [
        ({"ACTIONS_CACHE_URL": "http://c/", "ACTIONS_RESULTS_URL": "http://r/"}, "", {"url": "http://c/"}),
        ({"ACTIONS_RESULTS_URL": "http://r/"}, "", {"url": "http://r/"}),
        (
            {"ACTIONS_CACHE_URL": "http://c/", "ACTIONS_RESULTS_URL": "http://r/", "ACTIONS_CACHE_SERVICE_V2": "true"},
            "",
            {"url": "http://c/", "url_v2": "http://r/"},
        ),
        (
            {"ACTIONS_CACHE_URL": "http://c/", "ACTIONS_RESULTS_URL": "http://r/"},
            ",version=2,scope=s,url=http://u/",
            {"url": "http://u/", "url_v2": "http://r/", "version": "2", "scope": "s"},
        ),
    ],
)
def test_github_cache(
    tmp_path: Path, work: Path, variables: Mapping[str, str], given: str, attrs: Mapping[str, str]
) -> None:
    env = {**variables, "ACTIONS_RUNTIME_TOKEN": TOKEN}
    flags = ["--export-cache", f"type=gha,mode=max{given}", "--import-cache", f"type=gha{given}"]
    build, printed = run_on_script(work, tmp_path, *flags, env=env)
    (exported,) = build.request.Cache.Exports
    assert (exported.Type, dict(exported.Attrs)) == ("gha", {**attrs, "token": TOKEN, "mode": "max"})
    (imported,) = build.gateway_request.CacheImports
    assert (imported.Type, dict(imported.Attrs)) == ("gha", {**attrs, "token": TOKEN})
    assert TOKEN not in printed


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, "cache with type gha requires url parameter to be set"),
        (
            {"ACTIONS_CACHE_URL": "http://c/"},
            "cache with type gha requires token parameter or $ACTIONS_RUNTIME_TOKEN",
        ),
    ],
)
@pytest.mark.parametrize("flag", ["--export-cache", "--import-cache"])
def test_github_cache_without_its_variables(
    tmp_path: Path, work: Path, variables: Mapping[str, str], text: str, flag: str
) -> None:
    with serve(Script(), tmp_path) as daemon:
        result = run(*BUILD, flag, "type=gha", addr=daemon.addr, cwd=work, env=variables)
        assert (result.code, daemon.builds) == (1, {})
    assert result.stderr.endswith(f"error: {text}\n")


def test_options_and_the_environment(tmp_path: Path, work: Path) -> None:
    env = {"SOURCE_DATE_EPOCH": "1700000000"}
    flags = ["--opt", "build-arg:BUILDKIT_INLINE_CACHE=1", "--opt", "build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"]
    flags += ["--opt", "platform=linux/amd64,linux/arm64", "--allow", "network.host"]
    request = received(work, tmp_path, *flags, env=env)
    assert {name: value for name, value in request.FrontendAttrs.items() if name != "frontend.caps"} == {
        "build-arg:BUILDKIT_INLINE_CACHE": "1",
        "build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1",
        "build-arg:SOURCE_DATE_EPOCH": "1700000000",
        "platform": "linux/amd64,linux/arm64",
    }
    assert list(request.Entitlements) == ["network.host"]


def test_an_option_wins_over_the_environment(tmp_path: Path, work: Path) -> None:
    request = received(work, tmp_path, "--opt", "build-arg:SOURCE_DATE_EPOCH=1", env={"SOURCE_DATE_EPOCH": "2"})
    assert request.FrontendAttrs["build-arg:SOURCE_DATE_EPOCH"] == "1"


@pytest.mark.parametrize("kind", ["image", "oci", "docker"])
def test_annotations_of_an_output(tmp_path: Path, work: Path, kind: str) -> None:
    attrs = {"name": "a/b:c", "annotation.org.example.a": "one,two", "annotation-index[linux/amd64].b": "x=y"}
    dest = "" if kind == "image" else ",dest=-"
    fields = ",".join(f'"{name}={value}"' for name, value in attrs.items())
    flags = ["--output", f"type={kind},{fields}{dest}"]
    with serve(Script(), tmp_path) as daemon:
        run(*BUILD, *flags, addr=daemon.addr, cwd=work)
        (build,) = daemon.builds.values()
    (exporter,) = build.request.Exporters
    assert exporter.Type == kind
    assert {name: exporter.Attrs[name] for name in attrs} == attrs
    assert "dest" not in exporter.Attrs
