"""`python -m pybuildkit.cmd.buildctl`."""

from pybuildkit.cmd.buildctl._main import main

main()
