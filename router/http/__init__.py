"""The HTTP floor: shapes in, shapes out. The only place that knows status codes."""
