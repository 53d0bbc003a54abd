"""What the flags of RUN may say.

Mirrors frontend/dockerfile/instructions/commands_run{mount,network,security,device}.go, v0.32.2.

Differs on purpose: the flags are checked and then forgotten but for what the build needs to judge them, since this
daemon runs no processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fake_buildkitd.frontend.dockerfile._flags import Flags
from fake_buildkitd.frontend.dockerfile._text import clean, join, suggest
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import NumError, parse_bool, parse_float, parse_uint, quote
from pybuildkit.third_party import csvvalue

_NETWORKS = ("default", "none", "host")
_SECURITY = ("insecure", "sandbox")
_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_SERVICES = ("secret", "ssh")
_ALONE = {"readonly": True, "ro": True, "readwrite": False, "rw": False}
_KEYS = [
    *("type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid"),
    *("src", "dst", "destination", "ro", "rw", "readwrite", "env"),
]
_OWNERS = {"mode": 8, "uid": 10, "gid": 10}


class RunFlagError(BuildkitError):
    """A flag of RUN with a value that it does not take."""


@dataclass
class Mount:
    """One `--mount`: where it goes, and what of it its kind allows."""

    type: str = "bind"
    from_: str = ""
    source: str = ""
    target: str = ""
    id: str = ""
    sharing: str = ""
    required: bool = False
    owner: tuple[str, ...] = ()

    @property
    def is_service(self) -> bool:
        """Whether the session serves it."""
        return self.type in _SERVICES

    def check_target(self, directory: str) -> None:
        """Raises RunFlagError for a mount over the whole root; `directory` is the working directory."""
        target = self.target if clean(self.target).startswith("/") else join("/", directory, self.target)
        if target == "/" and not self.is_service:
            raise RunFlagError(f"invalid mount target {quote(target)}")


def check_run_flags(flags: Flags) -> list[str]:
    """Judge the flags of a RUN as far as that is possible before variables have values; gives its mounts.

    Raises:
        RunFlagError: one of them cannot be meant.
    """
    for device in flags.strings("device"):
        _check_device(device)
    mounts = flags.strings("mount")
    for mount in mounts:
        _check_mount(mount)
    network, security = flags.string("network", "default"), flags.string("security", "sandbox")
    if network not in _NETWORKS:
        raise RunFlagError(f"invalid network mode {quote(network)}")
    if security not in _SECURITY:
        raise RunFlagError(f"security {quote(security)} is not valid")
    return mounts


def _check_device(text: str) -> None:
    name = ""
    for field in _fields(text, "devices"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "required":
            if equals:
                _boolean(key, value)
        elif equals and key == "name":
            if name:
                raise RunFlagError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field
        elif not equals:
            raise RunFlagError(f"invalid field '{field}' must be a key=value pair")
        else:
            raise suggest(RunFlagError(f"unexpected key '{key}' in '{field}'"), key, ["name", "required"], True)


def _check_mount(text: str) -> None:
    for field in _fields(text, "mounts"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if equals and key == "from" and -1 < value.find("$") < len(value) - 1:
            raise RunFlagError(f"'{key}' doesn't support variable expansion, define alias stage instead")


def parse_mount(text: str, expander: Callable[[str], str]) -> Mount:
    """A `--mount` with its variables replaced.

    Raises:
        RunFlagError: it is none, or contradicts itself.
    """
    mount = Mount()
    for field in _fields(text, "mounts"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if equals:
            _set(mount, key, expander(value), field)
        elif key == "required":
            _require_service(mount, key)
            mount.required = True
        elif key not in _ALONE:
            raise RunFlagError(f"invalid field '{field}' must be a key=value pair")
    _judge(mount)
    return mount


def _fields(text: str, what: str) -> list[str]:
    try:
        return csvvalue.fields(text)
    except BuildkitError as err:
        raise wrap(err, f"failed to parse csv {what}") from err


def _set(mount: Mount, key: str, value: str, field: str) -> None:
    if key == "type":
        mount.type = _one_of(value, _TYPES, "mount type")
    elif key == "from":
        mount.from_ = value
    elif key in ("source", "src"):
        mount.source = value
    elif key in ("target", "dst", "destination"):
        mount.target = value
    elif key in _ALONE:
        _boolean(key, value)
    elif key == "required":
        _require_service(mount, key)
        mount.required = _boolean(key, value)
    elif key == "size":
        if mount.type != "tmpfs":
            raise RunFlagError(f"unexpected key '{key}' for mount type '{mount.type}'")
        if not _is_size(value):
            raise RunFlagError(f"invalid value for {key}: {value}")
    elif key == "id":
        mount.id = value
    elif key == "sharing":
        mount.sharing = _one_of(value, _SHARING, "sharing value")
    elif key in _OWNERS:
        try:
            parse_uint(value, _OWNERS[key], 32)
        except NumError:
            raise RunFlagError(f"invalid value {value} for {key}") from None
        mount.owner = (*mount.owner, key)
    elif key != "env":
        raise suggest(RunFlagError(f"unexpected key '{key}' in '{field}'"), key, _KEYS, True)


def _one_of(value: str, allowed: tuple[str, ...], what: str) -> str:
    if value.lower() not in allowed:
        raise suggest(RunFlagError(f"unsupported {what} {quote(value)}"), value, allowed, True)
    return value.lower()


def _boolean(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except NumError:
        raise RunFlagError(f"invalid value for {key}: {value}") from None


def _require_service(mount: Mount, key: str) -> None:
    if not mount.is_service:
        raise RunFlagError(f"unexpected key '{key}' for mount type '{mount.type}'")


def _is_size(text: str) -> bool:
    """Whether it is a size as go-units' RAMInBytes reads it."""
    end = max((text.rfind(char) for char in "0123456789. "), default=-1)
    number, suffix = (text[:end] if text[end : end + 1] == " " else text[: end + 1]), text[end + 1 :].lower()
    try:
        if end < 0 or parse_float(number) < 0:
            return False
    except NumError:
        return False
    return suffix in ("", "b") or (suffix[0] in "kmgtp" and suffix[1:] in ("", "b", "ib"))


def _judge(mount: Mount) -> None:
    """What a kind of mount does not allow."""
    kind = quote(mount.type)
    if mount.type not in ("secret", "ssh", "cache"):
        for key in _OWNERS:
            if key in mount.owner:
                raise RunFlagError(f"{key} not allowed for {kind} type mounts")
    if mount.type == "secret":
        if mount.from_:
            raise RunFlagError("secret mount should not have a from")
        if mount.sharing:
            raise RunFlagError("secret mount should not define sharing")
        if not (mount.source or mount.target or mount.id):
            raise RunFlagError("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise RunFlagError("both source and id can't be set")
    if mount.sharing and mount.type != "cache":
        raise RunFlagError(f"invalid cache sharing set for {mount.type} mount")
