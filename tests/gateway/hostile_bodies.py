"""Bodies of `POST /task` that no sane client sends (reliability study, 3.3)."""

import json

from tests.gateway.hostile import CANARY, Hostile, http

MIB = 1 << 20
ANNOUNCED = b"Content-Length: %d"


def task(name: str, body: bytes, status: int, field: str | None = None) -> Hostile:
    return Hostile(name, http("POST", "/task", body=body), {status}, field)


def params(name: str, members: bytes, status: int, field: str | None = None) -> Hostile:
    """Beside a secret that must not come back."""
    return task(name, b'{"task_type": "tick", "params": {"secret": "%s", %s}}' % (CANARY, members), status, field)


def field(name: str, member: bytes, of: str | None = None) -> Hostile:
    """One more field in a body that is fine otherwise."""
    body = b'{"task_type": "tick", "params": {"secret": "%s"}, %s}' % (CANARY, member)
    return task(name, body, 422, of or member.split(b'"')[1].decode())


def metadata(name: str, value: object, of: str = "metadata") -> Hostile:
    return field(name, b'"metadata": %s' % json.dumps(value).encode(), of)


SCALARS = [
    params("NaN", b'"a": NaN', 422, "params.a"),
    params("Infinity", b'"a": [0, -Infinity]', 422, "params.a.1"),
    params("a number over all floats", b'"a": 1e999', 422, "params.a"),
    params("NUL in a value", b'"a": "%s\\u0000"' % CANARY, 422, "params.a"),
    params("NUL in a key", b'"%s\\u0000": 1' % CANARY, 422, "params"),
    params("a raw NUL", b'"a": "\x00"', 400),
    params("a raw line break in a text", b'"a": "\r\n"', 400),
    params("half a surrogate pair", b'"a": "%s\\ud800"' % CANARY, 422, "params.a"),
    params("the other half", b'"a": ["\\udfff\\ud800"]', 422, "params.a.0"),
    params("half a pair in a key", b'"\\ud800": 1', 422, "params"),
    params("2^53 + 1", b'"a": %d' % (2**53 + 1), 422, "params.a"),
    params("2^63", b'"a": %d' % 2**63, 422, "params.a"),
    params("-2^63 - 1", b'"a": %d' % (-(2**63) - 1), 422, "params.a"),
    params("4,000 digits", b'"a": ' + b"9" * 4_000, 422, "params.a"),
    params("a million digits", b'"a": ' + b"9" * 1_000_000, 422, "params.a"),
    params("a fraction of a million digits", b'"a": 0.' + b"9" * 1_000_000 + b', "b": NaN', 422, "params.b"),
    params("a key of 100 kB", b'"%s": NaN' % (CANARY * 9_000), 422, "params.(key)"),
    params("a seed over 2^53", b'"seed": 9007199254740993', 422, "params.seed"),
    params("a seed that is text", b'"seed": "%s"' % CANARY, 422, "params.seed"),
    params("a seed of -2", b'"seed": -2', 422, "params.seed"),
]

