"""Several processes that serve on one host: one owns the log, and the others send it their rows."""
