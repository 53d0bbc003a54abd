"""The daemon's solver: graphs, file operations, merge and diff, the build cache."""

from fake_buildkitd.solver._copy import CopyInfo, copy
from fake_buildkitd.solver._fileop import FileActionError, solve_file_op
from fake_buildkitd.solver._graph import Edge, LoadError, Vertex, digest_of, load
from fake_buildkitd.solver._solver import CacheKeyError, Flights, JobSolver, Kept, Result, SourceFunc

__all__ = [
    "CacheKeyError",
    "CopyInfo",
    "Edge",
    "FileActionError",
    "Flights",
    "JobSolver",
    "Kept",
    "LoadError",
    "Result",
    "SourceFunc",
    "Vertex",
    "copy",
    "digest_of",
    "load",
    "solve_file_op",
]