STRUCTURE = [
    params("repeated keys", b'"a": "%s", "a": 2' % CANARY, 400, "params.a"),
    params("repeated keys far down", b'"a": [{"b": {"c": 1, "c": 2}}]', 400, "params.a.0.b.c"),
    params("repeated keys, one of them escaped", b'"a": 1, "\\u0061": 2', 400, "params.a"),
    task("repeated top-level keys", b'{"task_type": "tick", "task_type": "%s"}' % CANARY, 400, "task_type"),
    params("990 objects deep", b'"a": ' + b'{"a":' * 990 + b"1" + b"}" * 990, 400),
    params("100 lists deep", b'"a": ' + b"[" * 100 + b"]" * 100, 400),
    task("100,000 brackets", b"[" * 100_000, 400),
    task("a mebibyte of brackets", b"[" * MIB, 400),
    params("20,000 keys", b",".join(b'"%d": 1' % i for i in range(20_000)), 422, "body"),
    params("20,000 repeated keys", b",".join([b'"a": 1'] * 20_000), 422, "body"),
    params("500,000 numbers", b'"a": [' + b"1," * 500_000 + b"1]", 422, "body"),
    params("340,000 empty objects", b'"a": [' + b"{}," * 340_000 + b"{}]", 422, "body"),
    task("9,000 unknown fields", json.dumps({f"x{i}": CANARY.decode() for i in range(9_000)}).encode(), 422, "x0"),
    task("90,000 unknown fields", json.dumps({f"{i}": 1 for i in range(85_000)}).encode(), 422, "body"),
    Hostile(
        "300,000 unknown fields",
        http("POST", "/task", ANNOUNCED % 4_500_000, b"Content-Type: application/json") + b"{",
        {413},
        tail=b'"x12345678": 1, ' * 1_000,
        times=300,
    ),
    Hostile(
        "a million keys",
        http("POST", "/task", b"Transfer-Encoding: chunked", b"Content-Type: application/json") + b"1\r\n{\r\n",
        {413},
        tail=b"%x\r\n%s\r\n" % (16_000, b'"x12345678": 1, ' * 1_000),
        times=1_000,
    ),
    Hostile(
        "50 MB",
        http("POST", "/task", ANNOUNCED % (50 * MIB), b"Content-Type: application/json"),
        {413},
        tail=b'{"a": "%s"}' % CANARY + b" " * MIB,
        times=50,
    ),
    Hostile("50 MB that never come", http("POST", "/task", ANNOUNCED % (50 * MIB)), {413}),
]

TOP_LEVEL = [
    task("null", b"null", 422, "body"),
    task("a list", b'["%s"]' % CANARY, 422, "body"),
    task("a text", b'"%s"' % CANARY, 422, "body"),
    task("a number", b"1", 422, "body"),
    task("nothing", b"", 422, "body"),
    task("white space", b" \r\n\t", 400),
    task("no JSON", b"task_type=%s" % CANARY, 400),
    task("an unfinished text", b'{"task_type": "%s' % CANARY, 400),
    task("more behind it", b'{"task_type": "tick"} "%s"' % CANARY, 400),
    task("single quotes", b"{'task_type': '%s'}" % CANARY, 400),
    task("a comment", b'{"task_type": "tick" /* %s */}' % CANARY, 400),
    task("a comma too many", b'{"task_type": "tick",}', 400),
    task("a byte order mark", b'\xef\xbb\xbf{"task_type": "tick"}', 400),
    task("UTF-16", '{"task_type": "tick"}'.encode("utf-16"), 400),
    task("UTF-32", '{"task_type": "tick"}'.encode("utf-32-le"), 400),
    params("a byte that is no UTF-8", b'"a": "\xff"', 400),
    params("an overlong slash", b'"a": "\xc0\xaf"', 400),
    params("a surrogate in UTF-8", b'"a": "\xed\xa0\x80"', 400),
    task("no task type", b'{"params": {}}', 422, "task_type"),
    task("params that are a list", b'{"task_type": "tick", "params": ["%s"]}' % CANARY, 422, "params"),
    task("params that are null", b'{"task_type": "tick", "params": null}', 422, "params"),
    task(
        "a wrong type beside a secret",
        b'{"task_type": "paint", "params": {"prompt": ["%s"], "width": "%s"}}' % (CANARY, CANARY),
        422,
        "params.width",
    ),
    task(
        "a prompt too long", b'{"task_type": "paint", "params": {"prompt": "%s"}}' % (CANARY * 20), 422, "params.prompt"
    ),
    task("an odd task type", b'{"task_type": "%s"}' % CANARY, 422, "task_type"),
    task("a task type of 100 kB", b'{"task_type": "%s"}' % (b"a" * 100_000), 422, "task_type"),
    task("an unknown task type", b'{"task_type": "nope"}', 422, "task_type"),
    field("an unknown model", b'"model": "local/%s"' % CANARY),
    field("line breaks in a model", b'"model": "a\\r\\nX-Injected: %s"' % CANARY),
    field("escapes of a terminal in a model", b'"model": "\\u001b[31mred"'),
    field("a model of 100 kB", b'"model": "%s"' % (CANARY * 9_000)),
]

