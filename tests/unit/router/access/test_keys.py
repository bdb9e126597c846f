"""Keys as values: what a secret is, when it works, and what can be done to a list of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.access.keys import MARK, Limits, Wanted, created, digest_of, revoked, rotated
from router.access.told import issued, told
from router.errors import InvalidRequest, UnknownKey

NOW = 1_800_000_000.0


def made(name: str = "alice", keys=(), **wanted):
    return created(tuple(keys), Wanted(name=name, **wanted), NOW)


def works(key, secret: str, now: float) -> bool:
    return any(kept.sha256 == digest_of(secret) and key.accepts(kept, now) for kept in key.secrets)


def test_a_secret_is_256_random_bits_behind_a_mark_and_is_kept_as_its_hash_alone() -> None:
    """No two are alike, and nothing that is kept holds one."""
    one, other = made(), made()

    assert re.fullmatch(r"nf_[A-Za-z0-9_-]{43}", one.secret)
    assert one.secret != other.secret
    assert one.secret not in repr(one.keys)
    assert (digest_of(one.secret), one.secret[: len(MARK) + 6]) == (
        one.key.secrets[0].sha256,
        one.key.secrets[0].prefix,
    )


def test_what_is_shown_of_a_key_holds_its_secret_once() -> None:
    """Where it is made the secret is shown, and then nothing of it but its beginning; its hash never is."""
    one = made()

    assert one.secret == issued(one, NOW)["secret"]
    assert one.secret not in repr(told(one.key, NOW))
    assert digest_of(one.secret) not in repr(issued(one, NOW))


@pytest.mark.parametrize("name", ["", "a b", "jwt:alice", "../x", "-a", "a" * 65, "ä", "a\n"])
def test_a_name_that_could_be_mistaken_is_refused(name) -> None:
    """Above all one with a colon: tokens' tenants have one."""
    with pytest.raises(InvalidRequest, match="name:"):
        made(name)


def test_a_name_is_given_once_even_when_its_key_is_revoked() -> None:
    """A new owner of an old name would read the old owner's rows."""
    keys, _ = revoked(made().keys, "alice", NOW)

    with pytest.raises(InvalidRequest, match="given before"):
        made(keys=keys)


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"scopes": ()}, "scopes"),
        ({"scopes": ("infer", "root")}, "scopes"),
        ({"expires_in_s": 0.0}, "expires_in_s"),
        ({"expires_in_s": -5.0}, "expires_in_s"),
        ({"expires_in_s": float("nan")}, "expires_in_s"),
        ({"expires_in_s": float("inf")}, "expires_in_s"),
        ({"limits": Limits(concurrency=0)}, "concurrency"),
        ({"limits": Limits(tokens_per_minute=-1)}, "tokens_per_minute"),
    ],
)
def test_a_key_that_would_open_nothing_or_anything_is_refused(wanted, param) -> None:
    """The field at fault is named."""
    with pytest.raises(InvalidRequest) as refused:
        made(**wanted)

    assert param == refused.value.param


@given(st.floats(1, 10**6), st.floats(0, 2 * 10**6))
def test_a_key_works_until_it_expires(expires_in_s, later_s) -> None:
    """Neither longer nor shorter, to the second."""
    one = made(expires_in_s=expires_in_s)

    assert (NOW + later_s < int(NOW + expires_in_s)) == works(one.key, one.secret, NOW + later_s)


@given(st.floats(0, 10**6), st.floats(0, 2 * 10**6))
def test_an_old_secret_works_for_the_overlap_and_the_new_one_at_once(overlap_s, later_s) -> None:
    """A rotation locks nobody out who has the time to change."""
    old = made()
    new = rotated(old.keys, "alice", overlap_s, NOW)

    assert works(new.key, new.secret, NOW + later_s)
    assert (NOW + later_s < int(NOW + overlap_s)) == works(new.key, old.secret, NOW + later_s)


def test_another_rotation_prolongs_no_old_secret_and_drops_those_that_are_over() -> None:
    """An overlap is what was promised at the time, or less."""
    first = made()
    second = rotated(first.keys, "alice", 60, NOW)
    third = rotated(second.keys, "alice", 3600, NOW + 30)
    fourth = rotated(third.keys, "alice", 3600, NOW + 100)

    assert [True, False] == [works(third.key, first.secret, NOW + later) for later in (59, 61)]
    assert 3 == len(fourth.key.secrets)


def test_a_revoked_key_opens_nothing_stays_revoked_and_cannot_be_rotated_back() -> None:
    """The end is the end; asking for it again changes nothing."""
    one = made()
    keys, key = revoked(one.keys, "alice", NOW + 5)
    again, _ = revoked(keys, "alice", NOW + 50)

    assert not works(key, one.secret, NOW + 5)
    assert keys == again
    with pytest.raises(InvalidRequest, match="revoked or has expired"):
        rotated(keys, "alice", 60, NOW + 6)


@pytest.mark.parametrize("overlap_s", [-1.0, float("nan"), 10.0**9])
def test_an_overlap_without_sense_is_refused(overlap_s) -> None:
    """It may not be endless either: the old secret would never end."""
    with pytest.raises(InvalidRequest, match="overlap_s"):
        rotated(made().keys, "alice", overlap_s, NOW)


def test_a_key_that_is_not_there_is_named() -> None:
    """Rotating and revoking say which name nobody has."""
    for change in (lambda: revoked((), "bob", NOW), lambda: rotated((), "bob", 0, NOW)):
        with pytest.raises(UnknownKey, match="'bob'"):
            change()


def test_limits_of_its_own_go_before_the_configurations() -> None:
    """One by one."""
    own, defaults = Limits(concurrency=1), Limits(concurrency=5, requests_per_minute=60)

    assert Limits(concurrency=1, requests_per_minute=60) == own.over(defaults)
