"""The catalogue at run time: models, aliases and routes changed while requests run, and kept. See `overlay`."""
