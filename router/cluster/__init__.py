"""Several routers, and one owner of what they share: budgets, rate limits, breakers, keys and the catalogue."""
