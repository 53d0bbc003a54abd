"""Vectors `llb`: programs written with Go's names, marshalled by ours and compared byte for byte.

Go's names become ours by one rule (`python_name`): words are parted where a capital follows a small letter or
begins a word, known initialisms are words, and all is lower case; a keyword takes an underscore; constants are in
capitals; types stay. Nothing is listed by hand but the helpers of the vectors' glossary.
"""

from __future__ import annotations

import base64
import json
import keyword
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pybuildkit.client import llb
from pybuildkit.client.llb import llbbuild
from pybuildkit.golang.context import Context, background
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.solver.pb import ops_pb2, to_json
from pybuildkit.third_party.platforms import Platform
from tests.golden.areas._goexpr import GoError, TypedNil, evaluate

_INITIALISMS = ("HTTPS", "HTTP", "SSH", "OCI", "UID", "GID", "LLB", "CDI", "CPU", "PGP", "FTP", "URL", "OS", "ID", "IP")
_WORD = re.compile(r"[A-Z]+[0-9]*(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+")


def python_name(name: str) -> str:
    """Our name of an exported Go function, method, field or variable."""
    words: list[str] = []
    for word in _WORD.findall(name.replace("MTime", "Mtime")):
        words += _initialisms(word) if len(word) > 1 and word.isupper() else [word]
    result = "_".join(words).lower()
    return result + "_" if keyword.iskeyword(result) else result


def _initialisms(word: str) -> list[str]:
    """A run of capitals parted into known initialisms; what is none stays whole."""
    parts = []
    while word:
        known = next((each for each in _INITIALISMS if word.startswith(each)), word)
        parts.append(known)
        word = word[len(known) :]
    return parts


_CONFIG = json.dumps(
    {
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "config": {"Env": ["PATH=/usr/bin:/bin", "FOO=bar=baz", "EMPTY=", "NOVAL", "=x"], "WorkingDir": "/work"},
    }
).encode()


class _Resolver:
    async def resolve_image_config(self, ctx: Context, ref: str, opt: object) -> tuple[str, str, bytes]:
        if ref == "docker.io/library/missing:latest":
            raise GoError("no such image")
        return ref, "sha256:" + "b" * 64, _CONFIG


def _time(text: str) -> int:
    """Nanoseconds since 1970."""
    whole, _, fraction = re.sub(r"(Z|[+-]\d\d:\d\d)$", "", text).partition(".")
    zone = text[len(whole) + (len(fraction) + 1 if fraction else 0) :].replace("Z", "+00:00")
    seconds = int(datetime.fromisoformat(whole + zone).astimezone(UTC).timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)


def _ranges(*numbers: int) -> list[ops_pb2.Range]:
    return [
        ops_pb2.Range(
            start=ops_pb2.Position(line=numbers[i], character=numbers[i + 1]),
            end=ops_pb2.Position(line=numbers[i + 2], character=numbers[i + 3]),
        )
        for i in range(0, len(numbers), 4)
    ]


def _sm(file: str, language: str, data: str | bytes, state: llb.State | None = None) -> llb.SourceMap:
    return llb.new_source_map(state, file, language, data.encode() if isinstance(data, str) else data)


def _sm_shared(first: list[ops_pb2.Range], second: list[ops_pb2.Range]) -> llb.State:
    source = _sm("Dockerfile", "Dockerfile", "FROM a\nRUN b")
    return llb.image("a", source.location(first)).run(llb.shlex("b"), source.location(second)).root()


def _sm_same(first: str, second: str) -> llb.State:
    one, two = _sm("Dockerfile", "Dockerfile", first), _sm("Dockerfile", "Dockerfile", second)
    base = llb.image("a", one.location(_ranges(1, 0, 1, 1)))
    return base.run(llb.shlex("b"), two.location(_ranges(2, 0, 2, 1))).root()


def _diamond() -> llb.State:
    base = llb.image("a").run(llb.shlex("base")).root()
    left, right = (base.run(llb.shlex(name)).root() for name in ("left", "right"))
    return llb.scratch().file(llb.copy(left, "/l", "/l").copy(right, "/r", "/r"))


def _twice() -> llb.State:
    return llb.merge([llb.image("a").run(llb.shlex(command)).root() for command in ("same", "same", "other")])


def _platform(os: str, architecture: str, variant: str = "", os_version: str = "", *os_features: str) -> Platform:
    return Platform(
        os=os, architecture=architecture, variant=variant, os_version=os_version, os_features=tuple(os_features)
    )


