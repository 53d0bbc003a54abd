"""Protobuf messages as the structs that Go generates for them.

Mirrors what protoc-gen-go (v1.36) makes of a message: fields in order under their names in CamelCase, `Get` methods,
JSON by encoding/json (the name in the .proto file, zero values left out).

Differs from Go: the text of a whole message has no blanks at random, and a oneof is seen by its members alone.
"""

from __future__ import annotations

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from pybuildkit.golang.protofields import is_repeated
from pybuildkit.golang.reflect import Enum, Field, Int32, Int64, Map, Nil, Slice, Struct, Time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.golang.reflect import Method

_TIMESTAMP = "google.protobuf.Timestamp"
_INT64 = frozenset(
    (
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_SFIXED64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_FIXED64,
    )
)


class MessageStruct(Struct):
    """A pointer to a message's struct."""

    def __init__(self, message: Message, package: str) -> None:
        self._message = message
        name = _go_package(message, package) + "." + _go_type_name(message)
        fields = [_field(message, descriptor, package) for descriptor in message.DESCRIPTOR.fields]
        super().__init__(name, *fields, is_pointer=True)

    def go_string(self) -> str:
        return text(self._message)

    def method(self, name: str) -> Method | None:
        if name == "String":
            return self.go_string
        if name == "AsTime" and self._message.DESCRIPTOR.full_name == _TIMESTAMP:
            return self._as_time
        if name.startswith("Get"):
            field = self.field(name[3:])
            if field is not None:
                value = field.value
                return lambda: value
        return None

    def _as_time(self) -> Time:
        seconds: int = getattr(self._message, "seconds", 0)
        nanos: int = getattr(self._message, "nanos", 0)
        return Time(seconds * 1_000_000_000 + nanos)


def text(message: Message) -> str:
    """The message on one line, as its String method gives it: `name:"x" count:3 inner:{flag:true}`."""
    parts = []
    for descriptor, value in message.ListFields():
        of = descriptor.message_type
        if not is_repeated(descriptor):
            parts.append(_field_text(descriptor, value))
        elif of is not None and of.GetOptions().map_entry:
            key_of, value_of = of.fields_by_name["key"], of.fields_by_name["value"]
            pairs = [f"{_field_text(key_of, key)} {_field_text(value_of, value[key])}" for key in sorted(value)]
            parts += [f"{descriptor.name}:{{{pair}}}" for pair in pairs]
        else:
            parts += [_field_text(descriptor, member) for member in value]
    return " ".join(parts)


def _field_text(descriptor: FieldDescriptor, value: object) -> str:
    if isinstance(value, Message):
        shown = "{" + text(value) + "}"
    elif isinstance(value, bool):
        shown = "true" if value else "false"
    elif isinstance(value, (str, bytes)):
        shown = _quoted(value if isinstance(value, str) else value.decode("utf-8", "surrogateescape"))
    elif isinstance(value, int) and descriptor.enum_type is not None:
        shown = _enum_name(descriptor.enum_type, value)
    else:
        shown = str(value)
    return f"{descriptor.name}:{shown}"


_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _quoted(value: str) -> str:
    """The text in quotes: only what steers a terminal, and bytes that are no UTF-8, are escaped."""
    return '"' + "".join(map(_quoted_char, value)) + '"'


def _quoted_char(char: str) -> str:
    code = ord(char)
    if char in _ESCAPED:
        return _ESCAPED[char]
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0x80 <= code <= 0x9F:
        return f"\\u{code:04x}"
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else char


def struct(message: Message, package: str) -> Struct:
    """The message as a Go struct of that package."""
    return MessageStruct(message, package)


_PACKAGES = {"google.protobuf": "timestamppb", "google.rpc": "status", "pb": "pb"}


def _go_package(message: Message, package: str) -> str:
    return _PACKAGES.get(message.DESCRIPTOR.file.package, package)


def _go_type_name(message: Message) -> str:
    descriptor, names = message.DESCRIPTOR, []
    while descriptor is not None:
        names.append(descriptor.name)
        descriptor = descriptor.containing_type
    return "_".join(reversed(names))


def go_name(name: str) -> str:
    """A field's name in Go: the first letter and those behind an underscore in upper case."""
    out = ""
    upper = True
    for position, char in enumerate(name):
        following = name[position + 1 : position + 2]
        if char == "_" and (position > 0 and "a" <= following <= "z"):
            upper = True
        elif char == "_" and position == 0:
            out += "X"
        else:
            out += char.upper() if upper and "a" <= char <= "z" else char
            upper = char.isdigit()
    return out


def _field(message: Message, descriptor: FieldDescriptor, package: str) -> Field:
    value = _value(message, descriptor, package)
    return Field(go_name(descriptor.name), descriptor.name, value, omit_empty=True)


def _value(message: Message, descriptor: FieldDescriptor, package: str) -> object:
    value = getattr(message, descriptor.name)
    of = descriptor.message_type
    if is_repeated(descriptor):
        if of is not None and of.GetOptions().map_entry:
            inner = of.fields_by_name["value"]
            members = {str(key): _single(inner, value[key], package) for key in value}
            return Map(_type(inner, package), members, is_nil=not members)
        listed = [_single(descriptor, member, package) for member in value]
        return Slice(_type(descriptor, package), listed, is_nil=not listed)
    if of is not None and not message.HasField(descriptor.name):
        return Nil(_type(descriptor, package))
    return _single(descriptor, value, package)


def _type(descriptor: FieldDescriptor, package: str) -> str:
    if descriptor.message_type is not None:
        of = descriptor.message_type
        return f"*{_PACKAGES.get(of.file.package, package)}.{of.name}"
    kinds = {FieldDescriptor.TYPE_STRING: "string", FieldDescriptor.TYPE_BOOL: "bool"}
    return kinds.get(descriptor.type, "int64" if descriptor.type in _INT64 else "int32")


def _single(descriptor: FieldDescriptor, value: object, package: str) -> object:
    if isinstance(value, Message):
        return MessageStruct(value, package)
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if descriptor.enum_type is not None:
        return Enum.of(f"{package}.{descriptor.enum_type.name}", value, _enum_name(descriptor.enum_type, value))
    return Int64(value) if descriptor.type in _INT64 else Int32(value)


def _enum_name(descriptor: EnumDescriptor, number: int) -> str:
    value = descriptor.values_by_number.get(number)
    name = value.name if value is not None else number
    return str(name)
