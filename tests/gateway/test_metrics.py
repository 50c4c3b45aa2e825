"""`GET /metrics` over real HTTP, on both databases."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from genpulse.core.metrics import Family, Metrics
from genpulse.gateway.server import serving_metrics
from tests.gateway.serving import GatewaySystem, Served

Make = Callable[..., Awaitable[Served]]
PAGE = Path(__file__).parents[2] / "docs" / "observability.md"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


async def scrape(served: Served) -> dict[tuple[str, ...], float]:
    """Values by name and label values, in the order of the label names."""
    answer = await served.http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name.removeprefix("genpulse_"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_a_scrape_tells_of_tasks(served: Served) -> None:
    waiting = await served.submit("hold")
    before = await scrape(served)
    assert before["queue_tasks", "handlers", "queued"] == 1
    assert before["tasks_accepted_total", "local/hold", "handlers", "hold"] == 1
    await served.http.post(f"/task/{waiting['task_id']}/cancel")
    async with served.system.working():
        done = await served.finished("paint")
        await served.finished("fail")
        found = await scrape(served)
    assert found["tasks_ended_total", "canceled", "local/hold", "canceled"] == 1
    assert found["tasks_ended_total", "", "local/paint", "completed"] == 1
    assert found["tasks_ended_total", "content_policy", "local/fail", "failed"] == 1
    assert found["task_run_seconds_count", "local/paint", "completed"] == 1
    assert found["task_queue_wait_seconds_count", "handlers"] == 2
    assert found["task_accept_seconds_count",] == 3
    assert found["ledger_batch_size_sum",] >= found["ledger_transaction_seconds_count",] > 0
    assert found["http_request_duration_seconds_count", "POST", "/task", "2xx"] == 3
    assert found["http_request_duration_seconds_count", "POST", "/task/{task_id}/cancel", "2xx"] == 1
    text = (await served.http.get("/metrics")).text
    assert done["task_id"] not in text and "tenant" not in text and "default" not in text


async def test_what_clients_choose_makes_no_labels(served: Served) -> None:
    await served.http.get("/nowhere/else")
    await served.http.request("PROPFIND", "/task")
    await served.http.post("/task", json={"task_type": "shout", "model": "local/shadow"})
    found = await scrape(served)
    assert found["http_request_duration_seconds_count", "GET", "none", "4xx"] == 1
    assert found["http_request_duration_seconds_count", "other", "/task", "4xx"] == 1
    text = (await served.http.get("/metrics")).text
    assert not any(word in text for word in ("nowhere", "PROPFIND", "shadow"))


async def test_an_administrators_key_is_needed_where_there_are_keys(make_served: Make) -> None:
    """They tell of all tenants."""
    served = await make_served(with_keys=True)
    key, _ = await served.system.keys.create("acme", "a tenant's")
    admin, _ = await served.system.keys.create("ops", "scraper", admin=True)
    assert (await served.http.get("/metrics")).status_code == 401
    for given, status in ((key, 403), (admin, 200)):
        answer = await served.http.get("/metrics", headers={"Authorization": f"Bearer {given}"})
        assert answer.status_code == status


async def test_the_address_takes_nothing_but_a_get(served: Served) -> None:
    answer = await served.http.get("/metrics", params={"name[]": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    answer = await served.http.post("/metrics")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    answer = await served.http.head("/metrics")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_every_metric_is_documented_and_every_documented_one_is_there(served: Served) -> None:
    await served.submit("paint")
    for family in vars(served.system.metrics).values():  # whose labels show only where something was counted
        if isinstance(family, Family):
            family.of(*family.labels)
    text = (await served.http.get("/metrics")).text
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| ([a-z_, ]*)\|", PAGE.read_text(), re.MULTILINE)
    documented = {name: (kind, set(filter(None, re.split(r"[ ,]+", labels)))) for name, kind, labels in rows}
    shown = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert shown == {name: kind for name, (kind, _) in documented.items()}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == documented[name][1], name


async def test_a_process_without_a_gateway_serves_its_own(system: GatewaySystem, make_served: Make) -> None:
    gateway = await make_served()
    metrics, settings = Metrics(), gateway.app.state.gateway.settings
    metrics.tasks_rescued.of("local").inc()
    exposed = settings.model_copy(update={"host": "0.0.0.0"})
    async with serving_metrics(metrics, exposed, 0) as port:

        async def get(path: str, **options: Any) -> Any:
            return await gateway.http.get(f"http://127.0.0.1:{port}{path}", **options)

        answer = await get("/metrics")
        assert 'genpulse_tasks_rescued_total{pool="local"} 1.0' in answer.text
        assert "genpulse_queue_tasks" not in answer.text  # gateways tell that
        assert (await get("/task")).status_code == 404
        assert (await get("/metrics", headers={"Host": "rebound.example"})).status_code == 403
        with pytest.raises(OSError, match="in use"):
            async with serving_metrics(metrics, settings, port):
                pass
