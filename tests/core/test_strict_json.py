"""Reading JSON bodies: what is refused, how it is named, how long it takes."""

import contextlib
import time

import pytest

from genpulse.core.strict_json import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse_json
from genpulse.errors import RequestError

REFUSED = [
    (b"", 422, "body"),
    (b"null", 422, "body"),
    (b"[]", 422, "body"),
    (b'"x"', 422, "body"),
    (b"{", 400, None),
    (b"{'a': 1}", 400, None),
    (b'{"a": 1,}', 400, None),
    (b'{"a": "\n"}', 400, None),
    (b"\xef\xbb\xbf{}", 400, None),
    ('{"a": 1}'.encode("utf-16"), 400, None),
    ('{"a": 1}'.encode("utf-16-le"), 400, None),
    (b'{"a": "\xe9"}', 400, None),
    (b'{"a": "\xed\xa0\x80"}', 400, None),
    (b'{"model": 1, "model": 2}', 400, "model"),
    (b'{"params": {"a": [{"b": 1, "b": 1}]}}', 400, "params.a.0.b"),
    (b'{"params": {"width": NaN}}', 422, "params.width"),
    (b'{"params": {"width": [1, -Infinity]}}', 422, "params.width.1"),
    (b'{"params": {"width": 1e999}}', 422, "params.width"),
    (b'{"a": "\\u0000"}', 422, "a"),
    (b'{"a": {"b\\u0000": 1}}', 422, "a"),
    (b'{"a": "\\ud800"}', 422, "a"),
    (b'{"\\udfff": 1}', 422, "body"),
    (b'{"a": %d}' % (2**53 + 1), 422, "a"),
    (b'{"a": %d}' % (-(2**53) - 1), 422, "a"),
    (b'{"a": ' + b"9" * 4_000 + b"}", 422, "a"),
    (b'{"a": ' + b"9" * 100_000 + b"}", 422, "a"),
    (b'{"params": {"seed": %d}}' % (2**63), 422, "params.seed"),
    (b'{"params": {"workflow": {"seed": %d}}}' % (2**64), 422, "params.workflow.seed"),
    (b'{"params": {"workflows": {"seed": %d}}}' % (2**63), 422, "params.workflows.seed"),
    (b"[" * 100_000, 400, None),
    (b'{"a":' * 990 + b"1" + b"}" * 990, 400, None),
    (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), 400, None),
    (b'{"a":[' + b"1," * MAX_VALUES + b"1]}", 422, "body"),
    (b"{" + b",".join(b'"%d":1' % i for i in range(90_000)) + b"}", 422, "body"),
    (b'{"' + b"k" * 65 + b'": NaN}', 422, "(key)"),
    (b'{"a\\nb": NaN}', 422, "(key)"),
]


@pytest.mark.parametrize(("body", "status", "field"), REFUSED, ids=[str(case[0][:30]) for case in REFUSED])
def test_refused(body: bytes, status: int, field: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        parse_json(body)
    error = caught.value
    assert (error.status, error.code) == (status, "invalid_request")
    assert ([entry.field for entry in error.fields] or [None]) == [field]


ACCEPTED = [
    (b"{}", {}),
    (b' {"a": [1, 2.5, true, null, "\\u00e9\\ud83d\\ude00"]} ', {"a": [1, 2.5, True, None, "é😀"]}),
    (b'{"a": %d, "b": %d}' % (2**53, -(2**53)), {"a": 2**53, "b": -(2**53)}),
    (b'{"params": {"workflow": {"3": [%d]}}}' % (2**64 - 1), {"params": {"workflow": {"3": [2**64 - 1]}}}),
    (b'{"a": "' + b",[{" * 30_000 + b'"}', {"a": ",[{" * 30_000}),
]


@pytest.mark.parametrize(("body", "value"), ACCEPTED)
def test_accepted(body: bytes, value: object) -> None:
    assert parse_json(body) == value


def test_the_limits_themselves_are_allowed() -> None:
    assert len(parse_json(b'{"a":[' + b"1," * (MAX_VALUES - 2) + b"1]}")["a"]) == MAX_VALUES - 1
    deepest = b'{"a":' * (MAX_DEPTH - 1) + b"{}" + b"}" * (MAX_DEPTH - 1)
    assert parse_json(deepest)


HOSTILE = {
    "brackets": b"[" * MAX_BYTES,
    "open objects": b'{"a":' * 200_000,
    "empty objects": b'{"a":[' + b"{}," * 349_000 + b"{}]}",
    "numbers": b'{"a":[' + b"1," * 524_000 + b"1]}",
    "texts": b'{"a":[' + b'"",' * 349_000 + b"1]}",
    "keys": b"{" + b",".join(b'"%d":1' % i for i in range(90_000)) + b"}",
    "commas": b"," * MAX_BYTES,
    "quotes": b'"' * MAX_BYTES,
    "unfinished escapes": b'{"a":"' + b'\\",' * 349_000,
    "escapes in a text": b'{"a":"' + b"\\u00e9" * 174_000 + b'"}',
    "commas in a text": b'{"a":"' + b"," * 1_048_000 + b'"}',
    "digits": b'{"a":' + b"9" * 1_048_000 + b"}",
    "repeated keys": b"{" + b'"a":1,' * 9_000 + b'"a":1}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_body_holds_up_the_event_loop(name: str) -> None:
    fastest = 1.0
    for _ in range(3):  # of several, because other processes share the machine
        start = time.perf_counter()
        with contextlib.suppress(RequestError):
            parse_json(HOSTILE[name])
        fastest = min(fastest, time.perf_counter() - start)
    assert len(HOSTILE[name]) <= MAX_BYTES
    assert fastest < 0.05
