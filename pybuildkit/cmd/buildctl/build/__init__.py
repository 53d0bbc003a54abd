"""From the build command's flag values to what a solve takes, one module a flag.

Mirrors cmd/buildctl/build, v0.32.2, and the deprecated flags of v0.7.0. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl.build._allow import validate_allow as validate_allow
    from pybuildkit.cmd.buildctl.build._build import FlagValueError as FlagValueError
    from pybuildkit.cmd.buildctl.build._exportcache import parse_export_cache as parse_export_cache
    from pybuildkit.cmd.buildctl.build._importcache import parse_import_cache as parse_import_cache
    from pybuildkit.cmd.buildctl.build._local import parse_local as parse_local
    from pybuildkit.cmd.buildctl.build._metadata import write_metadata_file as write_metadata_file
    from pybuildkit.cmd.buildctl.build._ocilayout import parse_oci_layout as parse_oci_layout
    from pybuildkit.cmd.buildctl.build._opt import parse_opt as parse_opt
    from pybuildkit.cmd.buildctl.build._output import parse_legacy_exporter as parse_legacy_exporter
    from pybuildkit.cmd.buildctl.build._output import parse_output as parse_output
    from pybuildkit.cmd.buildctl.build._outputfile import FileOutput as FileOutput
    from pybuildkit.cmd.buildctl.build._registryauthtlscontext import (
        parse_registry_auth_tls_context as parse_registry_auth_tls_context,
    )
    from pybuildkit.cmd.buildctl.build._secret import parse_secret as parse_secret
    from pybuildkit.cmd.buildctl.build._sourcepolicy import read_source_policy as read_source_policy
    from pybuildkit.cmd.buildctl.build._ssh import parse_ssh as parse_ssh

__getattr__, __all__ = attach(
    __name__,
    {
        "FileOutput": "_outputfile",
        "FlagValueError": "_build",
        "parse_export_cache": "_exportcache",
        "parse_import_cache": "_importcache",
        "parse_legacy_exporter": "_output",
        "parse_local": "_local",
        "parse_oci_layout": "_ocilayout",
        "parse_opt": "_opt",
        "parse_output": "_output",
        "parse_registry_auth_tls_context": "_registryauthtlscontext",
        "parse_secret": "_secret",
        "parse_ssh": "_ssh",
        "read_source_policy": "_sourcepolicy",
        "validate_allow": "_allow",
        "write_metadata_file": "_metadata",
    },
)
