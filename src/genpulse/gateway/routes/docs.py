"""`/openapi.json` and `/docs`, a page made here from the same document: no script, nothing fetched from elsewhere."""

from __future__ import annotations

import html
from typing import Any

import orjson
from fastapi import Request, Response

from genpulse.core.models import Json
from genpulse.errors import CODES
from genpulse.gateway.responses import json_response
from genpulse.gateway.routing import plain_router

router = plain_router(in_schema=False)

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre, code { font: 0.875rem/1.4 ui-monospace, monospace; }
pre { padding: 0.75rem; overflow-x: auto; border: 1px solid #8886; border-radius: 6px; }
section { margin: 2rem 0; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid #8886; }
.method { font-weight: 700; }
"""


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    return json_response(request.app.openapi())


@router.get("/docs")
async def page(request: Request) -> Response:
    text = render_page(request.app.openapi())
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    }
    return Response(text, headers=headers, media_type="text/html; charset=utf-8")


def render_page(api: Json) -> str:
    """The page of an OpenAPI document."""
    body = [f"<h1>{_text(api['info']['title'])} {_text(api['info']['version'])}</h1>"]
    body += [f"<p>{_text(part)}</p>" for part in api["info"]["description"].split("\n\n")]
    body.append('<p>The same for machines: <a href="/openapi.json">/openapi.json</a>.</p>')
    for tag in api["tags"]:
        body.append(f"<h2>{_text(tag['name'])}</h2><p>{_text(tag['description'])}</p>")
        for path, methods in api["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    body.append(_operation(path, method, operation, api["components"]["schemas"]))
    body.append(f"<h2>Shapes</h2>{''.join(_schema(*entry) for entry in api['components']['schemas'].items())}")
    body.append(f"<h2>Error codes</h2>{_codes()}")
    title = _text(api["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>"
    )


def _operation(path: str, method: str, operation: Json, schemas: Json) -> str:
    parts = [f'<section><h3><span class="method">{method.upper()}</span> <code>{_text(path)}</code></h3>']
    parts.append(f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>")
    if operation.get("parameters"):
        parts.append(_table((p["name"], p["in"], p["description"]) for p in operation["parameters"]))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body: <code>{media_type}</code> {_shape(content['schema'])}</p>")
        named = schemas.get(content["schema"].get("$ref", "").rpartition("/")[2], {})
        parts += [f"<pre>{_text(_pretty(example))}</pre>" for example in named.get("examples", [])]
    answers = [
        (code, answer["description"], ", ".join(_shape(c["schema"]) for c in answer.get("content", {}).values()))
        for code, answer in operation["responses"].items()
    ]
    parts.append(_table(((code, text) for code, text, _ in answers), last=[shape for *_, shape in answers]))
    return "".join([*parts, "</section>"])


def _schema(name: str, schema: Json) -> str:
    rows = [(field, _type(spec), spec.get("description", "")) for field, spec in schema.get("properties", {}).items()]
    return f'<section id="{_text(name)}"><h3>{_text(name)}</h3>{_table(rows)}</section>' if rows else ""


def _type(spec: Json) -> str:
    if "$ref" in spec:
        return str(spec["$ref"]).rpartition("/")[2]
    if "anyOf" in spec:
        return " | ".join(_type(choice) for choice in spec["anyOf"])
    if "enum" in spec:
        return " | ".join(map(str, spec["enum"]))
    return f"list of {_type(spec['items'])}" if spec.get("type") == "array" else str(spec.get("type", "any"))


def _shape(schema: Json) -> str:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return f'<a href="#{_text(name)}">{_text(name)}</a>' if name else ""


def _codes() -> str:
    return _table((code, str(spec.status or "in the task"), spec.title, spec.help) for code, spec in CODES.items())


def _table(rows: Any, last: list[str] | None = None) -> str:
    """A table of texts; `last` is a column of ready HTML."""
    lines: list[str] = []
    for index, row in enumerate(rows):
        cells = [f"<td>{_text(cell)}</td>" for cell in row]
        cells += [f"<td>{last[index]}</td>"] if last else []
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _text(value: object) -> str:
    return html.escape(str(value))
