"""Credential helpers: programs `docker-credential-NAME` that keep credentials in a keychain.

Mirrors the client of github.com/docker/docker-credential-helpers, v0.9.8.

Protocol: `docker-credential-NAME get` reads the server's address from standard input and writes a JSON object with
ServerURL, Username and Secret to standard output. A helper without credentials for the server exits with a status
other than 0 and writes a fixed sentence.

Differs on purpose: a helper has a limited time, one that writes no JSON is named in the error, and no error shows a
secret that a failing one wrote.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.golang.exec import LookPathError, look_path

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKEN_USERNAME = "<token>"
HELPER_SECONDS = 50.0
"""The default time limit; a daemon waits for credentials for 60 s."""

_NOT_FOUND = "credentials not found in native keychain"
_KNOWN = ("no credentials server URL", "no credentials username")
_MAX_OUTPUT = 1 << 20


class CredentialHelperError(BuildkitError):
    """A credential helper is missing, fails, gives no JSON or no answer in time."""


class HelperCall:
    """One call of a helper; `get` blocks, and `interrupt` ends it from another thread.

    Args:
        limit: seconds that the helper may take.
    """

    def __init__(self, limit: float = HELPER_SECONDS) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted = False

    def interrupt(self) -> None:
        """End the helper, or keep it from starting."""
        with self._lock:
            self._interrupted = True
            if self._process is not None:
                self._process.kill()

    def get(self, helper: str, server: str) -> tuple[str, str] | None:
        """The user name and the secret for a server, or None where the helper has none.

        Args:
            helper: the NAME of `docker-credential-NAME`; the user name is "<token>" for an identity token.
            server: the server's address.

        Raises:
            CredentialHelperError: "error getting credentials - err: …".
        """
        program = f"docker-credential-{helper}"
        status, output = self._run([program, "get"], server.encode())
        if status:
            said = output.decode("utf-8", "replace").strip()
            if said == _NOT_FOUND:
                return None
            raise _failure(said if said in _KNOWN else _status_text(status), _without_secret(said))
        return _parse(program, output)

    def _run(self, command: Sequence[str], data: bytes) -> tuple[int, bytes]:
        process = self._start(command)
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._limit, end)
        timer.daemon = True
        timer.start()
        try:
            # a grandchild may hold the pipe when the helper is gone: reading stops with the helper's limit then
            output = _exchange(process, data, self._limit + 1)
            status = process.wait()
        finally:
            timer.cancel()
        if late.is_set():
            raise _failure(f"{command[0]} gave no answer within {self._limit:g}s", "")
        return status, output

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        try:
            path = look_path(command[0])
        except LookPathError as err:
            raise _failure(str(err), "") from None
        with self._lock:
            if self._interrupted:
                raise _failure(f"{command[0]} was interrupted", "")
            try:
                pipe = subprocess.PIPE
                self._process = subprocess.Popen(command, executable=path, stdin=pipe, stdout=pipe)
            except OSError as err:
                reason = error_text(OSError(err.errno, err.strerror))
                raise _failure(f"fork/exec {path}: {reason}", "") from err
            except ValueError:  # a NUL in the name
                raise _failure(f"fork/exec {path}: invalid argument", "") from None
            return self._process


def _exchange(process: subprocess.Popen[bytes], data: bytes, limit: float) -> bytes:
    """Write the input, and read the output to its end or for `limit` seconds."""
    try:
        return process.communicate(data, limit)[0][:_MAX_OUTPUT]
    except subprocess.TimeoutExpired:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return b""


def _status_text(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    import signal

    name = signal.strsignal(-status) or f"signal {-status}"
    return f"signal: {name.lower()}"


def _without_secret(text: str) -> str:
    """What a helper wrote before it failed, should that be credentials after all."""
    import re

    return re.sub(r'("secret"\s*:\s*")(?:[^"\\]|\\.)*', r"\1xxxxx", text, flags=re.IGNORECASE | re.DOTALL)


def _failure(reason: str, output: str) -> CredentialHelperError:
    return CredentialHelperError(f"error getting credentials - err: {reason}, out: `{output}`")


def _parse(program: str, output: bytes) -> tuple[str, str]:
    """The user name and secret of the output, which no text may quote."""
    from pybuildkit.golang import json
    from pybuildkit.golang.jsontypes import STRING, Struct, convert, text

    try:
        document = json.decode(output)
    except json.SyntaxError:
        document = ""
    if not isinstance(document, dict | None):
        raise CredentialHelperError(f"error getting credentials - err: {program} wrote no JSON object")
    members = tuple((name, STRING, True) for name in ("ServerURL", "Username", "Secret"))
    found, error = convert(Struct("credentials.Credentials", members), document)
    if error is not None:
        raise CredentialHelperError(f"error getting credentials - err: {program} wrote no credentials")
    return text(found, "Username"), text(found, "Secret")
