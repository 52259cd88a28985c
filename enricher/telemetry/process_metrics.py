"""The series about the process itself, whatever it works on. Read through `telemetry/metrics.py`, as all are."""

from __future__ import annotations

from enricher.telemetry.label_sets import HTTP_REFUSALS, LEVELS
from enricher.telemetry.series import counter

HTTP_REFUSED = counter(
    "enricher_http_refused_total",
    "What the daemon's own HTTP port turned away: a host that is not ours, no HTTP, or to make room.",
    reason=HTTP_REFUSALS,
)
DESCRIPTOR_SHORTAGES = counter(
    "enricher_descriptor_shortages_total",
    "Calls that were put off because this process may have no more files and sockets open.",
)
MEMORY_SHORTAGES = counter(
    "enricher_memory_shortages_total",
    "Leads and calls that were put off because this process could have no more memory.",
)
STALLED_SECONDS = counter(
    "enricher_stalled_seconds_total",
    "Time in which this process stood still, half a second or more at once; no vendor's failure.",
)
LOG_MESSAGES = counter(
    "enricher_log_messages_total", "Lines of the log, by severity.", level=LEVELS
)
