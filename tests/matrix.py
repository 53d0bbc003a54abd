"""The tables of docs/compatibility.md, and on which daemons the tests that they name can run.

Where a test runs is read from its source: it runs on every daemon if it asks for the fixture `addr`, on real ones if it
asks for `real_addr`, less those for which a `need`, a `can_run` or a look at `kind` skips it. One that asks for neither
brings its own daemon.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.conformance.services import missing

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("embedded", "docker", "buildkitd")
REFERENCE = re.compile(r"`(?:(?P<file>[\w/]+\.py))?(?:::)?(?P<name>test_\w+)?`|`(?P<folder>tests/[\w/]+)`")
VECTORS = re.compile(r"vectors `(\w+)`(?: and `(\w+)`)?")


@dataclass(frozen=True)
class Row:
    """A line of a table: its cells, the last of which names tests."""

    line: int
    cells: tuple[str, ...]

    def references(self) -> Iterator[tuple[Path, str]]:
        """The files, and tests in them ("" for all), that the row names."""
        file: Path | None = None
        for found in REFERENCE.finditer(self.cells[-1]):
            if found["folder"]:
                yield ROOT / found["folder"], ""
                continue
            if found["file"]:
                where = "" if found["file"].startswith("tests/") else "tests/conformance/"
                file = ROOT / f"{where}{found['file']}"
            if file is not None and (found["file"] or found["name"]):
                yield file, found["name"] or ""

    def vectors(self) -> list[str]:
        """The areas of golden cases that the row names."""
        return [name for found in VECTORS.findall(self.cells[-1]) for name in found if name]


def rows(heading: str) -> list[Row]:
    """The rows of the tables whose first column has this heading."""
    found: list[Row] = []
    inside = False
    for number, line in enumerate((ROOT / "docs/compatibility.md").read_text().splitlines(), 1):
        cells = tuple(cell.strip() for cell in line.strip().strip("|").split(" | "))
        if not line.startswith("|"):
            inside = False
        elif cells[0] == heading:
            inside = True
        elif inside and not line.startswith("|---"):
            found.append(Row(number, cells))
    return found


@dataclass
class Reach:
    """Where a test runs: `kinds` it is offered to, `never` and `perhaps` those where it skips always or in part."""

    kinds: set[str] = field(default_factory=set)
    never: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)

    def runs(self, kind: str) -> bool:
        """Whether it, or a case of it, runs there."""
        return kind in self.kinds - self.never

    def runs_whole(self, kind: str) -> bool:
        """Whether nothing of it is skipped there."""
        return kind in self.kinds - self.never - self.perhaps


Functions = dict[str, "ast.FunctionDef | ast.AsyncFunctionDef"]


@cache
def functions(path: Path) -> Functions:
    """The functions of a file by name, those of classes too."""
    tree = ast.parse(path.read_text())
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def reach(path: Path, name: str) -> Reach:
    """Where a test runs."""
    found = Reach()
    known = functions(path)
    fixtures, helpers, seen = [name], list[str](), set[str]()
    while fixtures or helpers:
        is_fixture = bool(fixtures)
        function = known.get((fixtures or helpers).pop())
        if function is None or function.name in seen:
            continue
        seen.add(function.name)
        if is_fixture:  # or the test itself
            arguments = {each.arg for each in function.args.args}
            found.kinds |= set(KINDS) if "addr" in arguments else set()
            found.kinds |= {"docker", "buildkitd"} if "real_addr" in arguments else set()
            fixtures += sorted(arguments)
        for statement in function.body:
            _skips(statement, found)
        calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
        helpers += [call.id for call in calls if isinstance(call, ast.Name)]
    return found


def _skips(statement: ast.stmt, found: Reach) -> None:
    """Note the daemons for which a statement of a test's body skips it; one within another does so perhaps."""
    for node in ast.walk(statement):
        if isinstance(node, ast.If) and any("pytest.skip(" in ast.unparse(each) for each in node.body):
            lacking = _asked_for(ast.unparse(node.test))
            whole = node is statement and bool(lacking)
            (found.never if whole else found.perhaps).update(lacking or KINDS)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "need":
            features = [each.value for each in node.args[1:] if isinstance(each, ast.Constant)]
            lacking = {kind for kind in KINDS if any(missing(kind, str(each)) for each in features)}
            known = len(features) == len(node.args) - 1
            whole = known and isinstance(statement, ast.Expr)
            (found.never if whole else found.perhaps).update(lacking if known else KINDS)


def _asked_for(test: str) -> set[str]:
    """The daemons for which a condition holds; none where that is not to be seen."""
    if " and " in test or " or " in test:
        return set()
    if "can_run(" in test:
        return {"embedded"}
    if found := re.fullmatch(r"kind\(\w+\) (==|!=) '(\w+)'", test):
        return {found[2]} if found[1] == "==" else set(KINDS) - {found[2]}
    if found := re.fullmatch(r"\w+\.startswith\('(\w+):?(?://)?'\)", test):
        return {found[1]}
    return set()
