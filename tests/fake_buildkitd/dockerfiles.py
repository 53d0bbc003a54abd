"""Dockerfiles that the double and a real daemon must agree on: name, text, context, options."""

from __future__ import annotations

from dataclasses import dataclass, field

Content = str | tuple[str, str] | tuple[str, dict[str, tuple[str, int, str]]]
"""A file's text, or a kind and what belongs to it; see `twins.make_context`."""

ARCHIVE: dict[str, tuple[str, int, str]] = {
    "d": ("d", 0o750, ""),
    "d/f": ("f", 0o640, "hello"),
    "d/l": ("l", 0o777, "f"),
    "d/h": ("h", 0o640, "d/f"),
    "imp/x": ("f", 0o600, "q"),
}

OUTSIDE: dict[str, tuple[str, int, str]] = {
    "../up": ("f", 0o644, "up"),
    "/abs/f": ("f", 0o600, "f"),
    "in/l": ("l", 0o777, "../../.."),
    "in/a": ("l", 0o777, "/abs"),
    "in/a/g": ("f", 0o640, "g"),
    "in/l/h": ("f", 0o644, "h"),
    "in/k": ("h", 0o4755, "../up"),
}
"""An archive whose names and links lead out of where it is unpacked: they do not get out."""

CONTEXT: dict[str, Content] = {
    "a.txt": "hi\n",
    "b.txt": ("f755", "b"),
    "d/x": "1",
    "d/y/z": "2",
    "d/.hid": "h",
    "ln": ("l", "a.txt"),
    "dl": ("l", "d"),
    "d/up": ("l", "../a.txt"),
    "d/hard1": "hh",
    "d/hard2": ("hard", "d/hard1"),
    "d/f": ("fifo", ""),
    "e": ("d700", ""),
    "s": ("f4755", "x"),
}


@dataclass(frozen=True)
class Case:
    """One Dockerfile; `text` is None where the context has none of this name."""

    name: str
    text: str | None
    extra: dict[str, Content] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


