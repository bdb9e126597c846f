"""LitServe's side of `embedding_peers.py`: a module of its own, because its worker processes import the class anew.

Without postponed annotations: FastAPI reads them as types.
"""

import base64
from typing import Any

import litserve as ls

MAX_BATCH, BATCH_TIMEOUT_S = 32, 0.005


class Embeddings(ls.LitAPI):  # type: ignore[misc]
    """Batches of at most 32 texts that wait at most 5 ms for company."""

    def __init__(self, directory: str) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S, api_path="/v1/embeddings")
        self._directory = directory

    def setup(self, device: str) -> None:
        """Load the model."""
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(self._directory, device=device, local_files_only=True)

    def decode_request(self, request: dict[str, Any]) -> str:
        """The text of a request."""
        return str(request["input"])

    def predict(self, x: list[str]) -> Any:
        """One vector a text."""
        return self._model.encode(x, batch_size=MAX_BATCH, show_progress_bar=False)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """As OpenAI writes it."""
        encoded = base64.b64encode(output.astype("<f4").tobytes()).decode()
        return {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": encoded}]}


def serve(directory: str, port: int) -> None:
    """Serve until stopped, with one worker."""
    server = ls.LitServer(Embeddings(directory), accelerator="cpu", workers_per_device=1, timeout=False)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")
