"""Applying a template to a value.

Mirrors text/template/exec.go of Go 1.26.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pybuildkit.golang import fmt
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.reflect import Nil, Struct, type_name
from pybuildkit.golang.strconv import quote
from pybuildkit.golang.template import _parse as tree
from pybuildkit.golang.template._funcs import ARITY, BUILTINS, NO_VALUE, pointed_at, truth

Function = Callable[..., object]


class ExecError(BuildkitError):
    """A template that does not fit the value: `template: :LINE:COLUMN: executing "" at <NODE>: REASON`."""


class _Missing:
    """No value: a map has no such key, or nothing is piped in."""

    go_type = "nil"

    def __bool__(self) -> bool:
        return False


_MISSING: Final = _Missing()
_MAX_DEPTH: Final = 100_000


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def execute(
    text: str,
    trees: Mapping[str, tree.ListNode],
    functions: Mapping[str, Function],
    write: Callable[[str], object],
    data: object,
) -> None:
    """Write what the template makes of the value; see `Template.execute`."""
    _State(text, trees, functions, write, data, "").walk(data, trees[""])


def _is_pointer(value: Nil) -> bool:
    return value.go_type.startswith("*")


class _State:
    def __init__(
        self,
        text: str,
        trees: Mapping[str, tree.ListNode],
        functions: Mapping[str, Function],
        write: Callable[[str], object],
        data: object,
        name: str,
    ) -> None:
        self._text = text
        self._trees = trees
        self._name = name
        self._functions = functions
        self._write = write
        self._variables: list[tuple[str, object]] = [("$", data)]
        self._node: tree.Node | None = None

    def _error(self, reason: str) -> ExecError:
        node = self._node
        assert node is not None
        before = self._text[: node.position]
        line = before.count("\n") + 1
        column = len(before[before.rfind("\n") + 1 :].encode("utf-8", "surrogateescape"))
        return ExecError(f"template: :{line}:{column}: executing {quote(self._name)} at <{node}>: {reason}")

    # Structure

    def walk(self, dot: object, node: tree.Node) -> None:
        """Write what one node makes of the value at hand."""
        self._node = node
        if isinstance(node, tree.TextNode):
            self._write(node.text)
        elif isinstance(node, tree.ListNode):
            for member in node.nodes:
                self.walk(dot, member)
        elif isinstance(node, tree.ActionNode):
            value = self._pipeline(dot, node.pipe)
            if not node.pipe.variables:
                self._print(node, value)
        elif isinstance(node, tree.BranchNode):
            known = len(self._variables)
            if node.kind == "range":
                self._range(dot, node)
            else:
                self._if_or_with(dot, node)
            del self._variables[known:]
        elif isinstance(node, tree.TemplateNode):
            self._template(dot, node)
        elif isinstance(node, tree.JumpNode):
            raise _Break if node.kind == "break" else _Continue

    def _template(self, dot: object, node: tree.TemplateNode) -> None:
        """Another template, which sees no variables but its own value."""
        root = self._trees.get(node.name)
        if root is None:
            raise self._error(f"template {quote(node.name)} not defined")
        value = self._pipeline(dot, node.pipe) if node.pipe is not None else _MISSING
        inner = _State(self._text, self._trees, self._functions, self._write, value, node.name)
        try:
            inner.walk(value, root)
        except RecursionError:
            self._node = node
            raise self._error(f"exceeded maximum template depth ({_MAX_DEPTH})") from None

    def _if_or_with(self, dot: object, node: tree.BranchNode) -> None:
        value = self._pipeline(dot, node.pipe)
        if truth(value):
            self.walk(value if node.kind == "with" else dot, node.body)
        elif node.otherwise is not None:
            self.walk(dot, node.otherwise)

    def _range(self, dot: object, node: tree.BranchNode) -> None:
        value = self._pipeline(dot, node.pipe)
        if isinstance(value, int) and not isinstance(value, bool) and len(node.pipe.variables) > 1:
            raise self._error(f"can't use {fmt.text_of(value)} to iterate over more than one variable")
        mark = len(self._variables)
        ran = False
        for key, member in self._members(value):
            ran = True
            self._set_range_variables(node.pipe, mark, key, member)
            try:
                self.walk(member, node.body)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del self._variables[mark:]
        if not ran and node.otherwise is not None:
            self.walk(dot, node.otherwise)

    def _members(self, value: object) -> Iterator[tuple[object, object]]:
        if isinstance(value, (list, tuple)):
            yield from enumerate(value)
        elif isinstance(value, dict):
            for key in sorted(value, key=lambda key: str(key).encode("utf-8", "surrogateescape")):
                yield key, value[key]
        elif value is None or isinstance(value, _Missing) or (isinstance(value, Nil) and not _is_pointer(value)):
            return
        elif isinstance(value, bool) or not isinstance(value, int):
            raise self._error(f"range can't iterate over {pointed_at(value)}")
        else:
            yield from ((number, number) for number in range(value))

    def _set_range_variables(self, pipe: tree.PipeNode, mark: int, key: object, member: object) -> None:
        values = (member,) if len(pipe.variables) == 1 else (key, member)
        for variable, value in zip(pipe.variables, values, strict=False):
            if pipe.is_assign:
                self._assign(variable.names[0], value)
            else:
                self._variables.append((variable.names[0], value))

    def _assign(self, name: str, value: object) -> None:
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return
        raise self._error(f"undefined variable: {name}")

    def _print(self, node: tree.Node, value: object) -> None:
        self._node = node
        self._write(NO_VALUE if value is None or isinstance(value, _Missing) else pointed_at(value))

    # Values

    def _pipeline(self, dot: object, pipe: tree.PipeNode) -> object:
        self._node = pipe
        value: object = _MISSING
        for stage, command in enumerate(pipe.commands):
            value = self._command(dot, command, value, stage > 0)
        for variable in () if pipe.is_range else pipe.variables:
            if pipe.is_assign:
                self._assign(variable.names[0], value)
            else:
                self._variables.append((variable.names[0], value))
        return value

    def _command(self, dot: object, command: tree.CommandNode, final: object, piped: bool) -> object:
        first = command.args[0]
        arguments = command.args[1:]
        self._node = first
        if isinstance(first, (tree.FieldNode, tree.ChainNode, tree.VariableNode)):
            return self._chain(dot, first, arguments, final, piped)
        if isinstance(first, tree.IdentifierNode):
            return self._function(dot, first, command, final, piped)
        if isinstance(first, tree.PipeNode):
            self._refuse_arguments(first, arguments, piped)
            return self._pipeline(dot, first)
        self._refuse_arguments(first, arguments, piped)
        if isinstance(first, tree.LiteralNode):
            return first.value
        if isinstance(first, tree.DotNode):
            return dot
        raise self._error("nil is not a command")

    def _refuse_arguments(self, first: tree.Node, arguments: list[tree.Node], piped: bool) -> None:
        if arguments or piped:
            raise self._error(f"can't give argument to non-function {first}")

    def _argument(self, dot: object, node: tree.Node) -> object:
        """An argument's value; nil is None."""
        self._node = node
        if isinstance(node, tree.NilNode):
            return None
        if isinstance(node, tree.DotNode):
            return dot
        if isinstance(node, tree.LiteralNode):
            return node.value
        if isinstance(node, tree.PipeNode):
            return self._pipeline(dot, node)
        if isinstance(node, tree.IdentifierNode):
            command = tree.CommandNode(node.position)
            command.args.append(node)
            return self._function(dot, node, command, _MISSING, False)
        assert isinstance(node, (tree.FieldNode, tree.ChainNode, tree.VariableNode))
        return self._chain(dot, node, [], _MISSING, False)

    def _chain(
        self,
        dot: object,
        node: tree.FieldNode | tree.ChainNode | tree.VariableNode,
        arguments: list[tree.Node],
        final: object,
        piped: bool,
    ) -> object:
        receiver, names = dot, node.names
        if isinstance(node, tree.VariableNode):
            receiver, names = self._variable(node.names[0]), node.names[1:]
            if not names:
                self._refuse_arguments(node, arguments, piped)
                return receiver
        elif isinstance(node, tree.ChainNode):
            if isinstance(node.node, tree.NilNode):
                raise self._error(f"indirection through explicit nil in {node}")
            receiver = self._argument(dot, node.node)
        for name in names[:-1]:
            receiver = self._field(dot, node, receiver, name, [], _MISSING, False)
        return self._field(dot, node, receiver, names[-1], arguments, final, piped)

    def _variable(self, name: str) -> object:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise self._error(f"undefined variable: {name}")

    def _field(
        self,
        dot: object,
        node: tree.Node,
        receiver: object,
        name: str,
        arguments: list[tree.Node],
        final: object,
        piped: bool,
    ) -> object:
        if not isinstance(node, tree.ChainNode):  # there Go names what was evaluated last
            self._node = node
        if receiver is None or isinstance(receiver, _Missing):
            return _MISSING
        method = getattr(receiver, "method", lambda _: None)(name)
        if method is not None:
            return self._method(dot, node, name, method, arguments, final, piped)
        if isinstance(receiver, Nil) and receiver.go_type.startswith("*") and receiver.go_type != "*time.Time":
            raise self._error(f"nil pointer evaluating {receiver.go_type}.{name}")
        has_arguments = bool(arguments) or piped
        if isinstance(receiver, Struct):
            field = receiver.field(name)
            if field is not None:
                if has_arguments:
                    raise self._error(f"{name} has arguments but cannot be invoked as function")
                return field.value
        elif isinstance(receiver, dict):
            if has_arguments:
                raise self._error(f"{name} is not a method but has arguments")
            return receiver.get(name, _MISSING)
        raise self._error(f"can't evaluate field {name} in type {type_name(receiver)}")

    def _method(
        self,
        dot: object,
        node: tree.Node,
        name: str,
        method: Function,
        arguments: list[tree.Node],
        final: object,
        piped: bool,
    ) -> object:
        """Call a method; the only one with an argument is a time's Format."""
        wanted, given = int(name == "Format"), len(arguments) + piped
        if given != wanted:
            raise self._error(f"wrong number of args for {name}: want {wanted} got {given}")
        values = [self._argument(dot, argument) for argument in arguments] + ([final] if piped else [])
        for value in values:
            if isinstance(value, str):
                continue
            if arguments and isinstance(arguments[0], tree.LiteralNode):
                raise self._error(f"expected string; found {arguments[0]}")
            raise self._error(f"wrong type for value; expected string; got {type_name(value)}")
        self._node = node
        return self._call(name, method, values)

    # Functions

    def _function(
        self, dot: object, identifier: tree.IdentifierNode, command: tree.CommandNode, final: object, piped: bool
    ) -> object:
        name = identifier.name
        function = self._functions.get(name) or BUILTINS[name]
        arguments = command.args[1:]
        self._check_count(name, len(arguments) + piped)
        if name in ("and", "or") and name not in self._functions:
            return self._short_circuit(dot, name, arguments, final, piped)
        values = [self._argument(dot, argument) for argument in arguments] + ([final] if piped else [])
        last, self._node = self._node, command
        if name == "printf" and not isinstance(values[0], str):
            self._node = arguments[0] if arguments else command
            raise self._error(f"wrong type for value; expected string; got {type_name(values[0])}")
        result = self._call(name, function, [None if isinstance(value, _Missing) else value for value in values])
        self._node = last  # as in Go a function is what an error names only where it is its own
        return result

    def _check_count(self, name: str, count: int) -> None:
        least, most = ARITY.get(name, (1, 1))
        if most is None and count < least:
            raise self._error(f"wrong number of args for {name}: want at least {least} got {count}")
        if most is not None and count != most:
            raise self._error(f"wrong number of args for {name}: want {most} got {count}")

    def _short_circuit(self, dot: object, name: str, arguments: list[tree.Node], final: object, piped: bool) -> object:
        value: object = final
        for argument in arguments:
            value = self._argument(dot, argument)
            if truth(value) == (name == "or"):
                return value
        return final if piped else value

    def _call(self, name: str, function: Function, values: list[object]) -> object:
        try:
            return function(*values)
        except (BuildkitError, TypeError) as err:
            raise self._error(f"error calling {name}: {err}") from err
