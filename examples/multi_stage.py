"""A tree in several stages: two stages make things, the last takes only what is wanted. Needs nothing but file ops.

python examples/multi_stage.py | pybuildctl build --output type=local,dest=out
"""

from pybuildkit.client import llb

assets = llb.scratch().file(
    llb.mkdir("/assets", 0o755)
    .mkfile("/assets/style.css", 0o644, "body { margin: 0 }\n")
    .mkfile("/assets/draft.css", 0o644, "/* not ready */\n"),
    llb.with_custom_name("[assets] write files"),
)
pages = llb.scratch().file(
    llb.mkdir("/pages/about", 0o755, llb.with_parents(True))
    .mkfile("/pages/index.html", 0o644, "<h1>Home</h1>\n")
    .mkfile("/pages/about/index.html", 0o644, "<h1>About</h1>\n"),
    llb.with_custom_name("[pages] write files"),
)
site = (
    llb.scratch()
    .dir("/srv")
    .file(llb.mkdir("www", 0o755, llb.with_parents(True)), llb.with_custom_name("[site] make /srv/www"))
    .file(
        llb.copy(pages, "/pages", "www", llb.CopyInfo(copy_dir_contents_only=True)).copy(
            assets, "/assets", "www/assets", llb.with_exclude_patterns(["draft.*"])
        ),
        llb.with_custom_name("[site] copy pages and assets"),
    )
    .file(llb.symlink("www", "/srv/current"), llb.with_custom_name("[site] link"))
)

llb.emit(site)
