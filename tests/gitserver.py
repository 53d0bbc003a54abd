"""Git repositories made of plain values, on an HTTP server of this process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.fake_buildkitd.registry.servers import Answer, Request, http_server

TIME = 1_500_000_000
_ENVIRONMENT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "HOME": os.devnull, "LC_ALL": "C"}
_WHO = f"test <test@example.org> {TIME} +0000"
_MODES = {"l:": "120000", "x:": "100755", "m:": "160000"}


def git(folder: Path, *args: str, stdin: bytes = b"") -> str:
    """What a git command prints."""
    env = {**_ENVIRONMENT, "PATH": os.environ["PATH"]}
    done = subprocess.run(["git", *args], cwd=folder, env=env, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@dataclass
class GitServer:
    """A folder of repositories, whose commits no other test has; `hook` may answer in its place."""

    root: Path
    host: str = ""
    asked: list[Request] = field(default_factory=list)
    hook: Callable[[Request], Answer | None] = lambda request: None

    def url(self, name: str = "repo") -> str:
        return f"http://{self.host}/{name}.git"

    def commit(self, files: Mapping[str, str], name: str = "repo", branch: str = "main", parent: str = "") -> str:
        """Put a commit on top of a branch, or of `parent`; its name.

        A content "x:…" makes a program, "l:…" a link, "m:…" a submodule at a commit.
        """
        bare = self.root / f"{name}.git"
        new = not bare.exists()
        if new:
            git(self.root, "init", "-q", "--bare", "-b", "main", bare.name)
        message = f"a commit {os.urandom(9).hex()}"
        lines = [f"commit refs/heads/{branch}", f"committer {_WHO}", f"data {len(message)}", message]
        if parent or not new:
            lines.append(f"from refs/heads/{parent or branch}^0")
        for path, content in files.items():
            mode = _MODES.get(content[:2], "100644")
            text = content[2:] if content[:2] in _MODES else content
            if mode == "160000":
                lines.append(f"M {mode} {text} {path}")
            else:
                lines += [f"M {mode} inline {path}", f"data {len(text)}", text]
        git(bare, "fast-import", "--quiet", stdin="\n".join([*lines, ""]).encode())
        return git(bare, "rev-parse", f"refs/heads/{branch}")

    def tag(self, tag: str, *, annotated: bool = False, name: str = "repo") -> str:
        """Tag the last commit of the main branch; the tag's object."""
        bare = self.root / f"{name}.git"
        lines = [f"reset refs/tags/{tag}", "from refs/heads/main^0"]
        if annotated:
            lines = [f"tag {tag}", "from refs/heads/main^0", f"tagger {_WHO}", "data 5", "a tag"]
        git(bare, "fast-import", "--quiet", stdin="\n".join([*lines, ""]).encode())
        return git(bare, "rev-parse", f"refs/tags/{tag}")

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        answer = self.hook(request)
        if answer is not None:
            return answer
        env = {
            **_ENVIRONMENT,
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": request.path,
            "QUERY_STRING": urlencode(request.query, doseq=True),
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        }
        command = ["git", "-c", "safe.directory=*", "http-backend"]
        out = subprocess.run(command, input=request.body, env=env, capture_output=True, check=False).stdout
        head, _, body = out.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        return int(headers.pop("Status", "200 OK").split()[0]), headers, body


@contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    """Serve repositories until the block ends; skips without git."""
    if shutil.which("git") is None:
        pytest.skip("no git on this machine")
    folder.mkdir()
    server = GitServer(folder)
    with http_server(server.answer) as host:
        server.host = host
        yield server
