"""Typed payloads: constructors for the ``data`` of usage, performance, error and business events.

They are not shapes of their own on disk: each returns a plain mapping for :class:`~penstock.AnalyticsEvent`. Fields
follow the event-type document; a field that is ``None`` is left out.
"""

from __future__ import annotations

from typing import Any, Literal

Severity = Literal["debug", "info", "warning", "error", "critical"]
BusinessMetric = Literal[
    "input_tokens", "output_tokens", "total_tokens", "cost_usd", "cost_credits", "quota_used", "quota_remaining"
]


def usage(
    feature: str, action: str, *, success: bool, target: str | None = None, duration_ms: int | None = None, **extra: Any
) -> dict[str, Any]:
    """Payload of a usage event; ``duration_ms`` in milliseconds, further keys are kept beside the named ones."""
    return _given(feature=feature, action=action, target=target, duration_ms=duration_ms, success=success, **extra)


def performance(metric: str, value: float, unit: str, *, tags: dict[str, str] | None = None) -> dict[str, Any]:
    """Payload of a performance event: one measured value in ``unit``."""
    return _given(metric=metric, value=value, unit=unit, tags=tags or {})


def error(
    code: str,
    message: str,
    *,
    severity: Severity = "error",
    component: str,
    recovered: bool = False,
    stack_trace: str | None = None,
) -> dict[str, Any]:
    """Payload of an error event."""
    return _given(
        code=code,
        message=message,
        severity=severity,
        stack_trace=stack_trace,
        component=component,
        recovered=recovered,
    )


def business(
    metric_type: BusinessMetric, value: float, unit: str, *, backend: str | None = None, model: str | None = None
) -> dict[str, Any]:
    """Payload of a business event: tokens, cost or quota, by backend and model where they are known."""
    return _given(metric_type=metric_type, value=value, unit=unit, backend=backend, model=model)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
