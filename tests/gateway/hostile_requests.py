"""Requests whose path, query, headers or framing no sane client sends (reliability study, 3.3)."""

from tests.gateway.hostile import CANARY, Hostile, http

MISSING = "/task/0190f0f0-0000-7000-8000-000000000000"
REFUSED = frozenset({400, 403, 404, 405, 414, 415, 422, 431})


def get(
    name: str, path: str, *headers: bytes, statuses: frozenset[int] | set[int] = REFUSED, field: str = ""
) -> Hostile:
    return Hostile(name, http("GET", path, *headers), statuses, field or None)


def query(name: str, text: str, field: str) -> Hostile:
    return get(name, f"/task?{text}", statuses={422}, field=field)


def keyed(name: str, *headers: bytes) -> Hostile:
    request = http("POST", "/task", *headers, body=b'{"task_type": "tick"}')
    return Hostile(name, request, {400}, "Idempotency-Key")


QUERIES = [
    query("limit=1e9", "limit=1e9", "limit"),
    query("limit=1000000000", "limit=1000000000", "limit"),
    query("limit=0", "limit=0", "limit"),
    query("limit=-1", "limit=-1", "limit"),
    query("limit in other digits", "limit=%D9%A1%D9%A0", "limit"),
    query("limit that is text", f"limit={CANARY.decode()}", "limit"),
    query("limit twice", "limit=1&limit=2", "limit"),
    query("offset", "offset=-1", "offset"),
    query("an unknown parameter with a long name", f"{CANARY.decode() * 9}=1", "(query)"),
    query("an unknown parameter with a line break", "a%0D%0AX-Injected%3A%201=1", "(query)"),
    query("a lone NUL", "%00=1", "(query)"),
    query("NUL in a value", f"task_type=a%00{CANARY.decode()}", "(query)"),
    query("an unknown status", f"status={CANARY.decode()}", "status"),
    query("eleven metadata filters", "&".join(f"metadata.k{i}=1" for i in range(11)), "metadata"),
    query("a metadata filter with a long name", f"metadata.{'x' * 65}=1", "metadata"),
    query("a metadata filter without a name", "metadata.=1", "metadata"),
    query("a cursor twice", "cursor=a&cursor=b", "cursor"),
    *(
        query(f"the cursor {cursor[:30]}", f"cursor={cursor}", "cursor")
        for cursor in (
            *("x", "", "-1", "9e99", "AAAA", "%C3%A9", "A" * 10_000, CANARY.decode()),
            *("LTE6MDE5MGYwZjAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAw",),  # -1:<id>
            *("OTk5OTk5OTk5OTk5OTk5OTk5OTk5OjAxOTBmMGYwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwMA",),  # 21 digits
            *("MTo8c2NyaXB0Pg", "MTonIE9SIDE9MSAtLQ", "MTowMTkwZjBmMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDAK"),
        )
    ),
    get("wait=-1", f"{MISSING}?wait=-1", statuses={422}, field="wait"),
    get("wait=1e9", f"{MISSING}?wait=1e9", statuses={422}, field="wait"),
    get("wait=NaN", f"{MISSING}?wait=NaN", statuses={422}, field="wait"),
    get("an unknown parameter of a task", f"{MISSING}?x={CANARY.decode()}", statuses={422}, field="x"),
    get("an unknown parameter of the events", f"{MISSING}/events?x=1", statuses={422}, field="x"),
    get("after twice", f"{MISSING}/events?after=1&after=2", statuses={422}, field="after"),
    get("an unknown parameter of the feed", "/events?x=1", statuses={422}, field="x"),
    get("a query of a megabyte", f"/task?cursor={'x' * (1 << 20)}", statuses={431}),
]

