"""Whose rows an identity may see."""

from __future__ import annotations

from router.identity import ANYBODY, Identity


def test_only_an_admin_sees_everybody() -> None:
    """Whoever reads sees their own; nobody else's name is one of theirs."""
    assert "team" == Identity("team", frozenset({"infer", "read"})).sees
    assert Identity("team", frozenset({"read", "admin"})).sees is None
    assert ANYBODY.sees is None
