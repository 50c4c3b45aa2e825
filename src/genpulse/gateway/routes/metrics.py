"""`/metrics` in Prometheus' text format, for administrators."""

from __future__ import annotations

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from genpulse.gateway.openapi import operation
from genpulse.gateway.query import Query
from genpulse.gateway.routing import plain_router
from genpulse.gateway.services import metrics_of, require_admin

router = plain_router("Status")


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    **operation(
        (200, "Prometheus' text format, version 0.0.4.", {"text/plain": {"schema": {"type": "string"}}}),
        errors=["invalid_request"],
    ),
)
async def metrics(request: Request) -> Response:
    require_admin(request)  # they tell of all tenants
    Query(request)
    text = await metrics_of(request).exposition()
    return Response(text, headers={"Cache-Control": "no-store", "Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
