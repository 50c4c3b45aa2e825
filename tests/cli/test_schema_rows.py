"""A JSON Schema becomes rows for people; the schemas are those that Pydantic makes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from genpulse.cli.schema_rows import rows
from genpulse.core.params import MediaInput, TextToImageParams


class Everything(BaseModel):
    image: MediaInput = Field(description="What to enlarge.")
    factor: Annotated[float, Field(gt=1, le=4)] = 2.0
    mode: Literal["fast", "good"] = "fast"
    tags: list[str] = []
    nothing: str | None = None


def test_all_kinds_of_fields() -> None:
    assert rows(Everything.model_json_schema()) == [
        ("image*", "file | string", "", "", "What to enlarge."),
        ("factor", "number", "2.0", ">1 … 4", ""),
        ("mode", "choice", '"fast"', "fast, good", ""),
        ("tags", "list of string", "[]", "", ""),
        ("nothing", "string", "", "", ""),
    ]


def test_a_real_task_type() -> None:
    found = {name: (kind, values) for name, kind, _, values, _ in rows(TextToImageParams.model_json_schema())}
    assert next(iter(found)) == "prompt*"
    assert found["width"] == ("integer", "64 … 8192")
    assert found["seed"] == ("integer", "-1 … 9007199254740991")
    assert found["output_format"] == ("choice", "png, jpeg, webp")


def test_a_schema_that_refers_to_itself_ends() -> None:
    assert rows({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}) == [
        ("a", "any", "", "", "")
    ]
    assert rows({"type": "object"}) == []
