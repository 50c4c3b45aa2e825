"""A JSON Schema of an object as rows for people: name, type, default, allowed values, description."""

from __future__ import annotations

import json
from typing import Any

from genpulse.cli.answers import Json, as_list, as_object

COLUMNS = ("PARAM", "TYPE", "DEFAULT", "VALUES", "DESCRIPTION")
_FILE_FIELDS = {"file_id", "url", "data"}
"""An object with one of these is a form of a media input (design §7); `-p name=@path` makes it."""
_DEPTH = 8
"""References followed at most: a schema may refer to itself."""


def rows(schema: Json) -> list[tuple[str, str, str, str, str]]:
    """One row per property, required ones first and marked with `*`."""
    required = {str(name) for name in as_list(schema.get("required"))}
    defs = as_object(schema.get("$defs"))
    properties = as_object(schema.get("properties"))
    names = sorted(properties, key=lambda name: name not in required)  # stable: else in the schema's order
    return [_row(name, as_object(properties[name]), name in required, defs) for name in names]


def _row(name: str, field: Json, is_required: bool, defs: Json) -> tuple[str, str, str, str, str]:
    variants = [_resolve(option, defs) for option in _options(_resolve(field, defs))]
    shown = [variant for variant in variants if variant.get("type") != "null"]
    types = list(dict.fromkeys(_type(variant, defs) for variant in shown))
    values = list(dict.fromkeys(filter(None, (_values(variant) for variant in shown))))
    default = "" if is_required or field.get("default") is None else json.dumps(field["default"], ensure_ascii=False)
    description = str(field.get("description") or _resolve(field, defs).get("description") or "")
    mark = "*" if is_required else ""
    return f"{name}{mark}", " | ".join(types) or "any", default, "; ".join(values), description


def _options(field: Json) -> list[Json]:
    for keyword in ("anyOf", "oneOf"):
        if field.get(keyword):
            return [as_object(option) for option in as_list(field[keyword])]
    return [field]


def _resolve(field: Json, defs: Json) -> Json:
    for _ in range(_DEPTH):
        reference = field.get("$ref")
        if not isinstance(reference, str):
            break
        target = as_object(defs.get(reference.removeprefix("#/$defs/")))
        field = target | {key: value for key, value in field.items() if key != "$ref"}
    return field


def _type(field: Json, defs: Json) -> str:
    if _FILE_FIELDS & set(as_object(field.get("properties"))):
        return "file"
    if field.get("type") == "array":
        item = _resolve(as_object(field.get("items")), defs)
        return f"list of {item.get('type') or 'any'}"
    if "enum" in field or "const" in field:
        return "choice"
    return str(field.get("title") or "object") if field.get("type") == "object" else str(field.get("type") or "any")


def _values(field: Json) -> str:
    if "const" in field:
        return str(field["const"])
    if field.get("enum"):
        return ", ".join(str(value) for value in as_list(field["enum"]))
    low, high = _bound(field, "minimum", "exclusiveMinimum"), _bound(field, "maximum", "exclusiveMaximum")
    if low or high:
        return f"{low} … {high}".strip()
    if field.get("maxLength"):
        return f"up to {field['maxLength']} characters"
    return ""


def _bound(field: Json, inclusive: str, exclusive: str) -> str:
    value: Any = field.get(inclusive, field.get(exclusive))
    if value is None:
        return ""
    sign = "" if inclusive in field else ">" if inclusive == "minimum" else "<"
    return f"{sign}{value}"
