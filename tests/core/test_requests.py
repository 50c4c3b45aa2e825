"""What is accepted as a request: JSON's own types, nothing coerced, errors that name one real field."""

from typing import Any

import pytest

from genpulse.core.params import TextToImageParams, TextToSpeechParams
from genpulse.core.requests import TaskRequest, validate
from genpulse.errors import RequestError


def refused(model: Any, value: dict[str, Any], **options: Any) -> list[str]:
    with pytest.raises(RequestError) as caught:
        validate(model, value, **options)
    assert "CANARY" not in caught.value.message
    return [error.field for error in caught.value.fields]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("cache", wrong) for wrong in ("yes", 1, "true")),
        *(("deadline_s", wrong) for wrong in ("30", True, 0, -1)),
        *(
            ("run_at", wrong)
            for wrong in (1, "1795590117", "2027-01-31", "2027-02-31T00:00:00Z", "2027-01-31T12:00:00")
        ),
        *(("task_type", wrong) for wrong in (1, None, "No Type")),
        *(("params", wrong) for wrong in ([], "CANARY", None)),
        *(("priority", wrong) for wrong in (1, "urgent")),
    ],
)
def test_a_wrong_type_names_its_field(field: str, value: Any) -> None:
    assert refused(TaskRequest, {"task_type": "x"} | {field: value}) == [field]


@pytest.mark.parametrize("value", ["7", True, 1.5, -2, 2**53])
def test_a_wrong_seed_is_refused_not_replaced(value: Any) -> None:
    assert refused(TextToImageParams, {"prompt": "x", "seed": value}, prefix="params") == ["params.seed"]


@pytest.mark.parametrize(("field", "value"), [("width", "128"), ("width", True), ("height", 128.5)])
def test_numbers_are_not_read_from_text(field: str, value: Any) -> None:
    assert refused(TextToImageParams, {"prompt": "x", field: value}) == [field]
    assert refused(TextToSpeechParams, {"text": "x", "speed": "1.5"}) == ["speed"]


def test_metadata_errors_name_one_field() -> None:
    wrong = {"a": None, "b": [1], "c": "x" * 513}
    assert refused(TaskRequest, {"task_type": "x", "metadata": wrong}) == ["metadata.a", "metadata.b", "metadata.c"]
    assert refused(TaskRequest, {"task_type": "x", "metadata": {'qu"ote': 1}}) == ['metadata.qu"ote']


def test_what_is_right_is_accepted() -> None:
    request = validate(
        TaskRequest,
        {
            "task_type": "x",
            "priority": "high",
            "run_at": "2026-12-31T12:00:00.5+01:00",
            "deadline_s": 30,
            "metadata": {"a": 1, "b": True, "c": "x", "d": 1.5},
            "params": {"workflow_seed": 2**64 - 1},
        },
    )
    assert request.run_at is not None and request.run_at.utcoffset() is not None
    assert request.metadata == {"a": 1, "b": True, "c": "x", "d": 1.5}
