"""`--output`, and the deprecated `--exporter` with `--exporter-opt`.

Mirrors cmd/buildctl/build/output.go, v0.32.2, and ParseLegacyExporter of v0.7.0. Differs on purpose: a file output
gets its name only when it is whole (see `_outputfile`), and `special-files=true` on a local output, which is not
BuildKit's, is taken off before the daemon sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pybuildkit.client import ExportEntry
from pybuildkit.client._solveopt import EXPORTER_DOCKER, EXPORTER_LOCAL, EXPORTER_OCI, EXPORTER_TAR
from pybuildkit.cmd.buildctl.build._build import FlagValueError, attr_map, typed_attrs
from pybuildkit.cmd.buildctl.build._outputfile import FileOutput, StdoutOutput, check_creatable
from pybuildkit.golang import strconv
from pybuildkit.golang.errors import BuildkitError, wrap

_FILE_EXPORTERS = (EXPORTER_TAR, EXPORTER_OCI, EXPORTER_DOCKER)
_SPECIAL_FILES = "special-files"


def parse_output(values: Iterable[str]) -> list[ExportEntry]:
    """What to export, and where to.

    Raises:
        FlagValueError, csvvalue.ParseError, csvvalue.EmptyLineError: a malformed value.
        BuildkitError: a destination that is missing, cannot be created or does not go with the exporter.
    """
    stdout = StdoutOutput()
    return [_parse_one(value, stdout) for value in values]


def _parse_one(value: str, stdout: StdoutOutput) -> ExportEntry:
    exporter, attrs = typed_attrs(value, "--output")
    if "output" in attrs:
        wrong = attrs["output"]
        raise FlagValueError(f"output={wrong} not supported for --output, you meant dest={wrong}?")
    special_files = exporter == EXPORTER_LOCAL and _take_special_files(attrs)
    try:
        output, directory = _resolve_exporter_dest(exporter, attrs.get("dest", ""), attrs, stdout)
    except (BuildkitError, OSError) as err:
        raise wrap(err, "invalid output option: output") from err
    if output is not None or directory:
        attrs.pop("dest", None)
    return ExportEntry(type=exporter, attrs=attrs, output=output, output_dir=directory, special_files=special_files)


def parse_legacy_exporter(exporter: str, opts: Sequence[str]) -> list[ExportEntry]:
    """The one export that `--exporter` and `--exporter-opt` describe.

    Raises:
        BuildkitError: a malformed option, or a destination that is missing, cannot be created or does not go with
            the exporter.
    """
    try:
        attrs = attr_map(opts)
    except FlagValueError as err:
        raise wrap(err, "invalid exporter-opt") from err
    if "dest" in attrs:
        wrong = attrs["dest"]
        raise FlagValueError(f"dest={wrong} not supported for --exporter-opt, you meant output={wrong}?")
    try:
        output, directory = _resolve_exporter_dest(exporter, attrs.get("output", ""), {}, StdoutOutput())
    except (BuildkitError, OSError) as err:
        raise wrap(err, "invalid exporter option: output") from err
    if output is not None or directory:
        attrs.pop("output", None)
    return [ExportEntry(type=exporter, attrs=attrs, output=output, output_dir=directory)]


def _take_special_files(attrs: dict[str, str]) -> bool:
    """Take `special-files` off the attributes; raises FlagValueError where it is no truth value."""
    text = attrs.pop(_SPECIAL_FILES, "false")
    try:
        return strconv.parse_bool(text)
    except (BuildkitError, ValueError) as err:
        raise wrap(err, f"invalid value for '{_SPECIAL_FILES}': {text}") from err


def _wants_directory(exporter: str, attrs: dict[str, str]) -> bool:
    """Whether an exporter writes files below a directory: `local`, and `oci` and `docker` with `tar=false`."""
    if exporter == EXPORTER_LOCAL:
        return True
    if exporter not in (EXPORTER_OCI, EXPORTER_DOCKER):
        return False
    try:
        return not strconv.parse_bool(attrs.get("tar", ""))
    except (BuildkitError, ValueError):
        return False


def _resolve_exporter_dest(
    exporter: str, dest: str, attrs: dict[str, str], stdout: StdoutOutput
) -> tuple[FileOutput | StdoutOutput | None, str]:
    """Where the exporter writes: one file, or a directory's path, or neither."""
    if _wants_directory(exporter, attrs):
        if not dest:
            raise FlagValueError(f"output directory is required for {exporter} exporter")
        return None, dest
    if exporter in _FILE_EXPORTERS:
        if dest not in ("", "-"):
            check_creatable(dest)
            return FileOutput(dest), ""
        if stdout.isatty():
            raise FlagValueError(f"output file is required for {exporter} exporter. refusing to write to console")
        return stdout, ""
    if dest:
        raise FlagValueError(f"output {dest} is not supported by {exporter} exporter")
    return None, ""
