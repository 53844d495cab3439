"""What becomes of the SDK's own instruments: without the attributes that are new for each call, and with buckets for
seconds (OpenTelemetry's own are for milliseconds: every latency of a call would fall into the first)."""

from __future__ import annotations

from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

from .catalog import SECONDS

# Models, providers and operations: few values each. `room_id`, `job_id` and names of tools and agents stay out.
KEPT = {
    "model_name",
    "model_provider",
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.token.type",
    "error.type",
    "connection_reused",
    "severity",
}
# Of the semantic conventions for `gen_ai.client.token.usage`.
_TOKENS = [4.0**power for power in range(14)]

VIEWS = [
    View(
        instrument_type=Histogram,
        instrument_unit="s",
        attribute_keys=KEPT,
        aggregation=ExplicitBucketHistogramAggregation(SECONDS),
    ),
    View(
        instrument_type=Histogram,
        instrument_unit="{token}",
        attribute_keys=KEPT,
        aggregation=ExplicitBucketHistogramAggregation(_TOKENS),
    ),
    View(instrument_type=Counter, attribute_keys=KEPT),
]
