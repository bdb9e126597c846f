"""The keys as a running server knows them."""

from pathlib import Path

from router.access import keys as values
from router.access.keyring import Keyring
from router.access.keys import Wanted
from router.access.store import KeyFile
from tests.unit.loops import in_a_loop

FILE = Path("keys.json")
NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def ring(clock=None) -> Keyring:
    opened = Keyring(KeyFile(FILE), clock or Clock())
    opened.open()
    return opened


@in_a_loop
async def test_a_secret_finds_its_key_and_nothing_else_finds_any() -> None:
    """Not its beginning, its hash, its name, or another case."""
    keyring = ring()
    made = await keyring.create(Wanted(name="alice", scopes=("read",)))
    wrong = [
        "",
        "nf_",
        "alice",
        made.secret[:-1],
        made.secret + "x",
        made.secret.swapcase(),
        "nf_" + "A" * 43,
        "\ud800",
    ]

    assert "alice" == keyring.find(made.secret).name
    assert [None] * 9 == [keyring.find(guess) for guess in [*wrong, made.key.secrets[0].sha256]]


@in_a_loop
async def test_revoking_works_at_once_and_expiry_and_overlap_by_the_clock() -> None:
    """Nothing has to be read again for a time to come."""
    clock = Clock()
    keyring = ring(clock)
    short = await keyring.create(Wanted(name="short", expires_in_s=60))
    old = await keyring.create(Wanted(name="turned"))
    new = await keyring.rotate("turned", 30)
    gone = await keyring.create(Wanted(name="gone"))
    await keyring.revoke("gone")
    states = []
    for later in (0, 31, 61):
        clock.now = NOW + later
        states.append([keyring.find(one.secret) is not None for one in (short, old, new, gone)])

    assert [[True, True, True, False], [True, False, True, False], [False, False, True, False]] == states


@in_a_loop
async def test_what_a_command_changes_beside_it_is_seen_when_the_file_is_looked_at() -> None:
    """A key that is made elsewhere opens, one that is revoked elsewhere does not; a deleted file leaves no key."""
    server, command = ring(), ring()
    made = await command.create(Wanted(name="alice"))
    before = server.find(made.secret)
    server.reread()
    between = server.find(made.secret)
    await command.revoke("alice")
    server.reread()
    after = server.find(made.secret)
    other = await command.create(Wanted(name="bob"))
    server.reread()
    FILE.unlink()  # noqa: ASYNC240 - nobody else waits
    server.reread()

    assert (None, "alice", None) == (before, between.name, after)
    assert server.find(other.secret) is None


@in_a_loop
async def test_a_file_that_is_damaged_while_it_runs_leaves_the_keys_as_they_were() -> None:
    """Nobody is locked out by half an edit; it is told in the log."""
    keyring = ring()
    made = await keyring.create(Wanted(name="alice"))
    FILE.write_text("{")  # noqa: ASYNC240 - nobody else waits
    keyring.reread()

    assert keyring.find(made.secret) is not None


@in_a_loop
async def test_when_a_key_was_last_used_is_noted_to_the_hour_and_undoes_nothing() -> None:
    """Noting it keeps what a command changed meanwhile: a revoked key stays revoked."""
    clock = Clock()
    keyring = ring(clock)
    used = await keyring.create(Wanted(name="used"))
    await keyring.create(Wanted(name="silent"))
    clock.now += 5000
    keyring.find(used.secret)
    ring().find("nobody")
    file = KeyFile(FILE)
    file.change(lambda keys: values.revoked(keys, "used", NOW))
    keyring.note_uses()
    stamp = file.stamp()
    keyring.note_uses()
    by_name = {key.name: key for key in file.read()}

    assert (NOW + 5000) // 3600 * 3600 == by_name["used"].last_used_at
    assert by_name["used"].revoked_at is not None
    assert by_name["silent"].last_used_at is None
    assert stamp == file.stamp()
    assert keyring.find(used.secret) is None
