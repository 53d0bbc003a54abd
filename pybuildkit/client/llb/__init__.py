"""LLB: builds as graphs of operations, written in Python.

    from pybuildkit.client import llb

    base = llb.image("alpine")
    built = base.run(llb.shlex("make"), llb.dir("/src")).add_mount("/src", llb.local("context"))
    llb.emit(built)

`emit` writes the definition to standard output, for `pybuildctl build` or BuildKit's own client; `marshal` gives it
to a program. The names are Go's in snake_case; a name that Python keeps for itself has an underscore behind it
(`with_`, `async_`), and constants are in capitals. A state marshals to the same bytes as in Go.

Mirrors package client/llb of BuildKit, v0.32.2. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.client.llb._async import *  # noqa: F403
    from pybuildkit.client.llb._constraintopts import *  # noqa: F403
    from pybuildkit.client.llb._constraints import *  # noqa: F403
    from pybuildkit.client.llb._definition import *  # noqa: F403
    from pybuildkit.client.llb._definitionop import *  # noqa: F403
    from pybuildkit.client.llb._diff import *  # noqa: F403
    from pybuildkit.client.llb._emit import *  # noqa: F403
    from pybuildkit.client.llb._errors import *  # noqa: F403
    from pybuildkit.client.llb._exec import *  # noqa: F403
    from pybuildkit.client.llb._fileop import *  # noqa: F403
    from pybuildkit.client.llb._fileopts import *  # noqa: F403
    from pybuildkit.client.llb._git import *  # noqa: F403
    from pybuildkit.client.llb._http import *  # noqa: F403
    from pybuildkit.client.llb._image import *  # noqa: F403
    from pybuildkit.client.llb._local import *  # noqa: F403
    from pybuildkit.client.llb._merge import *  # noqa: F403
    from pybuildkit.client.llb._meta import *  # noqa: F403
    from pybuildkit.client.llb._mounts import *  # noqa: F403
    from pybuildkit.client.llb._option import *  # noqa: F403
    from pybuildkit.client.llb._passthrough import *  # noqa: F403
    from pybuildkit.client.llb._runopts import *  # noqa: F403
    from pybuildkit.client.llb._source import *  # noqa: F403
    from pybuildkit.client.llb._sourcemap import *  # noqa: F403
    from pybuildkit.client.llb._state import *  # noqa: F403
    from pybuildkit.client.llb._vertex import *  # noqa: F403

_MODULES = {
    "_async": "AsyncState run_sync",
    "_constraintopts": (
        "cpu_period cpu_quota cpu_shares cpuset_cpus cpuset_mems darwin ignore_cache linux_amd64 "
        "linux_arm linux_arm64 linux_armel linux_armhf linux_ppc64 linux_ppc64le linux_riscv64 "
        "linux_s390x local_unique_id memory_limit memory_swap_limit platform progress_group require "
        "windows with_caps with_custom_name with_custom_namef with_description with_export_cache "
        "with_linux_resources without_default_export_cache without_export_cache"
    ),
    "_constraints": "Constraints ConstraintsOpt MarshalResult OpMetadata marshal_constraints new_constraints",
    "_definition": "Definition Reader Writer read_from write_to",
    "_definitionop": "DefinitionOp new_definition_op",
    "_diff": "DiffOp diff",
    "_emit": "emit",
    "_errors": "LLBError OptionError PendingError",
    "_exec": "ExecInfo ExecOp ExecState RunOption",
    "_fileop": "CopyInput FileAction FileActionWithState FileOp copy mkdir mkfile rm symlink",
    "_fileopts": (
        "ChmodOpt ChownOpt CopyInfo CopyOption CreatedTime MkdirInfo MkdirOption MkfileInfo MkfileOption "
        "RmInfo RmOption SymlinkInfo SymlinkOption UserOpt with_allow_not_found with_allow_wildcard "
        "with_created_time with_exclude_patterns with_parents with_uid_gid with_user"
    ),
    "_git": (
        "AuthOption GIT_AUTH_HEADER_KEY GIT_AUTH_TOKEN_KEY GitBundleInfo GitBundleOption GitInfo "
        "GitOption auth_header_secret auth_token_secret git git_bundle_oci_store git_bundle_url "
        "git_checkout_bundle git_checksum git_fetch_by_commit git_mtime git_mtime_commit git_ref "
        "git_skip_submodules git_sub_dir keep_git_dir known_ssh_hosts mount_ssh_sock"
    ),
    "_http": (
        "FileInfoOption HTTPHeader HTTPInfo HTTPOption HTTPSignatureInfo checksum chmod chown filename "
        "header http verify_pgp_signature"
    ),
    "_image": (
        "ImageBlobInfo ImageBlobOption ImageInfo ImageOption OCILayoutInfo OCILayoutOption "
        "RESOLVE_MODE_DEFAULT RESOLVE_MODE_FORCE_PULL RESOLVE_MODE_PREFER_LOCAL ResolveMode image "
        "image_blob image_blob_oci_store mark_image_internal oci_checksum oci_layer_limit oci_layout "
        "oci_layout_blob oci_store resolve_digest with_image_checksum with_layer_limit with_meta_resolver"
    ),
    "_local": (
        "DIFF_METADATA DIFF_NONE DiffType LocalInfo LocalOption differ exclude_patterns follow_paths "
        "include_patterns local metadata_only_transfer session_id shared_key_hint"
    ),
    "_merge": "MergeOp merge",
    "_meta": (
        "EnvList HostIP LinuxResources NET_MODE_HOST NET_MODE_NONE NET_MODE_SANDBOX NetMode "
        "SECURITY_MODE_INSECURE SECURITY_MODE_SANDBOX SecurityMode StateOption ULIMIT_CORE ULIMIT_CPU "
        "ULIMIT_DATA ULIMIT_FSIZE ULIMIT_LOCKS ULIMIT_MEMLOCK ULIMIT_MSGQUEUE ULIMIT_NICE ULIMIT_NOFILE "
        "ULIMIT_NPROC ULIMIT_RSS ULIMIT_RTPRIO ULIMIT_RTTIME ULIMIT_SIGPENDING ULIMIT_STACK UlimitName "
        "add_env add_envf dir dirf hostname network reset security user"
    ),
    "_mounts": (
        "CACHE_MOUNT_LOCKED CACHE_MOUNT_PRIVATE CACHE_MOUNT_SHARED CDIDeviceInfo CDIDeviceOption "
        "CacheMountSharingMode MOUNT_CONTENT_CACHE_DEFAULT MOUNT_CONTENT_CACHE_OFF MOUNT_CONTENT_CACHE_ON "
        "Mount MountContentCache MountInfo MountOption ProxyEnv SSHInfo SSHOption SecretInfo SecretOption "
        "TmpfsInfo TmpfsOption as_persistent_cache_dir cdi_device_name cdi_device_optional content_cache "
        "force_no_output readonly secret_as_env secret_as_env_name secret_file_opt secret_id "
        "secret_optional source_path ssh_id ssh_optional ssh_socket_opt ssh_socket_target tmpfs "
        "tmpfs_size"
    ),
    "_option": "Option apply_options",
    "_passthrough": "PassthroughInput PassthroughOp new_passthrough new_passthrough_op",
    "_runopts": (
        "add_cdi_device add_extra_host add_mount add_secret add_secret_with_dest add_ssh_socket "
        "add_ulimit args readonly_root_fs shlex shlexf valid_exit_codes with_ with_cgroup_parent "
        "with_proxy"
    ),
    "_source": "SourceOp new_source",
    "_sourcemap": "SourceLocation SourceMap SourceMapCollector new_source_map",
    "_state": "State new_state scratch",
    "_vertex": "Input Output Vertex",
}

__getattr__, _names = attach(__name__, {name: module for module, names in _MODULES.items() for name in names.split()})


def __dir__() -> list[str]:
    return _names
