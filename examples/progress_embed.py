"""The progress of a build inside a tool of one's own: BuildKit's display for people, and a line for each step ended.

    python examples/progress_embed.py [ADDRESS]

Without an address the build runs in this process. The tool's own work is shown as a step of the same display.
"""

import asyncio
import sys

from pybuildkit import BuildkitError, client
from pybuildkit.client import llb
from pybuildkit.golang import context, errgroup
from pybuildkit.util.progress import FdOutput, StepCompleted, events, progresswriter

site = (
    llb.scratch()
    .file(llb.mkdir("/site", 0o755), llb.with_custom_name("[site 1/2] make a folder"))
    .file(llb.mkfile("/site/index.html", 0o644, "<h1>Hello</h1>\n"), llb.with_custom_name("[site 2/2] write a page"))
)


async def report(ctx: context.Context, statuses: progresswriter.StatusChan) -> None:
    """Print a line for each step that has ended."""
    async for event in events(ctx, statuses):
        if isinstance(event, StepCompleted):
            outcome = event.step.error or ("cached" if event.step.cached else f"{event.duration / 1e6:.1f} ms")
            sys.stdout.write(f"{event.step.name}: {outcome}\n")


async def check(step: progresswriter.SubLogger) -> None:
    """Work of the tool itself, with a part and output."""
    await step.wrap("look around", lambda: asyncio.sleep(0.01))
    step.log(1, b"all is well\n")


async def main(address: str) -> None:
    ctx = context.background()
    for_events = progresswriter.StatusChan()
    display = progresswriter.new_printer(ctx, FdOutput(2), "auto")
    sources = progresswriter.MultiWriter(progresswriter.tee(display, for_events))
    own = sources.with_prefix("tool", True)
    build = progresswriter.reset_time(sources.with_prefix("", False))

    group, ctx = errgroup.with_context(ctx)
    await group.go(lambda: report(ctx, for_events))
    await group.go(display.wait)
    connection = await client.new(ctx, address)
    try:
        await progresswriter.wrap("check the tool", progresswriter.logger(own), check)
        own.status().close()
        await connection.solve(ctx, site.marshal_sync(), client.SolveOpt(), build.status())
        await group.wait()
    finally:
        await connection.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "embedded://"))
    except BuildkitError as err:
        sys.exit(f"error: {err}")
