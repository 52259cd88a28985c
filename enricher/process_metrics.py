"""The series about the process itself, whatever it works on. Read through `metrics.py`, as all are."""

from __future__ import annotations

from enricher.label_sets import HTTP_REFUSALS, LEVELS
from enricher.series import counter

HTTP_REFUSED = counter(
    "enricher_http_refused_total",
    "What the daemon's own HTTP port turned away: a host that is not ours, no HTTP, or to make room.",
    reason=HTTP_REFUSALS,
)
DESCRIPTOR_SHORTAGES = counter(
    "enricher_descriptor_shortages_total",
    "Calls that were put off because this process may have no more files and sockets open.",
)
LOG_MESSAGES = counter(
    "enricher_log_messages_total", "Lines of the log, by severity.", level=LEVELS
)
