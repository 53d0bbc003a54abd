"""No secret, password or token in anything that a build leaves or shows, except where a step puts it on purpose."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from tests.conformance import registry
from tests.conformance.services import BUILD, LOCAL, make_key, need
from tests.daemons import RUN_OPTIONS, finish, read_until, run, start, write_tree

SECRET, VARIABLE, PASSWORD = "PlantedInAFile", "PlantedInAVariable", "PlantedPassword"
RECORDS = [
    *("--trace", "records/trace", "--metadata-file", "records/metadata", "--ref-file", "records/ref"),
    *("--debug-json-cache-metrics", "records/metrics"),
]


def dockerfile(ref: str, end: str) -> str:
    """A step that reads all secrets; its `end` is the shell's last words."""
    mounts = "--mount=type=secret,id=file --mount=type=secret,id=variable --mount=type=ssh"
    script = f"/bin/busybox cat /run/secrets/file /run/secrets/variable > /dev/null; {end}"
    return f'FROM {ref}\nCOPY Dockerfile /\nRUN {mounts} ["/bin/busybox", "sh", "-c", "{script}"]\n'


def flags() -> list[str]:
    secrets = ["--secret", "id=file,src=secret", "--secret", "id=variable,env=PLANTED_VARIABLE"]
    return [*BUILD, *RUN_OPTIONS, *secrets, "--ssh", "default=key", *RECORDS, *LOCAL]


def planted(tmp_path: Path, tokens: list[str]) -> dict[str, bytes]:
    """What must not be found, in the forms that it may have."""
    login = f"user:{PASSWORD}".encode()
    key = (tmp_path / "key").read_text().splitlines()
    values = {"file": SECRET, "variable": VARIABLE, "password": PASSWORD, "key": key[2]}
    seed = tmp_path / "login/.token_seed"
    found = {name: value.encode() for name, value in values.items()}
    found["login"] = base64.b64encode(login)
    found |= {f"token {i}": token.encode() for i, token in enumerate(tokens)}
    if seed.exists():
        found["seed"] = seed.read_bytes()
    return found


@pytest.mark.parametrize("progress", ["plain", "rawjson"])
@pytest.mark.parametrize("end", ["true", "exit 3"])
def test_planted_values(real_addr: str, tmp_path: Path, busybox: Path, progress: str, end: str) -> None:
    need(real_addr, "run", "pull")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "records").mkdir()
    make_key(tmp_path / "key", "planted")
    with registry.token_registry(tmp_path / "registry", "user", PASSWORD) as tokens:
        ref = tokens.registry.push("img", {"bin/busybox": busybox.read_bytes()})
        write_tree(tmp_path / "test", {"Dockerfile": dockerfile(ref, end)})
        env = registry.docker_config(tmp_path / "login", {tokens.registry.host: ("user", PASSWORD)})
        argv = ["--debug", *flags(), f"--progress={progress}"]
        result = run(*argv, addr=real_addr, cwd=tmp_path, env={**env, "PLANTED_VARIABLE": VARIABLE})
    assert (result.code == 0) == (end == "true"), result.stderr
    assert tokens.given
    texts = {"standard error": result.stderr.encode(), "standard output": result.stdout}
    texts |= {path.name: path.read_bytes() for path in (tmp_path / "records").iterdir()}
    assert {"trace", "ref"} <= set(texts)
    for name, value in planted(tmp_path, tokens.given).items():
        assert [where for where, text in texts.items() if value in text] == [], name


def test_planted_values_in_no_process_title(
    real_addr: str, tmp_path: Path, busybox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a step runs, the title and the arguments of the command hold names only."""
    need(real_addr, "run")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "records").mkdir()
    make_key(tmp_path / "key", "planted")
    text = dockerfile("scratch", "echo reached; /bin/busybox sleep 60").replace("COPY Dockerfile", "COPY .")
    write_tree(tmp_path / "test", {"Dockerfile": text, "bin/": ""})
    shutil.copy(busybox, tmp_path / "test/bin/busybox")
    monkeypatch.setenv("PLANTED_VARIABLE", VARIABLE)
    process = start(*flags(), "--progress=plain", "--no-cache", addr=real_addr, cwd=tmp_path)
    read_until(process, b" reached\n")
    folder = Path(f"/proc/{process.pid}")
    shown = [(folder / name).read_bytes() for name in ("cmdline", "comm")]
    shown += [(task / "comm").read_bytes() for task in (folder / "task").iterdir()]
    process.terminate()
    code, _, _ = finish(process, 20)
    assert code == 1
    for name, value in planted(tmp_path, []).items():
        assert not any(value in text for text in shown), name
