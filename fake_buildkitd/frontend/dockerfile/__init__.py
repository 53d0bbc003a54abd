"""The Dockerfile frontend: from the text of a Dockerfile to a build graph."""

from fake_buildkitd.frontend.dockerfile._builder import build
from fake_buildkitd.frontend.dockerfile._convert import Converted, Converter, ConvertOpt, convert
from fake_buildkitd.frontend.dockerfile._parser import Dockerfile, Node, parse
from fake_buildkitd.frontend.dockerfile._shell import Lex, ShellError

__all__ = [
    "ConvertOpt",
    "Converted",
    "Converter",
    "Dockerfile",
    "Lex",
    "Node",
    "ShellError",
    "build",
    "convert",
    "parse",
]
