"""Runtimes that turn token sequences into sentence vectors, all of them exact; which is fastest is measured."""