CASES = [
    Case(
        "copy all",
        """\
FROM scratch
COPY . /
""",
    ),
    Case(
        "copy file to new name",
        """\
FROM scratch
COPY a.txt /x/y/z
""",
    ),
    Case(
        "copy file to dir slash",
        """\
FROM scratch
COPY a.txt /x/y/
""",
    ),
    Case(
        "copy multiple",
        """\
FROM scratch
COPY a.txt b.txt d /q/
""",
    ),
    Case(
        "copy multiple no slash",
        """\
FROM scratch
COPY a.txt b.txt /q
""",
    ),
    Case(
        "copy wildcard",
        """\
FROM scratch
COPY *.txt /w/
COPY d/[xy] /w2/
COPY nomatch* /w3/
""",
    ),
    Case(
        "copy symlink follow",
        """\
FROM scratch
COPY ln /l1
COPY dl /l2
COPY dl/x /l3
""",
    ),
    Case(
        "copy chmod chown",
        """\
FROM scratch
COPY --chmod=0640 --chown=5:6 d /d
COPY --chmod=u+x,g=r,o-rwx a.txt /a
COPY --chown=7 a.txt /p/q/r
COPY --chmod=1777 d /sticky/
""",
    ),
    Case(
        "copy exclude",
        """\
FROM scratch
COPY --exclude=*.hid --exclude=y d /d
COPY --exclude=**/x . /all
""",
    ),
    Case(
        "copy parents",
        """\
FROM scratch
COPY --parents d/y/z d/x /p/
COPY --parents ./d/./y /p2/
""",
    ),
    Case(
        "copy link",
        """\
FROM scratch
COPY a.txt /
COPY --link d /d
COPY --link --chown=3:4 a.txt /d/n
""",
    ),
    Case(
        "copy missing",
        """\
FROM scratch
COPY a.txt /
COPY missing /
""",
    ),
    Case(
        "copy file over dir",
        """\
FROM scratch
COPY d /x
COPY a.txt /x
""",
    ),
    Case(
        "copy into nested symlink",
        """\
FROM scratch
COPY d/up /lnk
COPY a.txt /lnk
""",
    ),
    Case(
        "merge dirs",
        """\
FROM scratch
COPY --chmod=700 d /m
COPY d /m
COPY e /m/e
""",
    ),
    Case(
        "workdir",
        """\
FROM scratch
WORKDIR /a/b
COPY a.txt .
COPY a.txt ./c/
WORKDIR c
WORKDIR ../d
COPY a.txt x
""",
    ),
    Case(
        "workdir user",
        """\
FROM scratch
USER 10:11
WORKDIR /w
USER nobody
WORKDIR /w2
""",
    ),
    Case(
        "heredoc",
        """\
FROM scratch
ARG V=val
COPY <<A <<-'B' /h/
$V ${V}x
A
\t$V tab
B
COPY <<EOF /one
q"'$V\\
EOF
""",
    ),
    Case(
        "add tar",
        """\
FROM scratch
ADD t.tar /t/
ADD t.tgz /t2
COPY t.tar /raw/
ADD --unpack=false t.tar /n/
ADD --chown=1:2 t.tar /o/
""",
        {"t.tar": ("tar", ARCHIVE), "t.tgz": ("tar:gz", ARCHIVE)},
    ),
    Case(
        "add tar over",
        """\
FROM scratch
COPY a.txt /t/d
ADD t.tar /t/
""",
        {"t.tar": ("tar", ARCHIVE)},
    ),
    Case(
        "stages",
        """\
FROM scratch AS one
COPY a.txt /
FROM one AS two
COPY b.txt /
FROM scratch
COPY --from=two / /t/
COPY --from=0 a.txt /z
""",
    ),
    Case(
        "unused stage",
        """\
FROM scratch AS one
COPY missing /
FROM scratch
COPY a.txt /
""",
    ),
    Case(
        "target",
        """\
FROM scratch AS one
COPY a.txt /
FROM scratch AS two
COPY b.txt /
""",
        options={"target": "one"},
    ),
    Case(
        "target bad",
        """\
FROM scratch AS one
COPY a.txt /
FROM scratch AS two
COPY b.txt /
""",
        options={"target": "onee"},
    ),
    Case(
        "args",
        """\
ARG G=1
FROM scratch
ARG G
ARG X=${G}x Y
ENV E=$X-${Y:-none} F=${G:+yes}
COPY a.txt /$E/${F}
WORKDIR /${X#1}/${X%x}
""",
        options={"build-arg:Y": "why"},
    ),
    Case(
        "shell expansions",
        """\
FROM scratch
ENV V=/usr/local/lib.so.1
WORKDIR /a${V##*/}
WORKDIR /b${V%%.*}
WORKDIR /c${V%.*}
WORKDIR /d${V#*/}
WORKDIR /e${V/l/L}
WORKDIR /f${V//l/L}
WORKDIR '/g $V'
WORKDIR "/h $V"
WORKDIR /i\\$V
""",
    ),
    Case(
        "unset error",
        """\
FROM scratch
ENV A=1
WORKDIR /${B:?must be set}
""",
    ),
    Case(
        "bad subst",
        """\
FROM scratch
WORKDIR /${}
""",
    ),
    Case(
        "bad modifier",
        """\
FROM scratch
WORKDIR /${A^x}
""",
    ),
    Case(
        "unknown instr",
        """\
FROM scratch
COPPY a /
""",
    ),
    Case(
        "syntax env",
        """\
FROM scratch
ENV A
""",
    ),
    Case(
        "syntax env2",
        """\
FROM scratch
ENV A=1 B
""",
    ),
    Case("no from", "COPY a /\n"),
    Case("empty", ""),
    Case(
        "only comments",
        """\
# hi

""",
    ),
    Case("no dockerfile", None),
    Case("filename missing", "FROM scratch\n", options={"filename": "other"}),
    Case("filename", None, {"sub/Other": "FROM scratch\nCOPY a.txt /o\n"}, options={"filename": "sub/Other"}),
    Case("lowercase dockerfile", None, {"dockerfile": "FROM scratch\nCOPY a.txt /o\n"}),
    Case(
        "copy one arg",
        """\
FROM scratch
COPY a.txt
""",
    ),
    Case(
        "copy bad flag",
        """\
FROM scratch
COPY --chwn=1 a.txt /
""",
    ),
    Case(
        "copy dup flag",
        """\
FROM scratch
COPY --chown=1 --chown=2 a.txt /
""",
    ),
    Case(
        "copy bool flag",
        """\
FROM scratch
COPY --link=maybe a.txt /
""",
    ),
    Case(
        "copy bad chmod",
        """\
FROM scratch
COPY --chmod=99999 a.txt /
""",
    ),
    Case(
        "copy bad chmod2",
        """\
FROM scratch
COPY --chmod=9z a.txt /
""",
    ),
    Case(
        "copy bad chmod3",
        """\
FROM scratch
COPY --chmod=q a.txt /
""",
    ),
    Case(
        "copy from later",
        """\
FROM scratch AS a
COPY --from=b / /
FROM scratch AS b
COPY a.txt /
""",
        options={"target": "a"},
    ),
    Case(
        "copy from self idx",
        """\
FROM scratch
COPY --from=5 / /
""",
    ),
    Case(
        "cycle",
        """\
FROM scratch AS a
COPY --from=b / /
FROM scratch AS b
COPY --from=a / /
""",
    ),
    Case(
        "from var",
        """\
ARG B=scratch
FROM $B
COPY a.txt /
""",
    ),
    Case(
        "from blank",
        """\
FROM $NOPE
COPY a.txt /
""",
    ),
    Case("from bad", "FROM scratch as a b\n"),
    Case("from bad2", "FROM scratch as 9a\n"),
    Case("from bad flag", "FROM --platfrm=x scratch\n"),
    Case(
        "from platform",
        """\
FROM --platform=linux/arm64 scratch
COPY a.txt /
""",
    ),
    Case(
        "platform opt",
        """\
FROM scratch
COPY a.txt /
WORKDIR /x/$TARGETARCH
""",
        options={"platform": "linux/arm64"},
    ),
    Case(
        "multi platform",
        """\
FROM scratch
ARG TARGETARCH
COPY a.txt /x-$TARGETARCH
""",
        options={"platform": "linux/arm64,linux/amd64"},
    ),
    Case(
        "multi platform copy from",
        """\
FROM --platform=$BUILDPLATFORM scratch AS b
ARG TARGETARCH
COPY a.txt /x-$TARGETARCH
FROM scratch
COPY --from=b / /
""",
        options={"platform": "linux/arm64,linux/amd64"},
    ),
    Case("bad platform", "FROM scratch\n", options={"platform": "linux/arm64/x/y/z"}),
    Case(
        "dockerignore",
        """\
FROM scratch
COPY . /
""",
        {".dockerignore": "# c\n*.txt\n!b.txt\nd/y\n/e\n"},
    ),
    Case(
        "dockerignore named",
        """\
FROM scratch
COPY . /
""",
        {"Dockerfile.dockerignore": "d\n", ".dockerignore": "*.txt\n"},
    ),
    Case(
        "dockerignore copy ignored",
        """\
FROM scratch
COPY a.txt /
""",
        {".dockerignore": "*.txt\n"},
    ),
    Case(
        "dockerignore all",
        """\
FROM scratch
COPY . /
""",
        {".dockerignore": "*\n!d/x\n"},
    ),
    Case(
        "lint",
        """\
from scratch AS Foo
MAINTAINER me
ENV A 1
CMD echo
CMD ["x"]
ENTRYPOINT foo
ENV MY_TOKEN=1
ARG password
WORKDIR rel
LABEL a b
EXPOSE 80/TCP
COPY a.txt /
""",
    ),
    Case(
        "lint skip",
        """\
# check=skip=all
from scratch AS Foo
ENV A 1
COPY a.txt /
""",
    ),
    Case(
        "lint error",
        """\
# check=error=true
FROM scratch
ENV A 1
COPY a.txt /
""",
    ),
    Case(
        "continuation",
        """\
FROM scratch
COPY a.txt \\

  # comment
  /x\\
/y
""",
    ),
    Case(
        "escape directive",
        """\
# escape=`
FROM scratch
COPY a.txt `
 /x
WORKDIR /a`$b
""",
    ),
    Case(
        "escape bad",
        """\
# escape=x
FROM scratch
""",
    ),
    Case(
        "directive dup",
        """\
# escape=`
# escape=`
FROM scratch
""",
    ),
    Case(
        "json copy",
        """\
FROM scratch
COPY ["a.txt", "b.txt", "/js on/"]
""",
    ),
    Case(
        "json bad",
        """\
FROM scratch
COPY ["a.txt", 1]
""",
    ),
    Case(
        "heredoc unterminated",
        """\
FROM scratch
COPY <<EOF /x
abc
""",
    ),
    Case(
        "heredoc dest",
        """\
FROM scratch
COPY a.txt <<EOF
EOF
""",
    ),
    Case(
        "onbuild",
        """\
FROM scratch AS b
ONBUILD COPY a.txt /ob
ONBUILD WORKDIR /obw
FROM b
COPY b.txt /
""",
    ),
    Case(
        "onbuild bad",
        """\
FROM scratch AS b
ONBUILD ONBUILD COPY a b
""",
    ),
    Case(
        "onbuild trigger err",
        """\
FROM scratch AS b
ONBUILD COPY missing /ob
FROM b
""",
    ),
    Case(
        "meta",
        """\
FROM scratch
LABEL a=b "c d"=e
CMD ["a"]
ENTRYPOINT ["b","c"]
USER 1
EXPOSE 80 90-92/udp
VOLUME /v ["/x"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s CMD ["x"]
SHELL ["/bin/bash","-c"]
COPY a.txt /
""",
    ),
    Case(
        "bad stopsignal",
        """\
FROM scratch
STOPSIGNAL FOO
""",
    ),
    Case(
        "bad expose",
        """\
FROM scratch
EXPOSE abc
""",
    ),
    Case(
        "bad expose2",
        """\
FROM scratch
EXPOSE 99999
""",
    ),
    Case(
        "bad expose3",
        """\
FROM scratch
EXPOSE 80/foo
""",
    ),
    Case(
        "bad health",
        """\
FROM scratch
HEALTHCHECK FOO x
""",
    ),
    Case(
        "bad health2",
        """\
FROM scratch
HEALTHCHECK --interval=1us CMD x
""",
    ),
    Case(
        "bad health3",
        """\
FROM scratch
HEALTHCHECK --retries=-1 CMD x
""",
    ),
    Case(
        "bad health4",
        """\
FROM scratch
HEALTHCHECK --interval=abc CMD x
""",
    ),
    Case(
        "bad shell",
        """\
FROM scratch
SHELL foo
""",
    ),
    Case(
        "bad arg",
        """\
FROM scratch
ARG =x
""",
    ),
    Case(
        "bad volume",
        """\
FROM scratch
VOLUME [""]
""",
    ),
    Case(
        "epoch",
        """\
FROM scratch
COPY a.txt /
WORKDIR /x
""",
        options={"build-arg:SOURCE_DATE_EPOCH": "1000"},
    ),
    Case(
        "epoch bad",
        """\
FROM scratch
COPY a.txt /
WORKDIR /x
""",
        options={"build-arg:SOURCE_DATE_EPOCH": "abc"},
    ),
    Case(
        "checksum copy",
        """\
FROM scratch
ADD --checksum=sha256:aa a.txt /
""",
    ),
    Case(
        "copy url",
        """\
FROM scratch
COPY http://x/y /
""",
    ),
    Case("crlf", "FROM scratch\r\nCOPY a.txt /x\r\nWORKDIR /y\r\n"),
    Case("bom", "\ufeffFROM scratch\nCOPY a.txt /x\n"),
    Case(
        "no copy at all",
        """\
FROM scratch
LABEL a=b
""",
    ),
    Case(
        "unicode",
        """\
FROM scratch
COPY ü.txt /ö/
WORKDIR /日本
""",
        {"ü.txt": "x"},
    ),
    Case(
        "spaces",
        """\
FROM scratch
COPY ["sp ace", "/d st/"]
""",
        {"sp ace": "x"},
    ),
    Case(
        "no-cache",
        """\
FROM scratch
COPY a.txt /
""",
        options={"no-cache": ""},
    ),
    Case(
        "label opt",
        """\
FROM scratch
COPY a.txt /
""",
        options={"label:x": "y"},
    ),
    Case(
        "many stages",
        "".join(f"FROM scratch AS s{i}\nCOPY a.txt /f{i}\n" for i in range(8))
        + "FROM scratch\n"
        + "".join(f"COPY --from=s{i} / /\n" for i in range(8)),
    ),
    Case(
        "inherit env",
        """\
FROM scratch AS a
ENV P=/p
ARG Q=/q
WORKDIR /base
FROM a
COPY a.txt $P$Q/
COPY a.txt rel
""",
    ),
    Case(
        "copy root",
        """\
FROM scratch
COPY / /r/
COPY ./ /r2
COPY d/. /r3/
COPY d/ /r4
""",
    ),
    Case(
        "copy dotdot",
        """\
FROM scratch
COPY ../a.txt /r/
COPY d/../b.txt /r/
""",
    ),
    Case(
        "copy same twice",
        """\
FROM scratch
COPY a.txt a.txt /r/
""",
    ),
    Case(
        "chown name missing",
        """\
FROM scratch
COPY --chown=foo:bar a.txt /r/
""",
    ),
    Case(
        "chown passwd",
        """\
FROM scratch
COPY passwd group /etc/
COPY --chown=foo:grp a.txt /r/
COPY --chown=foo a.txt /r2/
""",
        {"passwd": "root:x:0:0::/:/\nfoo:x:50:51::/:/\n", "group": "grp:x:77:\n"},
    ),
]
