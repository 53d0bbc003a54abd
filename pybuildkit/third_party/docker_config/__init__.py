"""Docker's client configuration: `config.json` and the credentials it leads to.

Mirrors packages config, config/configfile, config/credentials and config/memorystore of github.com/docker/cli, v29.6.2,
and the client of github.com/docker/docker-credential-helpers, v0.9.8, as far as reading goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.third_party.docker_config._config import config_dir, load, load_default_config_file
    from pybuildkit.third_party.docker_config._configfile import AuthConfig, ConfigError, ConfigFile
    from pybuildkit.third_party.docker_config._helper import CredentialHelperError, HelperCall

_EXPORTS = {
    "AuthConfig": "_configfile",
    "ConfigError": "_configfile",
    "ConfigFile": "_configfile",
    "CredentialHelperError": "_helper",
    "HelperCall": "_helper",
    "config_dir": "_config",
    "load": "_config",
    "load_default_config_file": "_config",
}

__all__ = [
    "AuthConfig",
    "ConfigError",
    "ConfigFile",
    "CredentialHelperError",
    "HelperCall",
    "config_dir",
    "load",
    "load_default_config_file",
]

__getattr__, _ = attach(__name__, _EXPORTS)
