"""The program's commands and flags, as data: no command's own module is loaded here.

Mirrors the command tables of cmd/buildctl, v0.32.2, and the deprecated flags of v0.7.0 (hidden). Flags that BuildKit
does not have: `--registry-auth-allow` and `--progress-fd` of `build`. Its commands do not include `debug replay` and
`debug timeline`.
"""

from __future__ import annotations

import os

from pybuildkit.cmd.buildctl._app import Command
from pybuildkit.golang.flag import (
    BoolFlag,
    DurationFlag,
    Flag,
    Float64Flag,
    IntFlag,
    StringFlag,
    StringSliceFlag,
)

_PACKAGE = "pybuildkit.cmd.buildctl"
_DEBUG = f"{_PACKAGE}.debug"


def global_flags() -> list[Flag]:
    """The flags of the program, which every command takes too."""
    from pybuildkit.util import appdefaults

    address = os.environ.get("BUILDKIT_HOST") or appdefaults.ADDRESS
    return [
        BoolFlag("debug", "log what the command does, and print where an error came from"),
        StringFlag("addr", "where the daemon listens", address),
        StringFlag("log-format", "how log lines are written, json or text", "text"),
        StringFlag("tlsservername", "the name that the daemon's certificate must carry"),
        StringFlag("tlscacert", "file of the authorities that the daemon's certificate may come from"),
        StringFlag("tlscert", "file of the client's certificate"),
        StringFlag("tlskey", "file of the client's key"),
        StringFlag(
            "tlsdir",
            "folder of all three, named ca.pem, cert.pem and key.pem, or ca.crt, tls.crt and tls.key",
        ),
        IntFlag("timeout", "seconds that connecting may take", 5),
        BoolFlag("wait", "wait until the daemon answers"),
        StringFlag("profile-cpu", "folder for a profile of the time used", hidden=True),
        StringFlag("profile-memory", "folder for a profile of the memory used", hidden=True),
        IntFlag("profile-memoryrate", "of no meaning here", 512 * 1024, hidden=True),
        StringFlag("profile-block", "not available", hidden=True),
        StringFlag("profile-mutex", "not available", hidden=True),
        StringFlag("profile-trace", "not available", hidden=True),
    ]


def commands() -> list[Command]:
    """The commands of the program."""
    return [
        _disk_usage(),
        _prune(),
        _prune_histories(),
        _build(),
        _debug(),
        Command(
            "dial-stdio",
            "connect standard input and output to the daemon; other programs call this",
            f"{_PACKAGE}._dialstdio:dial_stdio",
            hidden=True,
        ),
        Command(
            "completion",
            "print a script that lets a shell complete this program's command lines: bash, fish, pwsh or zsh",
            f"{_PACKAGE}._completion:completion",
            hidden=True,
            raw=True,
            args_usage="<shell>",
        ),
    ]


def _filter_flag() -> Flag:
    return StringSliceFlag("filter", "only what matches, in containerd's filter language", aliases=("f",))


def _progress_flag() -> Flag:
    return StringFlag("progress", "how it is shown: auto, tty, plain, quiet, rawjson, github or gitlab", "auto")


def _verbose_flag() -> Flag:
    return BoolFlag("verbose", "print everything that is known", aliases=("v",))


def _format_flag() -> Flag:
    return StringFlag("format", "print through a Go template, such as '{{json .}}'")


def _disk_usage() -> Command:
    return Command(
        "du",
        "list what the build cache holds",
        f"{_PACKAGE}._diskusage:disk_usage",
        flags=[_filter_flag(), _verbose_flag(), _format_flag()],
    )


def _prune() -> Command:
    return Command(
        "prune",
        "remove data from the build cache",
        f"{_PACKAGE}._prune:prune",
        flags=[
            DurationFlag("keep-duration", "keep what was used within this time"),
            Float64Flag("keep-storage", "keep up to this many megabytes"),
            Float64Flag("keep-storage-min", "never go below this many megabytes"),
            Float64Flag("free-storage", "leave this many megabytes of the disk free"),
            _filter_flag(),
            BoolFlag("all", "also remove internal and frontend records"),
            _verbose_flag(),
            _format_flag(),
        ],
    )


def _prune_histories() -> Command:
    return Command(
        "prune-histories",
        "remove the records of past builds",
        f"{_PACKAGE}._prunehistories:prune_histories",
        flags=[_format_flag()],
    )


_BUILD_USAGE = """build a Dockerfile and push the image:
  pybuildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=. \\
    --opt target=release --output type=image,name=registry.example/app,push=true"""


def _build() -> Command:
    return Command(
        "build",
        "run a build",
        f"{_PACKAGE}._build:build_action",
        aliases=("b",),
        usage_text=_BUILD_USAGE,
        flags=[*_build_input_flags(), *_build_output_flags(), *_deprecated_build_flags(), *_own_build_flags()],
    )


