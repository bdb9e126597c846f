"""All that is said of operations. A route that is added gets its entry in the table of its kind."""

from router.http.description import access, batches, catalogue, comparisons, house, hub, inference, openai, reading
from router.http.description.operation import Described

SECTIONS: dict[str, dict[str, Described]] = {
    "Inference": inference.TABLE,
    "OpenAI's routes": openai.TABLE,
    "The hub's routes": hub.TABLE,
    "Decisions": reading.TABLE,
    "Files and batches": batches.TABLE,
    "Comparisons": comparisons.TABLE,
    "Catalogue": catalogue.TABLE,
    "This server": house.TABLE,
    "Keys": access.TABLE,
}
"""Tag -> operation -> what is said of it, in the order in which the viewer shows them."""
OPERATIONS = {key: said for table in SECTIONS.values() for key, said in table.items()}
TAGS = {key: tag for tag, table in SECTIONS.items() for key in table}
PUBLIC = frozenset({"GET /health/live", "GET /health/ready"})
"""Who asks these is not asked who they are."""
