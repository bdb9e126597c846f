"""`nearfar keys` and `nearfar doctor`, in an empty folder."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from router.cli import main

CONFIG = """
[auth]
mode = "keys"
[[models]]
id = "test/chat"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "a"
[[budgets]]
scope = "key:nobody"
limit_usd = 1.0
"""


def nearfar(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def created(name: str, *options: str) -> str:
    done = nearfar("keys", "create", name, *options)

    assert 0 == done.exit_code, done.stderr
    return done.stdout.strip()


def test_refusals_of_the_commands_name_what_is_wrong() -> None:
    """A bad name, a name given before, one nobody has: exit code 1, or 2 where the usage is wrong."""
    created("app")
    unused = nearfar("keys", "create", "other")
    again, nobody = nearfar("keys", "create", "app"), nearfar("keys", "revoke", "nobody")
    usage = nearfar("keys", "create", "x", "--expires", "soon")
    table = nearfar("keys", "list")
    doctor = {line["what"]: line for line in json.loads(nearfar("doctor", "--json").stdout)}

    assert [1, 1, 2] == [done.exit_code for done in (again, nobody, usage)]
    assert "nobody is asked for it yet" in unused.stderr
    assert "given before" in again.stderr
    assert "no key 'nobody'" in nobody.stderr
    assert "is no duration" in usage.stderr
    assert "active" in table.stdout
    assert "loopback only" in doctor["auth"]["detail"]


def test_doctor_says_how_senders_are_known() -> None:
    """How many keys open something, which end soon, and what a budget names in vain."""
    Path("nearfar.toml").write_text(CONFIG)
    before = json.loads(nearfar("doctor", "--json").stdout)
    created("short", "--expires", "1h")
    Path("nearfar-keys.json").chmod(0o644)
    after = json.loads(nearfar("doctor", "--json").stdout)
    about = [line["detail"] for line in after if line["what"] in {"api keys", "budget"}]

    assert ["none that opens anything"] == [line["detail"] for line in before if line["what"] == "api keys"]
    assert [
        "1 active (0 with admin), 0 ended",
        "nearfar-keys.json can be read by others",
        "short expires within a week",
        "key:nobody: there is no such key yet",
    ] == about
