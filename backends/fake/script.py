"""What a fake target is told to pretend, checked. Pretends nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from backends import errors
from backends.errors import BackendError

if TYPE_CHECKING:
    from backends.types import Target

FAILURES: dict[str, type[BackendError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, BackendError) and kind is not BackendError
}


class Script(Struct, frozen=True, kw_only=True):
    """What a fake target pretends. Its token is a word of a text, or a step of a drawing.

    Attributes:
        latency_ms: Paid by every request before its first token.
        first_token_ms: Paid by whatever has tokens, on top.
        tokens: Words a generation or a transcript has, and steps a drawing takes, where the request says nothing else.
        per_token_ms: Paid for each of them.
        load_ms: Paid once; a target with none is loaded from the start.
        fail: A class of `backends.errors` to raise; empty for none.
        fail_times: Only the first n calls fail; 0 is all of them.
        fail_after_tokens: Streams fail after n tokens instead of at once (with RemoteError when `fail` is empty).
        truncate_after_tokens: Streams end after n tokens without a result.
        near: Whether a router should treat it as near.
        dimensions: Length of its vectors.
        confidence: How sure it is of its texts, in 0..1; None says nothing.
    """

    latency_ms: float = 0
    first_token_ms: float = 0
    tokens: int = 16
    per_token_ms: float = 0
    load_ms: float = 0
    fail: str = ""
    fail_times: int = 0
    fail_after_tokens: int | None = None
    truncate_after_tokens: int | None = None
    near: bool = False
    dimensions: int = 384
    confidence: float | None = None

    def breaks(self, tokens: int) -> bool:
        """Whether an answer of that many tokens would break on the way."""
        limits = (self.fail_after_tokens, self.truncate_after_tokens)
        return tokens > 0 and any(limit is not None and limit <= tokens for limit in limits)


def script_of(target: Target) -> Script:
    """The target's script.

    Raises:
        ValueError: An unknown key, an unknown error class, a wrong type or a negative number.
            It names the alternatives.
    """
    given = dict(target.script)
    known = Script.__struct_fields__
    if unknown := sorted(given.keys() - set(known)):
        msg = f"fake model {target.model}: unknown script key {unknown[0]!r}; there are: {', '.join(known)}"
        raise ValueError(msg)
    try:
        script = msgspec.convert(given, Script)
    except msgspec.ValidationError as error:
        msg = f"fake model {target.model}: {error}"
        raise ValueError(msg) from error
    if script.fail and script.fail not in FAILURES:
        msg = f"fake model {target.model}: unknown error {script.fail!r}; there are: {', '.join(sorted(FAILURES))}"
        raise ValueError(msg)
    for name, value in given.items():
        if isinstance(value, (int, float)) and value < (1 if name == "dimensions" else 0):
            msg = f"fake model {target.model}: {name} must not be {value}"
            raise ValueError(msg)
    return script
