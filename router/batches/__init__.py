"""Batches: a file of requests in, a file of answers out, at low priority, and through a kill as if nothing had been.

It reads files, keeps state and asks; how a line becomes a request, and what comes of it, is its caller's (`Ask`).
"""
