"""Engines that we did not write, as servers of a provider: which there are, how each is, and whom to ask."""
