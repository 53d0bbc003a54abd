"""The tree of a template.

Mirrors text/template/parse of Go 1.26: the same nodes, and the same words for what is wrong.
"""

from __future__ import annotations

from collections.abc import Container

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import parse_float, parse_int, quote
from pybuildkit.golang.template._funcs import BUILTINS
from pybuildkit.golang.template._lex import Item, ParseError, lex

_EOF = "eof"
_MAX_DEPTH = 60
_WHITE_SPACE = " \t\n\v\f\r\u0085\u00a0\u2000\u2028\u2029"


class Node:
    """A part of a template that begins at `position`; its `str` is how errors show it."""

    def __init__(self, position: int) -> None:
        self.position = position


class TextNode(Node):
    """Plain text."""

    def __init__(self, position: int, text: str) -> None:
        super().__init__(position)
        self.text = text


class ListNode(Node):
    """A sequence."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.nodes: list[Node] = []


class DotNode(Node):
    """The value at hand."""

    def __str__(self) -> str:
        return "."


class NilNode(Node):
    """The word nil."""

    def __str__(self) -> str:
        return "nil"


class LiteralNode(Node):
    """A boolean, a number, a character or a string."""

    def __init__(self, position: int, text: str, value: bool | int | float | str) -> None:
        super().__init__(position)
        self.text = text
        self.value = value

    def __str__(self) -> str:
        return self.text


class IdentifierNode(Node):
    """A function's name."""

    def __init__(self, position: int, name: str) -> None:
        super().__init__(position)
        self.name = name

    def __str__(self) -> str:
        return self.name


class FieldNode(Node):
    """Fields of the value at hand, `.A.B`."""

    def __init__(self, position: int, names: list[str]) -> None:
        super().__init__(position)
        self.names = names

    def __str__(self) -> str:
        return "".join("." + name for name in self.names)


class VariableNode(Node):
    """A variable and fields of it, `$x.A`; the first name has its dollar sign."""

    def __init__(self, position: int, names: list[str]) -> None:
        super().__init__(position)
        self.names = names

    def __str__(self) -> str:
        return ".".join(self.names)


class ChainNode(Node):
    """Fields of something in parentheses."""

    def __init__(self, position: int, node: Node, names: list[str]) -> None:
        super().__init__(position)
        self.node = node
        self.names = names

    def __str__(self) -> str:
        inner = f"({self.node})" if isinstance(self.node, PipeNode) else str(self.node)
        return inner + "".join("." + name for name in self.names)


class CommandNode(Node):
    """One stage of a pipeline."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.args: list[Node] = []

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, PipeNode) else str(arg) for arg in self.args)


class PipeNode(Node):
    """A pipeline, with the variables that it sets."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.variables: list[VariableNode] = []
        self.is_assign = False
        self.is_range = False
        self.commands: list[CommandNode] = []

    def __str__(self) -> str:
        names = ", ".join(str(variable) for variable in self.variables)
        set_by = f"{names} {'=' if self.is_assign else ':='} " if names else ""
        return set_by + " | ".join(str(command) for command in self.commands)


class ActionNode(Node):
    """A pipeline whose value is printed."""

    def __init__(self, position: int, pipe: PipeNode) -> None:
        super().__init__(position)
        self.pipe = pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


class BranchNode(Node):
    """`if`, `range` or `with`."""

    def __init__(self, position: int, kind: str, pipe: PipeNode) -> None:
        super().__init__(position)
        self.kind = kind
        self.pipe = pipe
        self.body = ListNode(position)
        self.otherwise: ListNode | None = None


class TemplateNode(Node):
    """A call of another template, with the value that it is given."""

    def __init__(self, position: int, name: str, pipe: PipeNode | None) -> None:
        super().__init__(position)
        self.name = name
        self.pipe = pipe

    def __str__(self) -> str:
        given = f" {self.pipe}" if self.pipe is not None else ""
        return f"{{{{template {quote(self.name)}{given}}}}}"


class JumpNode(Node):
    """`break` or `continue`."""

    def __init__(self, position: int, kind: str) -> None:
        super().__init__(position)
        self.kind = kind


class _EndNode(Node):
    """`end` or `else`, with what else begins ("if", "with" or nothing)."""

    def __init__(self, position: int, kind: str) -> None:
        super().__init__(position)
        self.kind = kind

    def __str__(self) -> str:
        return f"{{{{{self.kind}}}}}"


