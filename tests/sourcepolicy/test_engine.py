"""Source policies. The tables are those of engine_test.go, matcher_test.go and mutate_test.go."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from pybuildkit.golang.errors import BuildkitError, find
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.sourcepolicy import SourceDeniedError, TooManyOpsError, new_engine
from pybuildkit.sourcepolicy.pb import policy_pb2 as spb
from pybuildkit.util import wildcard


def rule(
    action: spb.PolicyAction.ValueType,
    identifier: str,
    to: str | None = None,
    *,
    kind: spb.MatchType.ValueType = spb.WILDCARD,
    attrs: dict[str, str] | None = None,
    constraints: Sequence[spb.AttrConstraint] = (),
) -> spb.Rule:
    made = spb.Rule(
        action=action, selector=spb.Selector(identifier=identifier, match_type=kind, constraints=constraints)
    )
    if to is not None or attrs is not None:
        made.updates.CopyFrom(spb.Update(identifier=to or "", attrs=attrs))
    return made


BUSYBOX = "docker-image://docker.io/library/busybox:1.34.1-uclibc"
PIN = "docker-image://docker.io/library/busybox@sha256:" + "3" * 64
URL = "https://example.com/foo"


@pytest.mark.parametrize(
    ("source", "rules", "result"),
    [
        (BUSYBOX, [], BUSYBOX),
        (BUSYBOX, [rule(spb.DENY, "docker-image://docker.io/library/alpine:*")], BUSYBOX),
        (BUSYBOX, [rule(spb.DENY, "docker-image://docker.io/library/busybox:*")], None),
        (BUSYBOX, [rule(spb.DENY, "docker-image://*"), rule(spb.ALLOW, BUSYBOX)], BUSYBOX),
        (BUSYBOX, [rule(spb.ALLOW, BUSYBOX), rule(spb.DENY, "docker-image://*")], None),
        (BUSYBOX, [rule(spb.CONVERT, BUSYBOX, PIN)], PIN),
        (BUSYBOX, [rule(spb.CONVERT, BUSYBOX, PIN), rule(spb.DENY, PIN)], None),
        (
            BUSYBOX,
            [rule(spb.CONVERT, "docker-image://*busybox:*", "docker-image://${1}alpine:$2")],
            BUSYBOX.replace("busybox", "alpine"),
        ),
        (
            BUSYBOX,
            [rule(spb.CONVERT, r"^.*/(\w+):.*$", "docker-image://m/${1}", kind=spb.REGEX)],
            "docker-image://m/busybox",
        ),
        (BUSYBOX, [rule(spb.DENY, r"busybox", kind=spb.EXACT)], BUSYBOX),
        (BUSYBOX, [rule(spb.DENY, r"busy(box)?:1", kind=spb.REGEX)], None),
        (URL, [rule(spb.DENY, URL, constraints=[spb.AttrConstraint(key="k", value="v")])], None),
        (URL, [rule(spb.DENY, URL, constraints=[spb.AttrConstraint(key="k", value="x")])], URL),
        (URL, [rule(spb.DENY, URL, constraints=[spb.AttrConstraint(key="k", value="v", condition=spb.NOTEQUAL)])], URL),
        (
            URL,
            [rule(spb.DENY, URL, constraints=[spb.AttrConstraint(key="k", value="^.$", condition=spb.MATCHES)])],
            None,
        ),
    ],
)
def test_engine_evaluate(source: str, rules: list[spb.Rule], result: str | None) -> None:
    op = ops_pb2.SourceOp(identifier=source, attrs={"k": "v"})
    engine = new_engine([spb.Policy(rules=rules)])
    if result is None:
        with pytest.raises(SourceDeniedError, match="denied by policy: source denied by policy"):
            engine.evaluate(op)
        return
    assert engine.evaluate(op) == (result != source)
    assert op.identifier == result


def test_convert_sets_attributes() -> None:
    op = ops_pb2.SourceOp(identifier=URL)
    engine = new_engine([spb.Policy(rules=[rule(spb.CONVERT, URL, attrs={"http.checksum": "sha256:1"})])])
    assert engine.evaluate(op)
    assert dict(op.attrs) == {"http.checksum": "sha256:1"}
    assert op.identifier == URL
    assert not engine.evaluate(op)


def test_convert_loop_ends() -> None:
    rules = [
        rule(spb.CONVERT, "docker-image://a", "docker-image://b"),
        rule(spb.CONVERT, "docker-image://b", "docker-image://a"),
    ]
    op = ops_pb2.SourceOp(identifier="docker-image://a")
    with pytest.raises(TooManyOpsError, match="too many mutations on a single source: too many operations"):
        new_engine([spb.Policy(rules=rules)]).evaluate(op)


def test_the_first_policy_that_denies_counts() -> None:
    engine = new_engine([spb.Policy(rules=[rule(spb.DENY, URL)]), spb.Policy(rules=[rule(spb.ALLOW, URL)])])
    with pytest.raises(SourceDeniedError):
        engine.evaluate(ops_pb2.SourceOp(identifier=URL))


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (rule(spb.CONVERT, URL), "error mutating source policy: missing destination for convert rule"),
        (rule(spb.DENY, "a**b"), 'error matching source policy: failed to translate wildcard "a**b" to regexp: inval'),
        (rule(spb.DENY, "a(", kind=spb.REGEX), "error matching source policy: error parsing regexp: "),
    ],
)
def test_broken_rules_are_named(broken: spb.Rule, text: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        new_engine([spb.Policy(rules=[broken])]).evaluate(ops_pb2.SourceOp(identifier=URL))
    assert str(caught.value).startswith(text)
    assert find(caught.value, SourceDeniedError) is None


def test_nothing_to_evaluate() -> None:
    assert not new_engine([]).evaluate(ops_pb2.SourceOp(identifier=URL))
    assert not new_engine([spb.Policy(rules=[rule(spb.DENY, "*")])]).evaluate(None)


@pytest.mark.parametrize(
    ("pattern", "text", "template", "result"),
    [
        ("docker.io/library/*:*", "docker.io/library/golang:1.19", "${1}:$2-alpine", "golang:1.19-alpine"),
        ("a*", "abc", "$1$1x$$", "bc$"),
        ("a*", "abc", "${9}-$x-", "--"),
        ("a.c", "abc", "", None),
        ("*", "", "<$1>", "<>"),
    ],
)
def test_wildcard(pattern: str, text: str, template: str, result: str | None) -> None:
    match = wildcard.new(pattern).match(text)
    assert (match.format(template) if match is not None else None) == result


def test_expand_takes_the_longest_name() -> None:
    match = re.match(r"(?P<name>.)(.)", "ab")
    assert match is not None
    assert wildcard.expand("$name$2 $nameless $", match) == "ab  $"
