"""Vectors `specs`: the value parsers of the build command's flags, at v0.32.2."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from pybuildkit.cmd.buildctl import build
from pybuildkit.cmd.buildctl.build._outputfile import FileOutput, StdoutOutput
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.rpc import RpcError
from pybuildkit.session import Attachable
from pybuildkit.session.secrets import secrets_pb2
from pybuildkit.util import entitlements
from tests.golden.areas import _workdir


def run(cases: list[dict[str, Any]], work: Path) -> Iterator[tuple[str, str | None]]:
    """Run each case in a fresh folder."""
    for case in cases:
        folder = work / "specs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield case["name"], _run_case(_workdir.rewrite(case, work), folder)


def _run_case(case: dict[str, Any], folder: Path) -> str | None:
    _workdir.make_files(folder, case.get("files", []))
    if "mkdir" in case:
        (folder / case["mkdir"]).mkdir()
    before = _workdir.tree(folder)
    error: str | None = None
    result: Any = None
    with _workdir.chdir(folder), _workdir.environment(case.get("env", {})), _workdir.stdout_is_pipe():
        try:
            result = _FUNCTIONS[case["fn"]](case)
        except (BuildkitError, OSError) as err:
            error = error_text(err)
    if case["fn"] == "writeMetadataFile":
        error = error and re.sub(r"(\.tmp-[\w.]*?)\d+", r"\1<RANDOM>", error)
        return _compare_metadata(case, error, folder, before)
    created = sorted(_workdir.tree(folder) - before)
    want_created = [path for path in case.get("created", []) if path.endswith("/")]
    return (
        _difference("error", case["error"], error)
        or _difference("result", case["result"], result if error is None else None)
        or _difference("created", want_created, created)
    )


def _difference(what: str, want: object, got: object) -> str | None:
    return None if want == got else f"{what}: want {want!r}, got {got!r}"


def _compare_metadata(case: dict[str, Any], error: str | None, folder: Path, before: set[str]) -> str | None:
    difference = _difference("error", case["error"], error)
    if difference or "file_content" not in case:
        return difference or _difference("files", before, _workdir.tree(folder))
    path = folder / case["filename"]
    umask = os.umask(0)
    os.umask(umask)
    mode = stat.filemode(stat.S_IFREG | (0o666 & ~umask))
    return _difference("content", case["file_content"], path.read_text()) or _difference(
        "mode", mode, stat.filemode(path.stat().st_mode)
    )


def _parse_output(case: dict[str, Any]) -> object:
    result = []
    for entry in build.parse_output(case["args"]):
        output = entry.output
        name = output.dest if isinstance(output, FileOutput) else None
        if isinstance(output, StdoutOutput):
            name = "<stdout>"
        result.append({"attrs": dict(entry.attrs), "output": name, "output_dir": entry.output_dir, "type": entry.type})
    return result


def _cache_entries(parse: Callable[[list[str]], list[Any]]) -> Callable[[dict[str, Any]], object]:
    def call(case: dict[str, Any]) -> object:
        return [{"attrs": dict(entry.attrs), "type": entry.type} for entry in parse(case["args"])]

    return call


def _parse_secret(case: dict[str, Any]) -> object:
    provider = build.parse_secret(case["args"])
    return asyncio.run(_read_secrets(provider, case.get("read_ids", [])))


class _Handlers:
    """A server that keeps the handlers it is given."""

    def __init__(self) -> None:
        self.unary: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {}

    def add_unary(self, method: Any, handler: Callable[[Any, Any], Awaitable[Any]]) -> None:
        self.unary[method.path] = handler


async def _read_secrets(provider: Attachable, ids: list[str]) -> dict[str, object]:
    handlers = _Handlers()
    provider.register(handlers)  # type: ignore[arg-type]  # the part of a server that it uses
    handler = handlers.unary["/moby.buildkit.secrets.v1.Secrets/GetSecret"]
    result: dict[str, object] = {}
    for name in ids:
        try:
            response = await handler(context.background(), secrets_pb2.GetSecretRequest(ID=name))
            result[name] = {"data_base64": base64.b64encode(response.data).decode()}
        except RpcError as err:
            result[name] = {"error": RpcError.__str__(err)}
        except (BuildkitError, OSError) as err:
            result[name] = {"error": error_text(err)}
    return result


def _parse_ssh(case: dict[str, Any]) -> object:
    configs = build.parse_ssh(case["args"])
    return [{"id": config.id, "paths": list(config.paths) or None, "raw": config.raw} for config in configs] or None


def _ssh_provider(case: dict[str, Any]) -> object:
    from pybuildkit.session.sshforward import sshprovider

    sshprovider.new_ssh_agent_provider(build.parse_ssh(case["args"]))
    return "ok"


def _validate_allow(case: dict[str, Any]) -> object:
    build.validate_allow(case["args"])
    return "ok"


def _entitlement_parse(case: dict[str, Any]) -> object:
    result = []
    for arg in case["args"]:
        name, config = entitlements.parse(arg)
        shown = None if config is None else {"all": config.all, "devices": config.devices or None}
        result.append({"config": shown, "entitlement": name})
    return result


def _tls_context(case: dict[str, Any]) -> object:
    configs = build.parse_registry_auth_tls_context(case["args"])
    return {
        host: {
            "insecure": config.insecure,
            "key_pairs": [{"certificate": pair.certificate, "key": pair.key} for pair in config.key_pairs],
            "root_cas": list(config.root_cas),
        }
        for host, config in configs.items()
    }


_FUNCTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "EntitlementParse": _entitlement_parse,
    "ParseExportCache": _cache_entries(build.parse_export_cache),
    "ParseImportCache": _cache_entries(build.parse_import_cache),
    "ParseLocal": lambda case: sorted(build.parse_local(case["args"])),
    "ParseOCILayout": lambda case: sorted(build.parse_oci_layout(case["args"])),
    "ParseOpt": lambda case: build.parse_opt(case["args"]),
    "ParseOutput": _parse_output,
    "ParseRegistryAuthTLSContext": _tls_context,
    "ParseSSH": _parse_ssh,
    "ParseSSH+NewSSHAgentProvider": _ssh_provider,
    "ParseSecret": _parse_secret,
    "ValidateAllow": _validate_allow,
    "writeMetadataFile": lambda case: build.write_metadata_file(case["filename"], case["exporter_response"]),
}
