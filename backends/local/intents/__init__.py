"""Intents by example: what a set of them is, how a classifier is fitted to it, and how it is kept.

`definition` says what users may write, `fitting` and `calibration` hold the method, `classifier` answers,
`storage` keeps files and `heads` finds the classifier for a loaded embedder. None of them knows HTTP or a request.
"""
