"""A configuration in which every built-in model is a fake: requests are real, and cost no compute."""

from __future__ import annotations

import msgspec

from router.http.description.inference import CHAT, DRAWS, HEARS, INTENT, SEES, VECTORS, ZERO_SHOT

TASKS = {
    CHAT: "text-generation",
    VECTORS: "feature-extraction",
    ZERO_SHOT: "zero-shot-classification",
    INTENT: "text-classification",
    DRAWS: "text-to-image",
    SEES: "image-classification",
    HEARS: "automatic-speech-recognition",
}
MODEL = """[[models]]
id = {}
task = "{}"
  [[models.candidates]]
  backend = "fake"
  price = {{ per_request_usd = 0.001 }}
  script = {{ near = true }}
"""


def config(*more: str) -> str:
    """TOML text; `more` comes first, so that it may hold sections."""
    models = (MODEL.format(msgspec.json.encode(name).decode(), task) for name, task in TASKS.items())
    return "\n".join([*more, "[routing]\noffline = true", *models])
