"""Reading the configuration again while requests run: what can change is put into force, the rest waits for a start."""
