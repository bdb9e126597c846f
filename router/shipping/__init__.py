"""The decision logs of several nodes in one place: each ships Parquet segments there, and whoever may reads them."""
