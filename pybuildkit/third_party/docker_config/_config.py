"""Where the configuration is, and loading it. Mirrors config/config.go of github.com/docker/cli, v29.6.2."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text, with_op, wrap
from pybuildkit.golang.exec import LookPathError, look_path
from pybuildkit.third_party.docker_config._configfile import ConfigFile

if TYPE_CHECKING:
    from typing import TextIO

CONFIG_FILE_NAME = "config.json"
_MAX_SIZE = 16 << 20


def config_dir() -> str:
    """The folder of the configuration: DOCKER_CONFIG, else `.docker` in the user's home."""
    given = os.environ.get("DOCKER_CONFIG")
    if given:
        return given
    return os.path.join(os.path.expanduser("~"), ".docker")


def load(folder: str = "") -> ConfigFile:
    """The configuration in a folder (default: `config_dir`); an empty one where there is no file.

    Raises:
        BuildkitError: "loading config file: …" or "parsing config file (PATH): …".
    """
    config = ConfigFile(os.path.join(folder or config_dir(), CONFIG_FILE_NAME))
    _load_into(config)
    return config


def _load_into(config: ConfigFile) -> None:
    try:
        descriptor = os.open(config.filename, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as err:
        raise wrap(err, "loading config file") from err
    try:
        config.load_bytes(_read(descriptor, config.filename))
    except (BuildkitError, OSError) as err:
        raise wrap(err, f"parsing config file ({config.filename})") from err
    finally:
        os.close(descriptor)


def _read(descriptor: int, name: str) -> bytes:
    data = b""
    try:
        while len(data) < _MAX_SIZE and (more := os.read(descriptor, _MAX_SIZE - len(data))):
            data += more
    except OSError as err:
        raise with_op(OSError(err.errno, err.strerror, name), "read") from None
    return data


def load_default_config_file(stderr: TextIO) -> ConfigFile:
    """The user's configuration, with the platform's credential store where it names no credentials.

    Args:
        stderr: takes a warning when the file cannot be read; what was read until then counts.
    """
    config = ConfigFile(os.path.join(config_dir(), CONFIG_FILE_NAME))
    try:
        _load_into(config)
    except BuildkitError as err:
        stderr.write(f"WARNING: Error {error_text(err)}\n")
    if not config.contains_auth():
        config.credentials_store = _default_store()
    return config


def _default_store() -> str:
    """The platform's credential store, where its helper is installed, else an empty text."""
    if sys.platform == "darwin":
        name = "osxkeychain"
    elif sys.platform.startswith("linux"):
        name = "pass" if _is_installed("pass") else "secretservice"
    else:
        return ""
    return name if _is_installed(f"docker-credential-{name}") else ""


def _is_installed(program: str) -> bool:
    try:
        look_path(program)
    except LookPathError:
        return False
    return True
