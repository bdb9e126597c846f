"""The far backend: models served over HTTP by the Hugging Face router or any server that speaks its protocols."""
