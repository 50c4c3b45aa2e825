"""Parses JSON from outside strictly, so that nothing ambiguous or poisonous gets further in.

Promises that an accepted body is UTF-8, has no repeated keys, at most `MAX_VALUES` values and `MAX_DEPTH` levels, no
NaN, no infinity, no integer that other languages can't hold, no NUL and no lone surrogate; that errors name the field
and never show its value; and that a body of at most `MAX_BYTES` never holds the event loop up for long.

What Pydantic and both databases make of such input differs (reliability study, 3.3), so it is refused here for all.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, cast

import orjson

from genpulse.core.models import Json
from genpulse.errors import InvalidFieldError, RequestError

MAX_BYTES = 1 << 20
MAX_VALUES = 10_000
MAX_DEPTH = 64
MAX_INTEGER = 2**53
"""Beyond it JavaScript and JSON numbers in general lose digits."""
MAX_WORKFLOW_SEED = 2**64 - 1
"""ComfyUI's seeds have 64 bits, so raw workflows may hold them."""

# Possessive, and it takes an unfinished string too: so it never tries again, and its time grows with the length only.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_INTEGER = 20  # digits and sign of anything that is allowed

Path: TypeAlias = tuple["Path", str | int] | None


class _TooLong:
    """Stands for an integer with more digits than any that is allowed; Python would take long to read it."""


@dataclass(frozen=True, slots=True)
class _Repeated:
    """Stands for an object in which a key is repeated."""

    key: str


_TOO_LONG = _TooLong()


def _integer(text: str) -> int | _TooLong:
    return int(text) if len(text) <= _LONGEST_INTEGER else _TOO_LONG


def _object(pairs: list[tuple[str, Any]]) -> Json | _Repeated:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return _Repeated(key)
        seen.add(key)
    raise AssertionError("fewer keys than pairs")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)


def parse_json(body: bytes) -> Json:
    """The object that a body holds.

    Raises:
        RequestError: `invalid_request`; status 400 when it is no JSON, 422 when it is JSON that is not accepted.
    """
    if not body:
        raise InvalidFieldError("body", "is empty; send a JSON object")
    if body.startswith(b"\xef\xbb\xbf"):
        raise _malformed("it starts with a byte order mark")
    if body.count(b",") + body.count(b"[") + body.count(b"{") > 2 * MAX_VALUES:
        _refuse_crowd(body)
    value = _decode(body)
    if isinstance(value, _Repeated):
        _fail_repeated(value, None)
    if not isinstance(value, dict):
        raise InvalidFieldError("body", "must be a JSON object")
    root = cast("Json", value)
    _check(root, check_text=b"\\u" in body)
    return root


def _refuse_crowd(body: bytes) -> None:
    """Refuse many values before they are built, which would take long; commas and brackets in texts don't count."""
    # Each text is a value or its key, so so many quotes tell enough; to cut out so many texts would take long.
    crowded = body.count(b'"') - body.count(b'\\"') > 4 * MAX_VALUES
    outside = body if crowded else _STRING.sub(b"", body)
    objects, lists = outside.count(b"{"), outside.count(b"[")
    # In valid JSON each comma and each opening bracket stands for a value of its own.
    if not crowded and max(outside.count(b","), objects + lists) <= MAX_VALUES:
        return
    if objects != outside.count(b"}") or lists != outside.count(b"]"):
        raise _malformed()
    raise _too_many()


def _decode(body: bytes) -> Any:
    try:
        return _decoder.decode(body.decode())
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg.lower()} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise _too_deep() from None


def _check(root: Json, *, check_text: bool) -> None:
    """Walk all values. Text needs a look only where an escape could have made a character that UTF-8 can't."""
    count = 0
    waiting: list[tuple[Any, Path, int]] = [(root, None, 1)]
    while waiting:
        container, path, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _too_deep()
        count += len(container)
        if count > MAX_VALUES:
            raise _too_many()
        for key, value in _entries(container):
            if check_text and isinstance(key, str):
                _check_text(key, path, "the name of a field in it")
            kind: object = type(cast("object", value))
            if kind is dict or kind is list:
                waiting.append((value, (path, key), depth + 1))
            elif kind is str:
                if check_text:
                    _check_text(value, (path, key), "it")
            else:
                _check_scalar(value, (path, key))


def check_storable(root: Json) -> None:
    """Refuse in an answer of our own side what the databases and JSON don't keep alike: NUL, half pairs, NaN, infinity.

    Raises:
        RequestError: it names the field.
        TypeError: it is no JSON.
    """
    orjson.dumps(root)  # refuses other types, and an answer that contains itself
    waiting: list[tuple[Any, Path]] = [(root, None)]
    while waiting:
        container, path = waiting.pop()
        for key, value in _entries(container):
            if isinstance(key, str):
                _check_text(key, path, "the name of a field in it")
            if isinstance(value, dict | list | tuple):
                waiting.append((cast("Any", value), (path, key)))
            elif isinstance(value, str):
                _check_text(value, (path, key), "it")
            elif isinstance(value, float) and not math.isfinite(value):
                raise InvalidFieldError(_name((path, key)), "must be a finite number")


def _entries(container: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(container, dict):
        return cast("Json", container).items()
    return enumerate(cast("list[Any]", container))


def _check_scalar(value: Any, path: Path) -> None:
    kind: object = type(cast("object", value))
    if kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            _check_large(value, path)
    elif kind is float:
        if not math.isfinite(value):
            raise InvalidFieldError(_name(path), "must be a finite number")
    elif kind is _TooLong:
        raise _beyond(path)
    elif kind is _Repeated:
        _fail_repeated(value, path)


def _check_text(text: str, path: Path, what: str) -> None:
    if "\x00" in text:
        raise InvalidFieldError(_name(path), f"{what} contains a NUL character")
    if not text.isascii() and _SURROGATE.search(text):
        raise InvalidFieldError(_name(path), f"{what} contains half of a surrogate pair")


def _check_large(value: int, path: Path) -> None:
    if not 0 <= value <= MAX_WORKFLOW_SEED or not _name(path).startswith("params.workflow."):
        raise _beyond(path)


def _beyond(path: Path) -> InvalidFieldError:
    return InvalidFieldError(_name(path), "must lie within ±2^53; send a larger number as a string")


def _fail_repeated(value: _Repeated, path: Path) -> NoReturn:
    name = _name((path, value.key))
    raise InvalidFieldError(name, "is given more than once", status=400)


def _name(path: Path) -> str:
    """A path as clients know it: `params.images.0.url`. A key is the client's own text: a strange one isn't shown."""
    parts: list[str] = []
    while path is not None:
        path, part = path
        text = str(part)
        parts.append(text if len(text) <= 64 and text.isprintable() else "(key)")
    return ".".join(reversed(parts)) or "body"


def _malformed(why: str | None = None) -> RequestError:
    return RequestError("invalid_request", f"The body is not valid JSON{f': {why}' if why else ''}.", status=400)


def _too_deep() -> RequestError:
    return RequestError("invalid_request", f"The body is nested more than {MAX_DEPTH} levels deep.", status=400)


def _too_many() -> RequestError:
    return InvalidFieldError("body", f"has more than {MAX_VALUES} values")