_GLOSSARY: dict[str, Any] = {
    "Diamond": _diamond,
    "IP": str,
    "Insecure": llb.SECURITY_MODE_INSECURE,
    "Sandbox": llb.SECURITY_MODE_SANDBOX,
    "ModeSticky": 1 << 20,
    "MustDefOp": lambda state: llb.new_definition_op(_marshal(state, [llb.linux_amd64]).to_pb()),
    "MustImageConfig": lambda state: state.with_image_config(_CONFIG).run(llb.args(["env"])).root(),
    "NetHost": llb.NET_MODE_HOST,
    "NetNone": llb.NET_MODE_NONE,
    "NetUnset": llb.NET_MODE_SANDBOX,
    "Plat": _platform,
    "R": _Resolver(),
    "Rng": _ranges,
    "SM": _sm,
    "SMSame": _sm_same,
    "SMShared": _sm_shared,
    "SMState": lambda file, lang, data: _sm(file, lang, data, llb.local("dockerfile", llb.session_id("s"))),
    "StrPtr": str,
    "T": _time,
    "Twice": _twice,
    "llb": llb,
    "llbbuild": llbbuild,
}


class _Scope:
    """Go's names, by the rule."""

    def name(self, name: str) -> Any:
        return _GLOSSARY[name] if name in _GLOSSARY else self.attribute(llb, name)

    def type(self, name: str) -> Callable[..., Any]:
        make: Callable[..., Any] = getattr(llb, name)
        return make

    def attribute(self, value: Any, name: str) -> Any:
        ours = python_name(name)
        if isinstance(value, TypedNil):
            method = getattr(value.type, ours)
            return lambda *args: method(None, *args)
        if value in (llb, llbbuild) and not hasattr(value, ours):
            ours = ours.upper() if hasattr(value, ours.upper()) else name
        found = getattr(value, ours)
        if ours == "async_":
            return lambda make: found(lambda _ctx, state, constraints: make(state, constraints))
        return found

    def field(self, name: str) -> str:
        return python_name(name)


def evaluate_state(expr: str) -> Any:
    """The value of an expression of the vectors."""
    return evaluate(expr, _Scope())


def _marshal(state: llb.State, opts: list[llb.ConstraintsOpt]) -> llb.Definition:
    return state.marshal_sync(llb.local_unique_id("vec-unique-id"), *opts)


def _marshal_case(case: dict[str, Any]) -> dict[str, Any]:
    """What the case says, as far as it is about marshalling."""
    try:
        opts = [evaluate_state(opt) for opt in case["marshal_opts"]]
        definition = _marshal(evaluate_state(case["expr"]), opts)
    except (BuildkitError, GoError) as err:
        return {"error": error_text(err)}
    metadata = {digest: to_json(each.to_pb()) for digest, each in definition.metadata.items()}
    head = definition.head()
    return {
        "error": None,
        "definition_base64": base64.b64encode(definition.to_bytes()).decode(),
        "op_digests": [digest for digest, _ in definition.ops()],
        "ops": [to_json(op) for _, op in definition.ops()],
        "metadata": metadata,
        "head": head,
        "head_metadata": metadata.get(head),
        "source": to_json(definition.source) if definition.source is not None else None,
    }


def _values_case(case: dict[str, Any]) -> dict[str, Any]:
    """What the state's getters return."""
    state, ctx = evaluate_state(case["expr"]), background()
    platform = llb.run_sync(state.get_platform(ctx))
    return {
        "args": llb.run_sync(state.get_args(ctx)),
        "dir": llb.run_sync(state.get_dir(ctx)),
        "env": llb.run_sync(state.env(ctx)).to_array(),
        "hostname": llb.run_sync(state.get_hostname(ctx)),
        "network": ops_pb2.NetMode.Name(llb.run_sync(state.get_network(ctx))),
        "security": ops_pb2.SecurityMode.Name(llb.run_sync(state.get_security(ctx))),
        "platform": _platform_json(platform) if platform is not None else None,
    }


def _platform_json(platform: Platform) -> dict[str, object]:
    named = {
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
        "variant": platform.variant,
    }
    return {name: value for name, value in named.items() if value}


def _difference(case: dict[str, Any]) -> str | None:
    got = _values_case(case) if case["group"] == "values" else _marshal_case(case)
    for key in got:
        if got[key] != case.get(key):
            return f"{key}: {got[key]!r}, expected {case.get(key)!r}"
    missing = [key for key in case if key not in got and key not in ("name", "expr", "group", "marshal_opts")]
    return f"nothing for {missing}" if missing else None


def run(cases: list[dict[str, Any]], work: Path) -> Iterator[tuple[str, str | None]]:
    """Each case's name, and None or what is wrong with it."""
    for case in cases:
        try:
            yield case["name"], _difference(case)
        except Exception as err:
            yield case["name"], f"{type(err).__name__}: {err}"
