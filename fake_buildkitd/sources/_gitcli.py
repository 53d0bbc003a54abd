"""Running the program `git` for a build, apart from its user's own settings.

Mirrors util/gitutil/git_cli.go, v0.32.2.

Differs on purpose: logins go to git in its environment, never on a command line, and are taken out of whatever it
says; a build that ends kills git at once, with all that git has started.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fake_buildkitd.errors import UnsupportedError
from pybuildkit.golang.context import CanceledError
from pybuildkit.golang.errors import BuildkitError

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy")
_MAX_LOG = 1 << 16
HIDDEN = "xxxxx"

Log = Callable[[int, bytes], None]
"""Takes what git wrote: 1 for its standard output, 2 for its standard error. Called in git's thread."""


class GitError(BuildkitError):
    """A command that failed: what git wrote to standard error, and how it ended."""

    def __init__(self, stderr: str, code: int) -> None:
        end = f"exit status {code}" if code >= 0 else f"signal: {signal.strsignal(-code) or -code}".lower()
        super().__init__(f"git stderr:\n{stderr}: {end}")
        self.stderr = stderr


def is_commit(text: str) -> bool:
    """Whether a text is a whole commit's name."""
    return len(text) in (40, 64) and all(char in "0123456789abcdef" for char in text)


@dataclass(frozen=True, kw_only=True)
class Access:
    """How git gets at a repository: settings that may be secret, texts to hide, an agent and known hosts."""

    settings: Mapping[str, str] = field(default_factory=dict)
    hidden: Sequence[str] = ()
    ssh_socket: str = ""
    known_hosts: str = ""


class Runner:
    """The commands of one piece of work, one after the other, in a thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Kill what runs, and let nothing more begin."""
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def run(self, command: Sequence[str], folder: str, env: Mapping[str, str]) -> tuple[int, bytes, bytes]:
        """Run a command; its end, standard output and standard error."""
        with self._lock:
            if self._stopped:
                raise CanceledError()
            process = self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                umask=0o022,
            )
        out, err = process.communicate()
        with self._lock:
            self._process = None
            if self._stopped:
                raise CanceledError()
        return process.returncode, out, err


@dataclass(frozen=True, kw_only=True)
class GitCLI:
    """Git in one place.

    Args:
        runner: runs the commands.
        access: to the remote repository.
        log: takes what git writes.
        git_dir: the repository; "" for none.
        work_tree: where its files are; "" for none.
        folder: where git runs, if not there.
    """

    runner: Runner
    access: Access
    log: Log
    folder: str
    git_dir: str = ""
    work_tree: str = ""

    def at(self, git_dir: str, work_tree: str = "") -> GitCLI:
        """Git in another place."""
        return replace(self, git_dir=git_dir, work_tree=work_tree)

    def run(self, *args: str) -> str:
        """What a command writes to standard output; blocks.

        Raises:
            GitError: it failed. UnsupportedError: there is no git. CanceledError: the runner was stopped.
        """
        binary = shutil.which("git")
        if binary is None:
            raise UnsupportedError("git repositories need the program git, which is not installed")
        words = list(args)
        while True:
            code, out, err = self._once(binary, words)
            if not code:
                return out
            fewer = _fewer(words, err)
            if len(fewer) == len(words):
                raise GitError(err, code)
            words = fewer

    def has(self, *args: str) -> bool:
        """Whether a command succeeds."""
        try:
            self.run(*args)
        except GitError:
            return False
        return True

    def _once(self, binary: str, words: Sequence[str]) -> tuple[int, str, str]:
        command = [binary, "-c", "protocol.file.allow=user"]
        if self.work_tree:
            command += ["--work-tree", self.work_tree]
        if self.git_dir:
            command += ["--git-dir", self.git_dir]
        code, out, err = self.runner.run([*command, *words], self.work_tree or self.folder, self._environment())
        texts = [self._shown(data) for data in (out, err)]
        for stream, text in enumerate(texts, start=1):
            if text:
                self.log(stream, text[:_MAX_LOG].encode("utf-8", "replace"))
        return code, texts[0], texts[1]

    def _shown(self, data: bytes) -> str:
        text = data.decode("utf-8", "replace")
        for secret in self.access.hidden:
            text = text.replace(secret, HIDDEN)
        return text

    def _environment(self) -> dict[str, str]:
        access = self.access
        hosts = f"-o UserKnownHostsFile={access.known_hosts}" if access.known_hosts else "-o StrictHostKeyChecking=no"
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": f"ssh -F {os.devnull} {hosts}",
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": os.devnull,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": str(len(access.settings)),
        }
        for number, (key, value) in enumerate(access.settings.items()):
            env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
        env.update({name: os.environ[name] for name in _PROXIES if name in os.environ})
        if access.ssh_socket:
            env["SSH_AUTH_SOCK"] = access.ssh_socket
        return env


def _fewer(words: Sequence[str], stderr: str) -> list[str]:
    """The command without what the server cannot do: shallow copies, or commits that no branch ends with."""
    if "--depth=1" in words and ("--depth" in stderr or "shallow" in stderr):
        return [word for word in words if word != "--depth=1"]
    unknown = "not our ref" in stderr or "unadvertised object" in stderr
    if unknown and len(words) > 2 and words[0] == "fetch" and is_commit(words[-1]):
        return list(words[:-1])
    return list(words)
