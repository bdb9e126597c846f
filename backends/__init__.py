"""Where inference runs: local, remote or fake. Knows no policy, no HTTP server and no log."""
