"""All that is said of operations. A route that is added gets its entry in the table of its kind."""

from router.http.description import house, hub, inference, openai, reading
from router.http.description.operation import Described

OPERATIONS: dict[str, Described] = {
    **inference.TABLE,
    **openai.TABLE,
    **hub.TABLE,
    **reading.TABLE,
    **house.TABLE,
}
PUBLIC = frozenset({"GET /health/live", "GET /health/ready"})
"""Who asks these is not asked who they are."""
