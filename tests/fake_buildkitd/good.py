"""Dockerfiles without mistakes, of every instruction and many forms: what daemons make of them is compared.

`NEW` are the names of those that BuildKit of 20.10 cannot read, or reads in another way.
"""

from __future__ import annotations

from tests.fake_buildkitd.dockerfiles import ARCHIVE, OUTSIDE, Case, Content

_S = "FROM scratch\n"

# The lines after FROM scratch; the name tells what they are about.
_ONE_STAGE: dict[str, str] = {
    "copy a file to the root": "COPY a.txt /\n",
    "copy a file by its absolute name": "COPY /a.txt /b\n",
    "copy with brackets": 'COPY ["a.txt", "b.txt", "/dest dir/"]\n',
    "copy to a place relative to the working directory": "WORKDIR /srv/www\nCOPY a.txt sub/\nCOPY b.txt .\nCOPY d ./\n",
    "copy a directory's content": "COPY d /d\nCOPY d/ /d2/\nCOPY d/y/ /d3\n",
    "copy a star": "COPY *.txt /t/\nCOPY d/* /d/\n",
    "copy a question mark and a class": "COPY ?.txt /q/\nCOPY [ab].txt /c/\nCOPY [^b].txt /n/\n",
    "copy a wildcard in the middle": "COPY */z /m/\nCOPY d/*/z /n\n",
    "copy with a backslash before a wildcard": "COPY d\\/x /x\n",
    "copy with an owner": "COPY --chown=1000:2000 d /d\nCOPY --chown=:3 a.txt /a\nCOPY --chown=4: b.txt /b\n",
    "copy with an owner of a variable": "ARG owner=12:34\nCOPY --chown=$owner a.txt /a\n",
    "copy with a mode": "COPY --chmod=700 a.txt /a\nCOPY --chmod=0444 d /d\n",
    "copy with a mode of letters": "COPY --chmod=u=rwX,go=rX d /d\nCOPY --chmod=a-w s /s\nCOPY --chmod=go= a.txt /a\n",
    "copy with a mode of a variable": "ARG mode=640\nCOPY --chmod=$mode a.txt /a\n",
    "copy with exclusions": (
        "COPY --exclude=y d /d\nCOPY --exclude=*.txt --exclude=d/y . /all\nCOPY --exclude=**/z d /e\n"
    ),
    "copy with an exclusion and its exception": "COPY --exclude=d/* --exclude=!d/x . /all\n",
    "copy with parents": "COPY --parents d/y/z /p/\nCOPY --parents d/*/z a.txt /q/\nCOPY --parents d/./y/z /r/\n",
    "copy with parents and an exclusion": "COPY --parents --exclude=**/x d /p/\n",
    "copy with a link": "COPY --link a.txt /l/a\nCOPY --link=false b.txt /l/b\nCOPY --link --chmod=600 d /l/d\n",
    "copy over what is there": "COPY a.txt /x\nCOPY b.txt /x\nCOPY d /y\nCOPY d/y /y\n",
    "copy links as links": "COPY . /c\nCOPY d/up /u\n",
    "copy hard links": "COPY d/hard1 d/hard2 /h/\nCOPY d /d/\n",
    "copy a wildcard that matches links": "COPY l* dl* /l/\nCOPY d/u? /u\n",
    "copy a directory with a link to nothing": "COPY many /m/\nCOPY many* /n/\n",
    "copy an empty directory": "COPY e /e\nCOPY e /f/\n",
    "copy names with spaces": 'COPY ["sp ace", "/n m/"]\nADD ["sp ace", "d", "/a b/"]\n',
    "add a file": "ADD a.txt b.txt /a/\nADD --chown=5:6 --chmod=751 d /d\n",
    "add an archive": "ADD arc.tar /t/\nADD arc.tgz /g\nADD arc.tar arc.tgz /both/\n",
    "add an archive with an owner": "ADD --chown=9:9 arc.tar /t/\n",
    "add an archive that stays one": "ADD --unpack=false arc.tgz /t/\nCOPY arc.tgz /c/\n",
    "copy an archive that is unpacked": "ADD --unpack=true arc.tgz /t/\n",
    "add an archive that leads out": "ADD out.tar /t/\nADD out.tar /\nADD out.tar /t/in/\n",
    "add with an exclusion": "ADD --exclude=*.tar *.t* /t/\n",
    "add with a link": "ADD --link arc.tar /t/\n",
    "working directories": "WORKDIR /a\nWORKDIR b\nWORKDIR c/../d\nCOPY a.txt .\nWORKDIR /\nCOPY a.txt r\n",
    "a relative working directory": "WORKDIR a/b\nCOPY a.txt ./\n",
    "a working directory of variables": "ENV base=/opt name=app\nWORKDIR $base/${name}\nCOPY a.txt .\n",
    "a working directory through a link": "COPY dl d /r/\nWORKDIR /r/dl/w\nCOPY a.txt .\n",
    "labels": 'LABEL a=b\nLABEL "c d"="e f" g=\'h "i"\' j=k\\ l\nLABEL m="n\\\n o" p=\nLABEL q="r=s"\n',
    "labels of variables": 'ENV v="x y"\nLABEL a=$v b="${v}" c=\'$v\' d=\\$v e="\\$v" f=${v:-z}${w:-z}\n',
    "an old label": "LABEL a b c\n",
    "environment": "ENV a=1 b=\"2 3\" c='4 5' d=6\\ 7\nENV a=$a$b e=$a\nENV f $a b  c\nLABEL all=$a-$b-$c-$d-$e-$f\n",
    "environment that refers to itself": "ENV PATH=/x:$PATH\nENV PATH=$PATH:/y\n",
    "commands": 'CMD ["a", "b c"]\nENTRYPOINT ["/x", "--y"]\n',
    "commands of the shell": 'ENTRYPOINT exec a  b\nCMD c $d "e"\n',
    "a command that an entrypoint takes away": 'CMD ["a"]\nENTRYPOINT ["b"]\n',
    "commands of another shell": 'SHELL ["/bin/bash", "-euo", "pipefail", "-c"]\nCMD a | b\nENTRYPOINT c\n',
    "no commands": "CMD []\nENTRYPOINT []\n",
    "a health check": "HEALTHCHECK --interval=5m --timeout=3s --start-period=1s --retries=2 CMD a || b\n",
    "a health check without a shell": 'HEALTHCHECK --start-interval=2s CMD ["a", "b"]\n',
    "no health check": "HEALTHCHECK CMD a\nHEALTHCHECK NONE\n",
    "ports": "EXPOSE 80\nEXPOSE 81/udp 82-84 85/tcp\nARG p=90\nEXPOSE $p ${p}1/udp\n",
    "a user": "USER 1000\nUSER app:grp\nARG u=last\nUSER $u\n",
    "volumes": 'VOLUME /a /b\nVOLUME ["/c d", "/e"]\nARG v=/f\nVOLUME $v\n',
    "a stop signal": "STOPSIGNAL SIGKILL\nSTOPSIGNAL 9\n",
    "a stop signal of a variable": "ARG s=SIGUSR1\nSTOPSIGNAL $s\n",
    "a maintainer": "MAINTAINER some one <a@b.c>\n",
    "triggers": 'ONBUILD COPY a.txt /\nONBUILD LABEL a=b\nONBUILD CMD ["a"]\n',
    "arguments": "ARG a=1\nARG b=$a$a c\nARG d=${c:-none}\nLABEL a=$a b=$b c=$c d=$d\nCOPY a.txt /$b\n",
    "an argument and a variable": "ARG a=1\nENV a=2\nLABEL one=$a\nARG a=3\nLABEL two=$a\n",
    "expansions": (
        "ENV e= s=set\nLABEL a=${e:-d} b=${e-d} c=${u:-d} d=${u-d} e=${s:+d} f=${s+d} g=${e:+d} h=${e+d} i=${s?x}\n"
    ),
    "expansions of patterns": (
        "ENV p=one/two/three.tar.gz\n"
        "LABEL a=${p#*/} b=${p##*/} c=${p%.*} d=${p%%.*} e=${p/two/2} f=${p//t/T} g=${p/#one/1} h=${p/%gz/xz}\n"
    ),
    "expansions in each other": 'ENV a=A\nLABEL x=${n:-${m:-$a}} y=${a:+[${a}]} z="${n:-a b}"\n',
    "quotes": 'ENV a=\'$x\' b="$x" c="a\'b" d=\'a"b\' e=a"b c"d f="\\"" g=\\\'\n',
    "upper and lower case": "CoPy a.txt /\nenv a=b\nWorkDir /w\n",
    "continued lines": "COPY a.txt \\\n  b.txt \\\n  # a comment between\n\\\n  /d/\nENV a=1 \\\n    b=2\n",
    "spaces and tabs": "  COPY\ta.txt   b.txt\t/d/  \n\tENV  a=1\t b=2 \n",
    "a heredoc": "COPY <<EOF /f\nhello $x\n  two\nEOF\n",
    "a heredoc with variables": "ENV x=world\nCOPY <<EOF /f\nhello ${x} \\$x \\\\ \"$x\" '$x'\nEOF\n",
    "a heredoc as it is": "ENV x=world\nCOPY <<'EOF' /f\nhello ${x} \\$x\nEOF\nCOPY <<\"END\" /g\n$x\nEND\n",
    "a heredoc without its tabs": "COPY <<-EOF /f\n\tone\n\t\ttwo\n three\n\tEOF\n",
    "several heredocs": "COPY <<one <<two a.txt /d/\n1\none\n2\ntwo\n",
    "a heredoc with owner and mode": "COPY --chown=3:4 --chmod=755 <<run.sh /bin/\n#!/bin/sh\nrun.sh\n",
    "an empty heredoc": "COPY <<EOF /f\nEOF\nADD <<EOF /g\n\nEOF\n",
}