def parse_text(text: str, functions: Container[str]) -> dict[str, ListNode]:
    """The trees of a text that may call these functions and the ones that are always there.

    Its own tree has the name "", those of `define` and `block` theirs.
    """
    return _Parser(text, functions).parse()


def _is_empty(tree: ListNode) -> bool:
    """Whether a tree is white space alone."""
    return all(isinstance(node, TextNode) and not node.text.strip(_WHITE_SPACE) for node in tree.nodes)


class _Parser:
    def __init__(self, text: str, functions: Container[str]) -> None:
        self._items = lex(text)
        self._next_item = 0
        self._functions = functions
        self._variables = ["$"]
        self._line = 1
        self._action_line = 0
        self._range_depth = 0
        self._depth = 0
        self._trees: dict[str, ListNode] = {}

    def parse(self) -> dict[str, ListNode]:
        root = ListNode(0)
        while self._peek().kind != _EOF:
            if self._is_definition():
                self._define()
                continue
            node = self._text_or_action()
            if isinstance(node, _EndNode):
                raise self._error(f"unexpected {node}")
            root.nodes.append(node)
        self._add("", root)
        return self._trees

    # Named templates

    def _is_definition(self) -> bool:
        """Whether `define` comes next; it does not stand within anything else."""
        mark, line = self._next_item, self._line
        if self._next().kind == "left" and self._next_non_space().text == "define":
            return True
        self._next_item, self._line = mark, line
        return False

    def _define(self) -> None:
        context = "define clause"
        item = self._next_non_space()
        if item.kind not in ("string", "rawstring"):
            raise self._unexpected(item, context)
        name = self._template_name(item, context)
        self._expect_right(context)
        self._named(name, context)

    def _template_name(self, item: Item, context: str) -> str:
        if item.kind not in ("string", "rawstring"):
            raise self._unexpected(item, context)
        value = self._literal(item).value
        assert isinstance(value, str)
        return value

    def _named(self, name: str, context: str) -> None:
        """The body of a template of its own: it sees no variables and no loop around it."""
        self._enter()
        outside = self._variables, self._range_depth, self._action_line
        self._variables, self._range_depth, self._action_line = ["$"], 0, 0
        body, end = self._item_list()
        self._variables, self._range_depth, self._action_line = outside
        self._depth -= 1
        if end.kind != "end":
            raise self._error(f"unexpected {end} in {context}")
        self._add(name, body)

    def _add(self, name: str, tree: ListNode) -> None:
        """Keep a tree; of two with one name one may be empty, and the other counts."""
        known = self._trees.get(name)
        if known is None or _is_empty(known):
            self._trees[name] = tree
        elif not _is_empty(tree):
            raise self._error(f"template: multiple definition of template {quote(name)}")

    def _block(self) -> TemplateNode:
        """A template that is defined and called at once."""
        item = self._next_non_space()
        name = self._template_name(item, "block clause")
        pipe = self._pipeline("block clause", "right")
        self._named(name, "block clause")
        return TemplateNode(item.position, name, pipe)

    def _template(self) -> TemplateNode:
        item = self._next_non_space()
        name = self._template_name(item, "template clause")
        if self._next_non_space().kind == "right":
            return TemplateNode(item.position, name, None)
        self._backup()
        return TemplateNode(item.position, name, self._pipeline("template clause", "right"))

    # Items

    def _next(self) -> Item:
        item = self._items[min(self._next_item, len(self._items) - 1)]
        self._next_item += 1
        self._line = item.line
        return item

    def _backup(self) -> None:
        self._next_item -= 1

    def _peek(self) -> Item:
        item = self._next()
        self._backup()
        return item

    def _next_non_space(self) -> Item:
        item = self._next()
        while item.kind == "space":
            item = self._next()
        return item

    def _peek_non_space(self) -> Item:
        item = self._next_non_space()
        self._backup()
        return item

    def _error(self, reason: str) -> ParseError:
        return ParseError(f"template: :{self._line}: {reason}")

    def _unexpected(self, item: Item, context: str) -> ParseError:
        if item.kind != "error":
            return self._error(f"unexpected {item} in {context}")
        extra = ""
        if self._action_line and self._action_line != item.line:
            extra = f" in action started at :{self._action_line}"
            if str(item).endswith(" action"):
                extra = extra.removeprefix(" in action")
        return self._error(f"{item}{extra}")

    # Structure

    def _text_or_action(self) -> Node:
        item = self._next_non_space()
        if item.kind == "text":
            return TextNode(item.position, item.text)
        if item.kind == "left":
            self._action_line = item.line
            node = self._action()
            self._action_line = 0
            return node
        raise self._unexpected(item, "input")

    def _action(self) -> Node:
        item = self._next_non_space()
        if item.kind == "keyword":
            return self._keyword(item)
        self._backup()
        start = self._peek()
        return ActionNode(start.position, self._pipeline("command", "right"))

    def _keyword(self, item: Item) -> Node:
        word = item.text
        if word in ("if", "range", "with"):
            return self._branch(item.position, word)
        if word == "end":
            self._expect_right("end")
            return _EndNode(item.position, "end")
        if word == "else":
            return self._else(item.position)
        if word in ("break", "continue"):
            following = self._next_non_space()
            if following.kind != "right":
                raise self._unexpected(following, f"{{{{{word}}}}}")
            if not self._range_depth:
                raise self._error(f"{{{{{word}}}}} outside {{{{range}}}}")
            return JumpNode(item.position, word)
        if word == "template":
            return self._template()
        if word == "block":
            return self._block()
        raise self._unexpected(item, "command")

    def _expect_right(self, context: str) -> None:
        item = self._next_non_space()
        if item.kind != "right":
            raise self._unexpected(item, context)

    def _else(self, position: int) -> Node:
        following = self._peek_non_space()
        if following.kind == "keyword" and following.text in ("if", "with"):
            return _EndNode(position, "else")
        self._expect_right("else")
        return _EndNode(position, "else")

    def _branch(self, position: int, kind: str) -> BranchNode:
        self._enter()
        known = len(self._variables)
        branch = BranchNode(position, kind, self._pipeline(kind, "right"))
        self._range_depth += kind == "range"
        branch.body, end = self._item_list()
        self._range_depth -= kind == "range"
        if end.kind == "else":
            following = self._peek_non_space()
            if following.kind == "keyword" and following.text in ("if", "with"):
                branch.otherwise = self._else_branch(kind, following)
            else:
                branch.otherwise, end = self._item_list()
                if end.kind != "end":
                    raise self._error(f"expected end; found {end}")
        del self._variables[known:]
        self._depth -= 1
        return branch

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"nested deeper than {_MAX_DEPTH} levels")

    def _else_branch(self, kind: str, following: Item) -> ListNode:
        """`else if` under an if, `else with` under a with; its end is the end of both."""
        if following.text != kind or kind == "range":
            self._next_non_space()
            raise self._unexpected(following, "input")
        self._next_non_space()
        nested = ListNode(following.position)
        nested.nodes.append(self._branch(following.position, kind))
        return nested

    def _item_list(self) -> tuple[ListNode, _EndNode]:
        nodes = ListNode(self._peek_non_space().position)
        while self._peek_non_space().kind != _EOF:
            node = self._text_or_action()
            if isinstance(node, _EndNode):
                return nodes, node
            nodes.nodes.append(node)
        self._peek_non_space()
        raise self._error("unexpected EOF")

    # Pipelines

    def _pipeline(self, context: str, end: str) -> PipeNode:
        pipe = PipeNode(self._peek_non_space().position)
        pipe.is_range = context == "range"
        self._declarations(pipe, context)
        while True:
            item = self._next_non_space()
            if item.kind == end:
                self._check(pipe, context)
                return pipe
            if item.kind not in _OPERAND_KINDS:
                raise self._unexpected(item, context)
            self._backup()
            pipe.commands.append(self._command())

    def _declarations(self, pipe: PipeNode, context: str) -> None:
        """`$x :=`, `$x =`, and for range `$i, $x :=`."""
        while self._peek_non_space().kind == "variable":
            mark = self._next_item
            variable = self._next_non_space()
            following = self._peek_non_space()
            if following.kind in ("declare", "assign"):
                self._next_non_space()
                pipe.is_assign = following.kind == "assign"
                self._declare(pipe, variable)
                return
            if following.kind == "comma":
                self._next_non_space()
                self._declare(pipe, variable)
                if context == "range" and len(pipe.variables) < 2:
                    if self._peek_non_space().kind in ("variable", "right", "rparen"):
                        continue
                    raise self._error("range can only initialize variables")
                raise self._error(f"too many declarations in {context}")
            self._next_item = mark
            return

    def _declare(self, pipe: PipeNode, variable: Item) -> None:
        pipe.variables.append(VariableNode(variable.position, [variable.text]))
        self._variables.append(variable.text)

    def _check(self, pipe: PipeNode, context: str) -> None:
        if not pipe.commands:
            raise self._error(f"missing value for {context}")
        for stage, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.args[0], (LiteralNode, DotNode, NilNode)):
                raise self._error(f"non executable command in pipeline stage {stage}")

    def _command(self) -> CommandNode:
        command = CommandNode(self._peek_non_space().position)
        while True:
            self._peek_non_space_skip()
            operand = self._operand()
            if operand is not None:
                command.args.append(operand)
            item = self._next()
            if item.kind == "space":
                continue
            if item.kind in ("right", "rparen"):
                self._backup()
            elif item.kind != "pipe":
                raise self._unexpected(item, "operand")
            break
        if not command.args:
            raise self._error("empty command")
        return command

    def _peek_non_space_skip(self) -> None:
        self._next_non_space()
        self._backup()

    def _operand(self) -> Node | None:
        node = self._term()
        if node is None or self._peek().kind != "field":
            return node
        position = self._peek().position
        names = []
        while self._peek().kind == "field":
            names.append(self._next().text[1:])
        if isinstance(node, FieldNode):
            return FieldNode(position, node.names + names)
        if isinstance(node, VariableNode):
            return VariableNode(position, node.names + names)
        if isinstance(node, (LiteralNode, NilNode, DotNode)):
            raise self._error(f"unexpected . after term {quote(str(node))}")
        return ChainNode(position, node, names)

    def _term(self) -> Node | None:
        item = self._next_non_space()
        kind, position, text = item.kind, item.position, item.text
        if kind == "identifier":
            if text not in self._functions and text not in BUILTINS:
                raise self._error(f"function {quote(text)} not defined")
            return IdentifierNode(position, text)
        if kind == "dot":
            return DotNode(position)
        if kind == "nil":
            return NilNode(position)
        if kind == "variable":
            if text not in self._variables:
                raise self._error(f"undefined variable {quote(text)}")
            return VariableNode(position, [text])
        if kind == "field":
            return FieldNode(position, [text[1:]])
        if kind == "lparen":
            self._enter()
            pipe = self._pipeline("parenthesized pipeline", "rparen")
            self._depth -= 1
            return pipe
        if kind in ("bool", "char", "number", "string", "rawstring"):
            return self._literal(item)
        self._backup()
        return None

    def _literal(self, item: Item) -> LiteralNode:
        text = item.text
        value: bool | int | float | str
        if item.kind == "bool":
            value = text == "true"
        elif item.kind == "rawstring":
            value = text[1:-1].replace("\r", "")
        elif item.kind == "number":
            value = self._number(text)
        else:
            unquoted = unquote(text)
            if not unquoted and (unquoted is None or item.kind == "char"):
                raise self._error("invalid syntax")
            if item.kind == "char" and len(unquoted) != 1:
                raise self._error(f"malformed character constant: {text}")
            value = ord(unquoted) if item.kind == "char" else unquoted
        return LiteralNode(item.position, text, value)

    def _number(self, text: str) -> int | float:
        try:
            return parse_int(text, 0)
        except BuildkitError:
            pass
        try:
            value = parse_float(text)
        except BuildkitError:
            raise self._error(f"illegal number syntax: {quote(text)}") from None
        if not any(char in text for char in ".eEpP"):
            raise self._error(f"integer overflow: {quote(text)}")
        return value