KEYS = [
    keyed("an empty key", b"Idempotency-Key: "),
    keyed("a key of 256 characters", b"Idempotency-Key: " + b"k" * 256),
    keyed("a key of 20 kB", b"Idempotency-Key: " + CANARY * 2_000),
    keyed("two keys", b"Idempotency-Key: a", b"Idempotency-Key: " + CANARY),
    keyed("the same key twice", b"Idempotency-Key: a", b"Idempotency-Key: a"),
    keyed("a key with a space", b"Idempotency-Key: a " + CANARY),
    keyed("a key with a tab", b"Idempotency-Key: a\tb"),
    keyed("a key in UTF-8", "Idempotency-Key: ключ".encode()),
    keyed("a key in Latin-1", b"Idempotency-Key: \xe9"),
]

PATHS = [
    get("two slashes", "//task"),
    get("a slash behind", "/task/"),
    get("dots", "/task/../status"),
    get("encoded dots", "/%2e%2e/%2e%2e/etc/passwd"),
    get("encoded slashes", "/task%2f..%2fstatus"),
    get("twice encoded dots", "/files/%252e%252e%252f/x"),
    get("NUL", "/%00"),
    get("NUL in an id", f"/task/%00{CANARY.decode()}"),
    get("a byte that is no UTF-8", "/task/%ff"),
    get("a line break", f"/task/%0d%0aX-Injected:%20{CANARY.decode()}"),
    get("half a percent sign", "/task/%"),
    get("raw UTF-8", "/task/\xc3\xa9"),
    get("a backslash", "\\task"),
    get("another server", "http://evil.example/nope"),
    get("no path", "?x=1"),
    get("an asterisk", "*"),
    get("a path of 10 kB", "/" + CANARY.decode() * 1_000),
    get("a path of a megabyte", "/" + "x" * (1 << 20), statuses={431}),
    get("a model with dots", "/models/../x"),
    get("a model with NUL", f"/models/local/%00{CANARY.decode()}"),
    get("a file's path", "/files/..%2f..%2fgenpulse.db/x"),
    get("a file's forged signature", f"/files/x/y?exp=9e99&sig={CANARY.decode()}"),
    get("a file's huge expiry", f"/files/x/y?exp={'9' * 5_000}&sig=x"),
    get("a file's odd expiry", "/files/x/y?exp=%D9%A1&sig=%00"),
    *(
        Hostile(f"{method} {path}", http(method, path), {404, 405})
        for method in ("HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "PROPFIND")
        for path in ("/task", MISSING, "/files", "/nope")
    ),
    Hostile("OPTIONS *", http("OPTIONS", "*"), REFUSED),
    Hostile("CONNECT", http("CONNECT", "evil.example:443"), REFUSED),
    Hostile("an unknown method", http("CANARY", "/task"), {400}),
]

IDS = [
    *("x", "0190f0f0-0000-7000-8000-00000000000", "0190F0F0-0000-7000-8000-00000000000A", "..", "%2e%2e%2f%2e%2e"),
    *(
        "{0190f0f0-0000-7000-8000-000000000000}",
        "0190f0f0-0000-7000-8000-000000000000%0a",
        "0190f0f0000070008000000000000000",
    ),
    *("urn:uuid:0190f0f0-0000-7000-8000-000000000000", "'%20OR%20'1'='1", "x');DROP%20TABLE%20tasks;--"),
    *("null", "-1", "0", "%F0%9F%98%80", "x" * 10_000, CANARY.decode()),
]
"""Ids in a path that can't be one of ours; each must answer like a missing one."""

_WEB_SOCKET = (
    *(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
HEADERS = [
    Hostile("another host", http("GET", "/models", host=CANARY), {403}),
    Hostile("no host", b"GET /models HTTP/1.1\r\n\r\n", {400, 403}),
    Hostile("two hosts", http("GET", "/models", b"Host: evil.example"), {403}),
    Hostile("an empty host", http("GET", "/models", host=b""), {403}),
    Hostile("a host with a user", http("GET", "/models", host=CANARY + b"@localhost"), {403}),
    Hostile("a host of 10 kB", http("GET", "/models", host=b"a" * 10_000), {403}),
    Hostile("a host that is no UTF-8", http("GET", "/models", host=b"\xff"), {403}),
    get("an authorization of 60 kB", "/models", b"Authorization: Bearer " + CANARY * 5_000, statuses={200}),
    get("a request id with escapes", "/models", b"X-Request-Id: \x1b[31m" + CANARY, statuses={200, 400}),
    get("a request id of 10 kB", "/models", b"X-Request-Id: " + CANARY * 900, statuses={200}),
    get("a trace that is none", "/models", b"traceparent: " + CANARY, statuses={200}),
    get("a preference that is none", MISSING, b"Prefer: wait=" + CANARY, statuses={404}),
    get("a web socket", "/models", *_WEB_SOCKET, statuses={200, 403}),
    get("an upgrade to HTTP/2", "/models", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", statuses={200}),
    get("10,000 headers", "/models", *[b"x: y"] * 10_000, statuses={200}),
    get("a bare carriage return", "/models", b"X: a\rX-Injected: " + CANARY, statuses={400}),
    get("a bare line feed", "/models", b"X: a\nX-Injected: " + CANARY, statuses={200, 400}),
    get("a NUL", "/models", b"X: a\x00" + CANARY, statuses={400}),
    get("a space before the colon", "/models", b"X : a", statuses={400}),
    get("a header without a name", "/models", b": a", statuses={400}),
    get("a folded header", "/models", b"X: a\r\n b", statuses={200, 400}),
    Hostile("endless headers", b"GET /models HTTP/1.1\r\n", {431}, tail=b"x: %s\r\n" % (b"y" * 1000) * 100, times=200),
    Hostile("an endless header", b"GET /models HTTP/1.1\r\nx: ", {431}, tail=b"y" * 100_000, times=200),
    Hostile("an endless path", b"GET /", {431}, tail=b"y" * 100_000, times=200),
]

_POST = b"POST /task HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_SMUGGLED = b"GET /models HTTP/1.1\r\nHost: localhost\r\nX: " + CANARY + b"\r\n\r\n"
FRAMING = [
    Hostile("no HTTP", CANARY + b"\r\n\r\n", {400}),
    Hostile("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), {400}),
    Hostile("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    Hostile("HTTP/9.9", b"GET /models HTTP/9.9\r\nHost: localhost\r\n\r\n", {400}),
    Hostile(
        "a length and chunks",
        _POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _SMUGGLED,
        {400},
    ),
    Hostile(
        "chunks and a length",
        _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + _SMUGGLED,
        {400},
    ),
    Hostile("two lengths", _POST + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}" + _SMUGGLED, {400}),
    Hostile("a list of lengths", _POST + b"Content-Length: 2, 2\r\n\r\n{}" + _SMUGGLED, {400}),
    Hostile("a signed length", _POST + b"Content-Length: +2\r\n\r\n{}", {400}),
    Hostile("a negative length", _POST + b"Content-Length: -2\r\n\r\n{}", {400}),
    Hostile("a hexadecimal length", _POST + b"Content-Length: 0x2\r\n\r\n{}", {400}),
    Hostile("a length over 64 bits", _POST + b"Content-Length: %s\r\n\r\n" % (b"9" * 30), {400}),
    Hostile("an odd encoding", _POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + _SMUGGLED, {400, 422}),
    Hostile(
        "two encodings", _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", {400, 422}
    ),
    Hostile("a chunk that is no number", _CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", {400}),
    Hostile("a negative chunk", _CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n", {400}),
    Hostile("a chunk over 64 bits", _CHUNKED + b"f" * 17 + b"\r\n{}\r\n", {400}),
    Hostile("a chunk that is too long", _CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n", {400}),
    Hostile("an endless chunk extension", _CHUNKED + b"2;", {431}, tail=b"x" * 100_000, times=200),
    Hostile("an endless trailer", _CHUNKED + b"2\r\n{}\r\n0\r\nx: ", {422, 431}, tail=b"y" * 100_000, times=200),
]

REQUESTS = {"queries": QUERIES, "keys": KEYS, "paths": PATHS, "headers": HEADERS, "framing": FRAMING}
