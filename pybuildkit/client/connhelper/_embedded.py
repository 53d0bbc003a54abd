"""`embedded://[/STATE]`: the daemon of this package, in this process.

Ours; BuildKit has no such address. The path names the daemon's state folder; without one it is
`$XDG_CACHE_HOME/pybuildkit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

if TYPE_CHECKING:
    from pybuildkit.client._dial import Dialer
    from pybuildkit.golang.url import URL


def helper(parsed: URL) -> Dialer:
    """The dialer of such an address.

    Raises:
        BuildkitError: for an address with a host or a query.
    """
    if parsed.host or parsed.raw_query or parsed.opaque:
        shown = quote(parsed.host or parsed.raw_query or parsed.opaque)
        raise BuildkitError(f"embedded:// takes a path only (embedded:///path/of/state), got {shown}")
    from fake_buildkitd.embedded import dialer

    return dialer(parsed.path)
