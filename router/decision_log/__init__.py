"""The decision log: every request, attempt and cost, in one DuckDB file that one process owns."""
