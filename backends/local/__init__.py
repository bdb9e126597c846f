"""The near side: models in this process. Heavy libraries are imported inside functions only."""
