"""The report as one page: charts, tables and words from the answers to the log's named questions. Reads no log."""
