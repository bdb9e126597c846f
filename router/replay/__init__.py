"""Replay: what another policy would have done on the logged traffic, each quantity by a method valid for it."""
