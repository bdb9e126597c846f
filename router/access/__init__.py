"""Who may ask, and how much: keys and tokens, limits, and the record of what admins did. Knows no HTTP."""
