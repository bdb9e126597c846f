"""What a running router tells those who watch it: traces, log lines, and a dashboard. Never what was asked."""
