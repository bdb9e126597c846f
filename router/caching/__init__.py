"""Answers given before, kept for requests that are the same to the last bit: opt-in, bounded, in memory alone."""
