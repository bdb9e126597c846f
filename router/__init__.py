"""Nearfar's router: decides near or far for each inference request, and logs why.

Importing it needs no torch, no token, no network and no GPU.
"""

__version__ = "0.1.0"
