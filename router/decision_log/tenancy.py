"""Whose rows a reader shows: conditions on rows, and on the sums that are kept of them. SQL, no state.

A decision of nobody in particular has NULL as its tenant. Everything else of the log belongs to a decision, or to all.
"""

from __future__ import annotations


def own(sees: str | None, column: str = "tenant") -> str:
    """The condition that a row may be seen by whoever sees this tenant's alone; None sees everybody's.

    A tenant's name is whatever a token says: it goes into SQL as a literal, in which only the quote means something.
    """
    if sees is None:
        return "true"
    if not sees:
        return f"{column} IS NULL"
    if "\0" in sees:
        return "false"  # it would end the query's text; and no row has such a name
    return f"{column} = {literal(sees)}"


def own_sums(sees: str | None, dimension: str) -> str:
    """The condition that sums of this dimension are those to show: an owner's own, or else everybody's together."""
    if sees is None:
        return "owner IS NULL"
    if dimension == "tenant":  # the cells of one tenant lie among everybody's, by its name
        return f"owner IS NULL AND {own(sees, 'value')}"
    return own(sees, "owner")


def literal(text: str) -> str:
    """A text as SQL says it."""
    return "'" + text.replace("'", "''") + "'"
