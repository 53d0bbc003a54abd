"""Errors, logs and exit codes of the program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cmd.buildctl.streams import run_in_process

_GONE = 'transport: Error while dialing: dial unix /nonexistent/sock: connect: no such file or directory"\n'


def test_an_error_is_one_line() -> None:
    code, stdout, stderr = run_in_process("--log-format", "xml", "debug", "info")
    assert (code, stdout, stderr) == (1, "", 'error: unsupported log type "xml"\n')


def test_an_error_cannot_steer_a_terminal() -> None:
    argv = ["debug", "timeline", "-o", "x.svg", "/no\x1b]0;title\x07\x1b[2J\r\u202ewhere"]
    assert run_in_process(*argv, tty=True) == (1, "", "error: open /no where: no such file or directory\n")
    assert "\x1b[2J" in run_in_process(*argv)[2], "into files and pipes unchanged"


def test_an_unknown_command_exits_3() -> None:
    assert run_in_process("nosuch") == (3, "", "No help topic for 'nosuch'\n")


@pytest.mark.parametrize("argv", [("--help", "nosuch"), ("debug", "-h", "nosuch"), ("du", "--help=", "nosuch")])
def test_the_help_flag_with_an_unknown_topic_exits_1(argv: tuple[str, ...]) -> None:
    assert run_in_process(*argv) == (1, "", "error: No help topic for 'nosuch'\n")


@pytest.mark.parametrize("words", [["debug", "workers"], ["build", "--frontend", "x"]])
def test_a_timeout_beyond_a_sockets_clock(words: list[str]) -> None:
    argv = ["--addr", "unix:///nonexistent/sock", "--timeout", "9223372036854775807", *words]
    code, _, stderr = run_in_process(*argv)
    assert code == 1
    assert stderr.endswith(_GONE)


def test_a_client_certificate_without_a_key(tmp_path: Path) -> None:
    """The missing file is told before what the other one lacks."""
    (tmp_path / "cert").write_text("not PEM")
    argv = ["--addr", "unix:///nonexistent/sock", "--tlscert", str(tmp_path / "cert"), "debug", "info"]
    text = "could not read certificate/key: open : no such file or directory"
    assert run_in_process(*argv) == (1, "", f"error: {text}\n")


@pytest.mark.parametrize("words", [["prune-histories"], ["debug", "histories"]])
def test_a_missing_daemon_is_told_before_a_bad_template(words: list[str]) -> None:
    code, _, stderr = run_in_process("--addr", "unix:///nonexistent/sock", *words, "--format", "{{")
    status = "rpc error: code = Unavailable desc = "
    assert (code, stderr) == (1, f'error: {status}{status}connection error: desc = "{_GONE}')


def test_debug_prints_stacks() -> None:
    code, _, stderr = run_in_process("--debug", "--addr", "%zz", "build", "--frontend", "x")
    assert code == 1
    first, _, rest = stderr.partition("\n")
    assert first == 'error: parse "%zz": invalid URL escape "%zz"'
    assert re.match(r"\d+ v\d\S* .*\n(\S+\n\t\S+\.py:\d+\n)+\n$", rest)


@pytest.mark.parametrize("form", ["text", "json"])
def test_warnings_are_log_lines(form: str) -> None:
    argv = ["--addr", "unix:///nonexistent/sock", "--log-format", form, "build", "--frontend", "x"]
    code, _, stderr = run_in_process(*argv, "--export-cache", "a/b", "--output", "type=local,dest=d")
    line, _, rest = stderr.partition("\n")
    assert code == 1
    assert rest.startswith("error: listing workers for Build: failed to list workers: Unavailable: ")
    assert rest.endswith(_GONE)
    if form == "json":
        entry = json.loads(line)
        assert list(entry) == ["level", "msg", "time"]
        assert "\\u003cref\\u003e" in line
    else:
        assert re.match(r'time="\S+" level=warning msg="--export-cache <ref> is deprecated\. .*"$', line)


def test_the_hint_needs_a_terminal_and_the_default_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUILDKIT_HOST", raising=False)
    monkeypatch.setattr("pybuildkit.util.appdefaults.ADDRESS", "unix:///nonexistent/sock")
    argv = ["build", "--frontend", "x", "--progress", "plain"]
    assert "hint: " in run_in_process(*argv, tty=True)[2]
    assert "hint: " not in run_in_process(*argv)[2]
    assert "hint: " not in run_in_process("--addr", "unix:///nonexistent/sock", *argv, tty=True)[2]
    monkeypatch.setenv("BUILDKIT_HOST", "unix:///nonexistent/sock")
    assert "hint: " not in run_in_process(*argv, tty=True)[2]


def test_plain_tcp_beyond_loopback() -> None:
    argv = ["--addr", "tcp://192.0.2.1:1", "--timeout", "1"]
    code, _, stderr = run_in_process(*argv, "--tlsservername", "n", "build", "--frontend", "x")
    assert code == 1
    assert stderr.startswith("error: --tlsservername n needs --tlscacert")
    _, _, stderr = run_in_process(*argv, "build", "--frontend", "x", "--opt", "bad")
    assert re.match(r'time=\S+ level=warning msg="the connection to 192\.0\.2\.1:1 is neither encrypted', stderr)
    assert stderr.endswith("error: invalid opt: invalid value bad\n")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("tcp://192.0.2.1", "address 192.0.2.1: missing port in address"),
        ("tcp://2001:db8::1:12", "address 2001:db8::1:12: too many colons in address"),
        ("tcp://192.0.2.1:99999", "address 99999: invalid port"),
        ("passthrough:///h", "address h: missing port in address"),
    ],
)
def test_an_address_that_will_never_do_is_not_warned_of(address: str, error: str) -> None:
    dialling = 'failed to call diskusage: Unavailable: connection error: desc = "transport: Error while dialing: '
    text = f'error: {dialling}dial tcp: {error}"\n'
    assert run_in_process("--addr", address, "--timeout", "1", "du") == (1, "", text)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ((), "directory did not contain one of the needed files: ca.pem or ca.crt"),
        (("ca.crt",), "directory did not contain one of the needed files: cert.pem or tls.crt"),
        (("ca.crt", "tls.crt"), "directory did not contain one of the needed files: key.pem or tls.key"),
        (("ca.pem", "cert.pem", "key.pem"), "failed to append ca certs"),
    ],
)
def test_tlsdir(tmp_path: Path, files: tuple[str, ...], error: str) -> None:
    for name in files:
        (tmp_path / name).write_text("x")
    argv = ["--addr", "tcp://127.0.0.1:1", "--tlsdir", str(tmp_path), "build", "--frontend", "x"]
    assert run_in_process(*argv) == (1, "", f"error: {error}\n")


def test_tlsdir_with_a_single_file() -> None:
    argv = ["--tlsdir", "d", "--tlscert", "c", "build", "--frontend", "x"]
    error = "cannot specify tlsdir and tlscacert/tlscert/tlskey at the same time"
    assert run_in_process(*argv) == (1, "", f"error: {error}\n")


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("debug", "dump-llb", "{}"), "read {}: is a directory"),
        (("--tlscacert", "{}", "debug", "info"), "could not read ca certificate: read {}: is a directory"),
        (
            ("--tlscert", "{}", "--tlskey", "x", "debug", "info"),
            "could not read certificate/key: read {}: is a directory",
        ),
        (("build", "--frontend=x", "--source-policy-file", "{}"), "read {}: is a directory"),
    ],
)
def test_a_folder_in_place_of_a_file(tmp_path: Path, argv: tuple[str, ...], error: str) -> None:
    words = [word.format(tmp_path) for word in argv]
    code, _, stderr = run_in_process("--addr", "tcp://127.0.0.1:1", *words)
    assert (code, stderr) == (1, f"error: {error.format(tmp_path)}\n")


def test_a_client_key_with_a_passphrase_is_not_asked_for(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    from tests.conformance.bridges import Authority

    cert, key = Authority(tmp_path / "pki").issue("client")
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    form, sealed = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"planted")
    key.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, form, sealed))
    argv = ["--addr", "tcp://127.0.0.1:1", "--tlscert", str(cert), "--tlskey", str(key), "debug", "info"]
    code, _, stderr = run_in_process(*argv)
    assert code == 1
    assert stderr.startswith("error: could not read certificate/key: tls: ")
    assert len(stderr.splitlines()) == 1


def test_a_unix_address_with_a_host() -> None:
    """Two slashes are not enough: the path's first part would be taken for a host."""
    error = 'failed to dial "unix://run/x.sock" . make sure buildkitd is running: failed to exit idle mode: '
    error += "failed to start resolver: invalid (non-empty) authority: run"
    assert run_in_process("--addr", "unix://run/x.sock", "debug", "info") == (1, "", f"error: {error}\n")
