"""Two tenants of one server: what is one's is never told to the other."""
