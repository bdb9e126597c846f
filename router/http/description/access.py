"""The routes of API keys, and of what admins did."""

from typing import Literal

from router.access.audit import AuditEntry
from router.access.keys import Limits
from router.http.description.operation import Described, Example, Link, Told

_NAMED = {"name": "$response.body#/name"}
_NOBODY = Example(summary="A key that nobody made", parameters={"name": "nobody"}, status=404)


class OldSecret(Told):
    """A secret that a newer one replaces, and until when it still works; null is for ever."""

    prefix: str
    works_until: str | None


class KeyTold(Told):
    """An API key, without its secret. Instants are ISO 8601, UTC; `last_used_at` is right to the hour."""

    name: str
    prefix: str
    state: Literal["active", "revoked", "expired"]
    scopes: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    old_secrets: list[OldSecret]
    limits: Limits


class KeyIssued(KeyTold):
    """The same with its new secret: the one time that it is shown."""

    secret: str


class Keys(Told):
    """Every key, oldest first; `mode` is `auth.mode`: where it is `none` or `jwt`, keys open nothing."""

    object: Literal["list"]
    mode: Literal["none", "keys", "jwt", "keys+jwt"]
    data: list[KeyTold]


class Audit(Told):
    """What admins did, newest first."""

    object: Literal["list"]
    data: list[AuditEntry]


TABLE = {
    "GET /v1/keys": Described(answer=Keys),
    "POST /v1/keys": Described(
        answer=KeyIssued,
        links={"revoke": Link(to="DELETE /v1/keys/{name}", parameters=_NAMED)},
        examples={
            "day": Example(
                summary="A key of a day that reads only",
                body={"name": "example", "scopes": ["read"], "expires_in_s": 86400, "concurrency": 4},
            )
        },
    ),
    "DELETE /v1/keys/{name}": Described(answer=KeyTold, examples={"none": _NOBODY}),
    "POST /v1/keys/{name}/rotate": Described(
        answer=KeyIssued,
        examples={
            "none": Example(
                summary="A key that nobody made", parameters={"name": "nobody"}, body={"overlap_s": 60}, status=404
            )
        },
    ),
    "GET /v1/audit": Described(
        answer=Audit,
        parameters={"limit": {"minimum": 1, "maximum": 1000}},
        examples={"last": Example(summary="The last ten", parameters={"limit": 10})},
    ),
}