FIELDS = [
    field("a state", b'"state": "succeeded"'),
    field("a tenant", b'"tenant": "%s"' % CANARY),
    field("a cost", b'"cost": -1'),
    field("an unknown field with a long name", b'"%s": 1' % (CANARY * 9), "(key)"),
    field("a priority of 1e9", b'"priority": 1e9'),
    field("an unknown priority", b'"priority": "%s"' % CANARY),
    field("a run_at in 9999", b'"run_at": "9999-12-31T23:59:59Z"'),
    field("a run_at in 2199", b'"run_at": "2199-01-01T00:00:00+14:00"'),
    field("a run_at without an offset", b'"run_at": "2026-01-01T00:00:00"'),
    field("a run_at on the 30th of February", b'"run_at": "2026-02-30T00:00:00Z"'),
    field("a run_at in the year 0", b'"run_at": "0000-01-01T00:00:00Z"'),
    field("a run_at that is a number", b'"run_at": 1e300'),
    field("a run_at that is text", b'"run_at": "%s"' % CANARY),
    field("a deadline of 0", b'"deadline_s": 0'),
    field("a negative deadline", b'"deadline_s": -1'),
    field("a deadline in a century", b'"deadline_s": 3e9'),
    field("a deadline that is text", b'"deadline_s": "60"'),
    field("a callback with a password", b'"callback_url": "http://user:%s@example.com/"' % CANARY),
    field("a callback with a user", b'"callback_url": "https://%s@example.com/"' % CANARY),
    field("a callback of 2,049 characters", b'"callback_url": "https://example.com/%s"' % (b"x" * 2029)),
    field("a callback by FTP", b'"callback_url": "ftp://example.com/"'),
    field("a callback to a file", b'"callback_url": "file:///etc/passwd"'),
    field("a callback to a script", b'"callback_url": "javascript:%s"' % CANARY),
    field("a callback without a host", b'"callback_url": "http://"'),
    field("a callback to a port only", b'"callback_url": "http://:80/"'),
    field("a callback to no port", b'"callback_url": "http://example.com:99999/"'),
    field("a callback with a line break", b'"callback_url": "http://example.com/\\r\\nX-Injected: 1"'),
    field("a callback with a space", b'"callback_url": "http://example.com/ HTTP/1.1"'),
    field("a callback with a backslash", b'"callback_url": "http://example.com\\\\@evil.example/"'),
    field("a callback with an open bracket", b'"callback_url": "http://[::1/"'),
    field("a callback that is a list", b'"callback_url": ["http://example.com/"]'),
    metadata("metadata that is a list", [CANARY.decode()]),
    metadata("metadata of 51 entries", {f"k{i}": 1 for i in range(51)}),
    metadata("a metadata value that is an object", {"a": {"b": CANARY.decode()}}, "metadata.a"),
    metadata("a metadata value that is null", {"a": None}, "metadata.a"),
    metadata("a metadata value of 513 characters", {"a": "x" * 513}, "metadata.a"),
    metadata("a metadata value with NUL", {"a": "\0"}, "metadata.a"),
    metadata("a metadata key with NUL", {"\0": "a"}),
    metadata("a metadata key of 65 characters", {"x" * 65: "a"}, "metadata.(key)"),
    metadata("a metadata key with quotes", {'a"b': "a"}, 'metadata.a"b'),
    metadata("an empty metadata key", {"": "a"}),
    field("a cache that is text", b'"cache": "yes"'),
    field("a sandbox that is a list", b'"sandbox": []'),
]

_KINDS = [
    *(b"text/plain", b"application/x-www-form-urlencoded", b"application/json; charset=utf-16", b"application/jsonx"),
    *(b"multipart/form-data; boundary=x", b"application/json, text/plain", b"\xff\xfe", b"application/json" * 1_000),
]
_CODINGS = [b"gzip", b"br", b"deflate, gzip", b"identity, gzip"]
TYPES = [
    *(Hostile(f"{kind[:40]!r}", http("POST", "/task", b"Content-Type: " + kind, body=b"{}"), {415}) for kind in _KINDS),
    *(Hostile(f"{c!r}", http("POST", "/task", b"Content-Encoding: " + c, body=bytes(1000)), {415}) for c in _CODINGS),
]

BODIES = {"scalars": SCALARS, "structure": STRUCTURE, "top level": TOP_LEVEL, "fields": FIELDS, "types": TYPES}
