"""The command as `python -m pybuildkit.cmd.buildctl`. Has no counterpart in Go."""

from pybuildkit.cmd.buildctl._main import main

main()
