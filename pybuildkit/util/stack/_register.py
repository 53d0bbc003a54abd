"""Makes remote stacks known to grpcerrors; imported when the first `stack.` detail arrives.

Mirrors what init functions of util/stack do, v0.32.2.
"""

from pybuildkit.util.grpcerrors import register
from pybuildkit.util.stack._stack import StackError
from pybuildkit.util.stack.stack_pb2 import Stack

register("stack.Stack+json", lambda: (Stack, StackError))