_WHOLE: dict[str, str] = {
    "nothing but a base": "FROM scratch\n",
    "no end of the last line": "FROM scratch\nCOPY a.txt /",
    "lines that end as on Windows": "FROM scratch\r\nCOPY a.txt \\\r\n  b.txt /d/\r\nENV a=b\r\n",
    "a mark at the beginning": "\ufeffFROM scratch\nCOPY a.txt /\n",
    "comments and empty lines": "# one\n\n  # two\nFROM scratch\n\n# three\nCOPY a.txt /\n# four",
    "another escape": "# escape=`\nFROM scratch\nCOPY a.txt `\n  b.txt /d/\nENV a=x\\y b=`$c\nLABEL a=$a b=$b\n",
    "directives": "# escape=\\\n# check=skip=all\nFROM scratch\nCOPY a.txt \\\n /\n",
    "a base of an argument": "ARG base=scratch\nFROM $base\nCOPY a.txt /\n",
    "arguments before and in stages": (
        "ARG v=1\nARG w=$v.0\nFROM scratch AS one\nARG v\nARG w=mine\nLABEL v=$v w=$w\nFROM scratch\n"
        "ARG w\nLABEL v=$v w=$w\n"
    ),
    "platforms": (
        "FROM --platform=$BUILDPLATFORM scratch AS b\nARG BUILDPLATFORM BUILDOS BUILDARCH\n"
        "COPY a.txt /$BUILDOS-$BUILDARCH\n"
        "FROM scratch\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT\nCOPY --from=b / /$TARGETARCH/\n"
        "LABEL t=$TARGETPLATFORM v=$TARGETVARIANT\n"
    ),
    "another platform": "FROM --platform=linux/arm64 scratch\nCOPY a.txt /\n",
    "stages by name and number": (
        "FROM scratch AS one\nCOPY a.txt /1\nFROM scratch AS two\nCOPY --from=one /1 /2\nCOPY --from=0 /1 /3\n"
        "FROM two\nCOPY --from=1 /2 /4\nCOPY --from=ONE / /5/\n"
    ),
    "a stage on a stage": (
        "FROM scratch AS one\nENV a=1\nWORKDIR /w\nCMD x\nLABEL l=1\nFROM one\nENV b=$a\nCOPY a.txt .\n"
    ),
    "stages that go apart and together": (
        "FROM scratch AS base\nCOPY a.txt /\nFROM base AS l\nCOPY b.txt /l\nFROM base AS r\nCOPY d /r\n"
        "FROM scratch\nCOPY --from=l / /l/\nCOPY --from=r / /r/\nCOPY --from=l --chmod=600 /l /a.txt /both/\n"
    ),
    "a stage that is not needed": "FROM scratch AS no\nCOPY missing /\nFROM scratch\nCOPY a.txt /\n",
    "a copy of a stage with links": (
        "FROM scratch AS a\nCOPY . /c\nFROM scratch\nCOPY --from=a /c/dl/x /c/ln /x/\nCOPY --from=a /c/d /d\n"
    ),
    "a copy of a stage with parents": (
        "FROM scratch AS a\nCOPY d /q/d\nFROM scratch\nCOPY --from=a --parents /q/./d/y /\n"
    ),
    "a copy of a stage with wildcards": "FROM scratch AS a\nCOPY . /\nFROM scratch\nCOPY --from=a /*.txt /d/? /t/\n",
    "triggers of a stage": 'FROM scratch AS a\nONBUILD COPY a.txt /on\nONBUILD LABEL on="yes"\nFROM a\nCOPY b.txt /\n',
}