_OPERAND_KINDS = frozenset(
    ("bool", "char", "number", "string", "rawstring", "dot", "nil", "field", "identifier", "variable", "lparen")
)
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 0x5C, '"': 0x22, "'": 0x27}
_ESCAPE_DIGITS = {"x": 2, "u": 4, "U": 8}


def unquote(literal: str) -> str | None:
    """The text of a quoted Go literal, None where an escape is malformed."""
    mark, text = literal[0], literal[1:-1]
    out = bytearray()
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char != "\\":
            out += char.encode("utf-8", "surrogateescape")
            continue
        name = text[position : position + 1]
        position += 1
        if name in _ESCAPES and not (name in "\"'" and name != mark):
            out.append(_ESCAPES[name])
            continue
        count, base = (_ESCAPE_DIGITS[name], 16) if name in _ESCAPE_DIGITS else (3, 8)
        start = position if base == 16 else position - 1
        digits = text[start : start + count]
        position = start + count
        allowed = "0123456789abcdefABCDEF" if base == 16 else "01234567"
        if len(digits) != count or any(digit not in allowed for digit in digits):
            return None
        code = int(digits, base)
        if name in ("u", "U"):
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                return None
            out += chr(code).encode()
        elif code > 255:
            return None
        else:
            out.append(code)
    return out.decode("utf-8", "surrogateescape")
