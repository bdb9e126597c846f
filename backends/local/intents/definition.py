"""What users define: labels, each with example texts. Checks it and reads it from TOML; fits nothing."""

from __future__ import annotations

import hashlib
import re
import tomllib
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

BUILTIN = "builtin"
UNKNOWN = "unknown"
MAX_LABELS = 1000
MIN_EXAMPLES, MAX_EXAMPLES = 2, 2000  # of one label
MAX_TEXTS = 20_000  # of a whole set: embedding them takes a minute or two, not an hour
MAX_CHARACTERS = 10_000  # of one example
MAX_LABEL_CHARACTERS = 128
METHOD = 1  # counted up when the same examples would give another classifier

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# A text of its own, whose vector tells one embedder from another.
PROBE = "The same words, read by the same model, point the same way."


class BadIntents(ValueError):
    """A definition that cannot be used; `field` names where it is wrong, and no message repeats an example."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class Intent(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts that want the same thing, and what that is, in a few words."""

    examples: tuple[str, ...]
    description: str = ""


class IntentSet(Struct, frozen=True, kw_only=True):
    """Intents to tell apart.

    Attributes:
        name: Of the set; its model is `intents/NAME`.
        intents: By label.
        unknown: Texts that want none of it, where the user has some.
    """

    name: str
    intents: dict[str, Intent]
    unknown: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order in which they were given."""
        return tuple(self.intents)

    @property
    def digest(self) -> str:
        """The same for the same definition under the same method: 16 hexadecimal digits."""
        body = msgspec.json.encode([METHOD, PROBE, list(self.intents.items()), self.unknown])
        return hashlib.sha256(body).hexdigest()[:16]


def checked(intents: IntentSet) -> IntentSet:
    """The set as it will be used: a text repeated under its own label counts once.

    Raises:
        BadIntents: naming the field that is wrong, what was found there, and what may stand there.
    """
    if not _NAME.fullmatch(intents.name) or intents.name == BUILTIN:
        wanted = "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
        raise BadIntents("name", f"is {intents.name[:64]!r}; {wanted}, and not {BUILTIN!r}")
    if not 2 <= len(intents.intents) <= MAX_LABELS:
        raise BadIntents("intents", f"has {len(intents.intents)} labels; 2 to {MAX_LABELS} are needed")
    seen: dict[str, str] = {}
    kept = {label: _checked(label, intent, seen) for label, intent in intents.intents.items()}
    unknown = _distinct(intents.unknown, UNKNOWN, "unknown", seen)
    if len(seen) > MAX_TEXTS:
        raise BadIntents("intents", f"has {len(seen)} examples in all; at most {MAX_TEXTS} are allowed")
    return IntentSet(name=intents.name, intents=kept, unknown=unknown)


def read_toml(text: str, name: str) -> IntentSet:
    """A set from TOML: a table a label, and `unknown` as an array. Not checked yet.

    Raises:
        BadIntents: It is no TOML, or not of that shape.
    """
    try:
        tree = tomllib.loads(text)
        unknown = tree.pop(UNKNOWN, [])
        return msgspec.convert({"name": name, "intents": tree, "unknown": unknown}, IntentSet)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadIntents("intents", f"not a TOML file of intents: {error}") from error


@cache
def builtin() -> IntentSet:
    """What people ask of a language model: the set that comes with Nearfar."""
    text = Path(__file__).with_name("builtin.toml").read_text(encoding="utf-8")
    return read_toml(text, BUILTIN)


def _checked(label: str, intent: Intent, seen: dict[str, str]) -> Intent:
    field = f"intents.{label[:MAX_LABEL_CHARACTERS]}"
    if not label.strip() or len(label) > MAX_LABEL_CHARACTERS or label.strip().lower() == UNKNOWN:
        allowed = f"1 to {MAX_LABEL_CHARACTERS} characters, and not {UNKNOWN!r}: its examples go to `unknown`"
        raise BadIntents("intents", f"{label[:MAX_LABEL_CHARACTERS]!r} is no label; {allowed}")
    if len(intent.description) > MAX_CHARACTERS:
        raise BadIntents(f"{field}.description", f"is longer than {MAX_CHARACTERS} characters")
    examples = _distinct(intent.examples, label, f"{field}.examples", seen)
    if not MIN_EXAMPLES <= len(examples) <= MAX_EXAMPLES:
        found = f"has {len(examples)} different texts"
        raise BadIntents(f"{field}.examples", f"{found}; {MIN_EXAMPLES} to {MAX_EXAMPLES} are needed")
    return Intent(examples, intent.description)


def _distinct(texts: tuple[str, ...], label: str, field: str, seen: dict[str, str]) -> tuple[str, ...]:
    """The texts without repetitions; none may be empty, or stand under another label too."""
    kept = []
    for index, text in enumerate(texts):
        same = " ".join(text.split()).casefold()
        if not same or len(text) > MAX_CHARACTERS:
            what = "is empty" if not same else f"is longer than {MAX_CHARACTERS} characters"
            raise BadIntents(f"{field}[{index}]", what)
        if seen.get(same, label) != label:
            raise BadIntents(f"{field}[{index}]", f"is an example of {seen[same]!r} too")
        if same not in seen:
            kept.append(text)
        seen[same] = label
    return tuple(kept)
