"""Shell completion: the answers, and a shell that asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cmd.buildctl.streams import ROOT, run_in_process

ASK = "--generate-shell-completion"


def words(*argv: str) -> list[str]:
    code, out, err = run_in_process(*argv, ASK)
    assert (code, err) == (0, "")
    return [line.partition(":")[0] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        ((), ["du", "prune", "prune-histories", "build", "debug", "help"]),
        (("--addr", "x"), ["du", "prune", "prune-histories", "build", "debug", "help"]),
        (("--tlsc",), ["--tlscacert", "--tlscert"]),
        (("-t",), ["--tlsservername", "--tlscacert", "--tlscert", "--tlskey", "--tlsdir", "--timeout"]),
        (("--timeout", "x"), ["du", "prune", "prune-histories", "build", "debug", "help"]),
        (("--addr",), []),
        (("nosuch",), ["du", "prune", "prune-histories", "build", "debug", "help"]),
        (("du",), ["help"]),
        (("du", "--f"), ["--filter", "--format"]),
        (("du", "-f", "x", "--f"), ["--filter", "--format"]),
        (("du", "--"), ["--filter", "--verbose", "--format", "--help"]),
        (("b", "--frontend", "x", "--oc"), ["--oci-layout"]),
        (("build", "--exporter"), []),
        (("--timeout", "x", "du"), ["du", "prune", "prune-histories", "build", "debug", "help"]),
        (("debug", "workers", "--verb"), ["--verbose"]),
        ((ASK,), ["du", "prune", "prune-histories", "build", "debug", "help"]),
    ],
)
def test_answers(argv: tuple[str, ...], found: list[str]) -> None:
    assert words(*argv) == found


def test_sentences() -> None:
    _, out, _ = run_in_process("--log-f", ASK)
    assert out == "--log-format:how log lines are written, json or text\n"


def test_behind_two_dashes_nothing_is_completed() -> None:
    """The command runs, without the word that asks."""
    code, _, err = run_in_process("debug", "dump-llb", "--", "/nowhere/file", ASK)
    assert (code, err) == (1, "error: open /nowhere/file: no such file or directory\n")


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ((), "no shell provided for completion command. available shells are [bash fish pwsh zsh]"),
        (("csh",), "unknown shell csh, available shells are [bash fish pwsh zsh]"),
        (("--help",), "unknown shell --help, available shells are [bash fish pwsh zsh]"),
    ],
)
def test_no_such_shell(argv: tuple[str, ...], text: str) -> None:
    assert run_in_process("completion", *argv) == (1, "", f"error: {text}\n")


@pytest.mark.parametrize("shell", ["bash", "fish", "pwsh", "zsh"])
def test_scripts_name_the_program(shell: str) -> None:
    code, out, _ = run_in_process("completion", shell)
    assert code == 0
    assert "pybuildctl" in out
    assert ASK in out
    assert "@" not in out.replace("@asked", "").replace("[@]", "").replace("(@f)", "").replace('"$@"', "").replace(
        "@(", ""
    )


ASKING = """
source "$1"
COMP_WORDS=(pybuildctl "${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_pybuildctl_complete
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (["pru"], "prune prune-histories"),
        (["debug", "wo"], "workers"),
        (["du", "--for"], "--format"),
        (["du", "-f", "a b", "--verb"], "--verbose"),
        (["build", "nosuch"], ""),
    ],
)
def test_bash(tmp_path: Path, line: list[str], found: str) -> None:
    program = tmp_path / "pybuildctl"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m pybuildkit.cmd.buildctl "$@"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text(run_in_process("completion", "bash")[1])
    command = ["bash", "-c", ASKING, "bash", str(tmp_path / "script"), *line]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.stdout.strip(), done.stderr) == (found, "")