_IGNORED: dict[str, tuple[str, dict[str, Content], dict[str, str]]] = {
    "ignored: a name": ("COPY . /\n", {".dockerignore": "a.txt\nd/y\n"}, {}),
    "ignored: wildcards": ("COPY . /\n", {".dockerignore": "*.txt\n**/x\nd/?\n"}, {}),
    "ignored: exceptions": ("COPY . /\n", {".dockerignore": "*\n!a.txt\n!d/y\nd/y/z\n"}, {}),
    "ignored: comments and spaces": (
        "COPY . /\n",
        {".dockerignore": "# no\n\n  a.txt  \n/b.txt\n./d/x\n d/../s \n"},
        {},
    ),
    "ignored: itself": ("COPY . /\n", {".dockerignore": ".dockerignore\nDockerfile\n"}, {}),
    "ignored: by the Dockerfile's own file": (
        "COPY . /\n",
        {".dockerignore": "a.txt\n", "Dockerfile.dockerignore": "b.txt\n"},
        {},
    ),
    "ignored: a name of another Dockerfile": (
        "COPY a.txt /wrong\n",
        {"sub/x.df": "FROM scratch\nCOPY . /\n", "sub/x.df.dockerignore": "d\nsub\n", ".dockerignore": "a.txt\n"},
        {"filename": "sub/x.df"},
    ),
}

_OPTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "option: target": ("FROM scratch AS a\nCOPY a.txt /\nFROM scratch\nCOPY b.txt /\n", {"target": "a"}),
    "option: build arguments": (
        "ARG base\nFROM $base\nARG x=1\nARG y\nARG z=3\nLABEL x=$x y=$y z=$z\n",
        {"build-arg:base": "scratch", "build-arg:x": "X Y", "build-arg:y": "", "build-arg:unused": "u"},
    ),
    "option: labels": (_S + "LABEL a=1 b=2\n", {"label:a": "one", "label:c": "three"}),
    "option: no cache": (_S + "COPY a.txt /\n", {"no-cache": ""}),
    "option: platform": (_S + "ARG TARGETARCH\nCOPY a.txt /$TARGETARCH\n", {"platform": "linux/arm64"}),
    "option: limits that only RUN needs": (
        _S + "COPY a.txt /\n",
        {"add-hosts": "a=1.2.3.4", "ulimit": "nofile=5:6", "shm-size": "65536", "force-network-mode": "none"},
    ),
    "option: a platform of Windows": (
        _S + "WORKDIR c:\\\\app\nCOPY a.txt C:/d/\nCOPY d/x sub/\nCOPY b.txt <<f .\nhi\nf\nCMD a\nENTRYPOINT b\n",
        {"platform": "windows/amd64"},
    ),
    "option: a platform with a version": (
        _S + "COPY a.txt /\nWORKDIR x\n",
        {"platform": "windows(10.0.17763.1)/amd64"},
    ),
    "option: a proxy": (_S + "COPY a.txt /\n", {"build-arg:HTTP_PROXY": "http://p:1"}),
    "option: the time": (_S + "COPY a.txt /\n", {"build-arg:SOURCE_DATE_EPOCH": "1000000000"}),
}

_EXTRA: dict[str, Content] = {
    "arc.tar": ("tar", ARCHIVE),
    "arc.tgz": ("tar:gz", ARCHIVE),
    "out.tar": ("tar", OUTSIDE),
    "many/dangling": ("l", "nope"),
    "sp ace": "s",
}


def _cases() -> list[Case]:
    made = [Case(name, _S + lines) for name, lines in _ONE_STAGE.items()]
    made += [Case(name, text) for name, text in _WHOLE.items()]
    made = [
        Case(case.name, case.text, {key: value for key, value in _EXTRA.items() if key[:4] in (case.text or "")})
        for case in made
    ]
    made += [Case(name, _S + lines, extra, options) for name, (lines, extra, options) in _IGNORED.items()]
    made += [Case(name, text, options=options) for name, (text, options) in _OPTIONS.items()]
    return made


GOOD = _cases()
NEW = frozenset(
    {
        # Flags of later years.
        "copy with exclusions",
        "copy with an exclusion and its exception",
        "copy with parents",
        "copy with parents and an exclusion",
        "copy with a link",
        "add an archive that stays one",
        "copy an archive that is unpacked",
        "add with an exclusion",
        "add with a link",
        "a health check without a shell",
        "a copy of a stage with parents",
        # Modes are numbers, of files alone, and no variables; an owner is not that of an archive's files.
        "copy with a mode",
        "copy with a mode of letters",
        "copy with a mode of a variable",
        "add a file",
        "add an archive with an owner",
        "add an archive that leads out",
        "stages that go apart and together",
        # Expansions with anything but `:`, and heredocs.
        "expansions",
        "expansions of patterns",
        "a heredoc",
        "a heredoc with variables",
        "a heredoc as it is",
        "a heredoc without its tabs",
        "several heredocs",
        "a heredoc with owner and mode",
        "an empty heredoc",
        # Steps that triggers add are not counted; times are not clamped.
        "triggers of a stage",
        "option: the time",
        # Drives and versions of Windows.
        "option: a platform of Windows",
        "option: a platform with a version",
    }
)