def _build_input_flags() -> list[Flag]:
    return [
        StringSliceFlag("output", "where a result goes, such as type=local,dest=out", aliases=("o",)),
        _progress_flag(),
        StringFlag("trace", "file that every status of the build is appended to, as JSON lines"),
        StringSliceFlag("local", "a folder that the build may read, as NAME=FOLDER"),
        StringSliceFlag("oci-layout", "an OCI image layout that the build may read, as ID=FOLDER"),
        StringFlag("frontend", "what turns the sources into a build, such as dockerfile.v0"),
        StringSliceFlag("opt", "an attribute for the frontend, such as target=release or build-arg:V=1"),
        BoolFlag("no-cache", "run every step, whatever the cache holds"),
        StringSliceFlag("export-cache", "where the cache goes, such as type=local,dest=FOLDER"),
        StringSliceFlag("import-cache", "where a cache comes from, such as type=local,src=FOLDER"),
        StringSliceFlag("secret", "a secret that the build may read, as id=NAME,src=FILE or id=NAME,env=VARIABLE"),
        StringSliceFlag("allow", "a privilege that the build may use: network.host, security.insecure or device"),
        StringSliceFlag(
            "ssh", "an SSH agent, key file or socket that the build may use: ID[=SOCKET[,raw=true]|KEY[,KEY]]"
        ),
    ]


def _build_output_flags() -> list[Flag]:
    return [
        StringFlag("metadata-file", "file for what the exporter tells, such as the image's digest, as JSON"),
        StringFlag("source-policy-file", "JSON file with rules for the build's sources"),
        BoolFlag("proxy-network", "let the build reach the network through the daemon's proxy only"),
        StringFlag("ref-file", "file for the build's reference"),
        StringSliceFlag(
            "registry-auth-tlscontext",
            "TLS settings for logging in to a registry: host=HOST[,ca=FILE][,cert=FILE,key=FILE][,insecure=true]",
        ),
        StringFlag("debug-json-cache-metrics", "file for counts of cache hits, as JSON; or stdout or stderr"),
    ]


def _deprecated_build_flags() -> list[Flag]:
    return [
        StringFlag("exporter", "the exporter of the result; now --output type=EXPORTER", hidden=True),
        StringSliceFlag("exporter-opt", "an attribute of the exporter; now --output type=…,KEY=VALUE", hidden=True),
        StringSliceFlag("frontend-opt", "an attribute for the frontend; now --opt", hidden=True),
        StringSliceFlag("export-cache-opt", "an attribute of the cache export; now in --export-cache", hidden=True),
    ]


def _own_build_flags() -> list[Flag]:
    return [
        StringSliceFlag("registry-auth-allow", "a registry host that may get credentials; all may where none is named"),
        IntFlag("progress-fd", "file descriptor that gets every status as a JSON line", -1, show_default=False),
    ]


def _debug() -> Command:
    return Command(
        "debug", "look into a daemon", commands=[*_file_commands(), *_record_commands(), *_own_debug_commands()]
    )


def _file_commands() -> list[Command]:
    """Those that look at files and at the daemon itself."""
    return [
        Command(
            "dump-llb",
            "print a build definition, from a file or standard input; needs no daemon",
            f"{_DEBUG}._dumpllb:dump_llb",
            args_usage="<llbfile>",
            flags=[BoolFlag("dot", "print a graph in dot's language")],
        ),
        Command(
            "dump-metadata",
            "print a stopped daemon's metadata",
            f"{_DEBUG}._dumpmetadata:dump_metadata",
            flags=[StringFlag("root", "the daemon's state folder", _root())],
        ),
        Command(
            "workers",
            "list the daemon's workers",
            f"{_DEBUG}._workers:list_workers",
            flags=[_filter_flag(), _verbose_flag(), _format_flag()],
        ),
        Command("info", "print the daemon's version", f"{_DEBUG}._info:info", flags=[_format_flag()]),
    ]


def _record_commands() -> list[Command]:
    """Those that look at the records of builds."""
    return [
        Command(
            "monitor",
            "follow the builds that run and have run",
            f"{_DEBUG}._monitor:monitor",
            flags=[BoolFlag("completed", "show the builds that have ended"), StringFlag("ref", "only this build")],
        ),
        Command(
            "logs",
            "print the log of a build",
            f"{_DEBUG}._logs:logs",
            flags=[_progress_flag(), BoolFlag("trace", "print the build's OpenTelemetry trace instead")],
        ),
        Command(
            "ctl",
            "change the record of a build",
            f"{_DEBUG}._ctl:ctl",
            flags=[
                BoolFlag("pin", "keep the record for good"),
                BoolFlag("unpin", "let the record be removed in time"),
                BoolFlag("delete", "remove the record"),
            ],
        ),
        Command("get", "print a blob of the content store", f"{_DEBUG}._get:get"),
        Command("histories", "list the records of builds", f"{_DEBUG}._histories:histories", flags=[_format_flag()]),
    ]


def _own_debug_commands() -> list[Command]:
    """Those that BuildKit does not have."""
    return [
        Command(
            "replay",
            "show a trace file as the build was shown",
            f"{_DEBUG}._replay:replay",
            args_usage="<trace>",
            flags=[_progress_flag(), Float64Flag("speed", "how many times as fast; 0 for at once", 1.0)],
        ),
        Command(
            "timeline",
            "make a page with a chart of a trace file",
            f"{_DEBUG}._timeline:timeline",
            args_usage="<trace>",
            flags=[StringFlag("output", "an .html or .svg file, or - for standard output", aliases=("o",))],
        ),
    ]


def _root() -> str:
    from pybuildkit.util import appdefaults

    return appdefaults.ROOT
