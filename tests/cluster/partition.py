"""`python -m tests.cluster.partition FOLDER`: a router is cut off from all others of its cluster. Prints what happens.

The router is in this network namespace, with its callers; the owner of the state and another router are in one beside
it (`tests.e2e.veth`). The folder that all ship to is a mount from over there: it is gone while the network is.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.shipping.checking import checked
from router.shipping.places import place_of
from router.shipping.reading import Segments
from tests.cluster.nodes import BODY, FAR_AND_NEAR, Cluster, budget, far, member
from tests.cluster.test_state import cluster_of, until
from tests.e2e import veth
from tests.e2e.conftest import MINILM, Server

if TYPE_CHECKING:
    import subprocess

OWNER = f"{veth.THERE}:8090"
SURVIVE = "survive_s = 2\n"
ROUND = 5


def config(mount: Path) -> str:
    return f'{FAR_AND_NEAR}{budget(1000.0)}[log.ship]\nto = "{mount / "segments"}"\nevery_s = 0.2\n'


def rest(folder: Path) -> None:
    """The rest of the cluster: the owner, and a router that is asked once for every line."""
    veth.connected()
    there = Cluster(folder / "rest", config(folder / "disk"), OWNER)
    try:
        one, answer = there.node("one"), "there"
        while veth.there(answer):
            answer = json.dumps(far(one.post("/v1/inference", BODY)))
    finally:
        there.close()


class Cut:
    """The router that is cut off, and what its callers were told."""

    def __init__(self, folder: Path) -> None:
        self.mount = folder / "mount"
        self._disk = folder / "disk"
        self.mount.symlink_to(self._disk)
        self.server = Server(folder / "two", config(self.mount) + member(f"http://{OWNER}", SURVIVE))
        self.answered: list[str] = []

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """An answer, which there is in any case."""
        answer = self.server.post("/v1/inference", body)
        assert 200 == answer.status, answer.body
        self.answered.append(answer.body["decision_id"])
        found: dict[str, Any] = answer.body
        return found

    def goes_far(self) -> bool:
        return str(self.ask(BODY)["attempts"][-1]["candidate"]).startswith("dear:")

    def cut(self) -> None:
        veth.cut()
        self.mount.unlink()

    def heal(self) -> None:
        self.mount.symlink_to(self._disk)
        veth.heal()

    def told(self) -> dict[str, Any]:
        """The rule in force, and whether the log is shipped."""
        shipping = self.server.get("/v1/system").body["shipping"]
        return {"rule": cluster_of(self.server)["rule"], "ships": shipping["error"] is None}


def asked(folder: Path, two: Cut, others: subprocess.Popen[str]) -> dict[str, Any]:
    """What comes of it with the network, without, and with it again."""
    found: dict[str, Any] = {"before": [two.goes_far(), json.loads(veth.ask(others))]}
    two.cut()
    until(lambda: not two.goes_far() and two.told() == {"rule": "closed", "ships": False}, "it does not notice")
    found["cut"] = [two.goes_far() for _ in range(ROUND)]
    found["near"] = [two.ask({"model": MINILM, "inputs": "hi"})["backend"] for _ in range(ROUND)]
    found["others"] = json.loads(veth.ask(others))
    waiting = two.answered[-2 * ROUND :]
    arrived = {row[0] for row in decisions(folder)}
    found["arrived_early"] = len(arrived.intersection(waiting))
    two.heal()
    until(two.goes_far, "it spends nothing")
    until(lambda: two.told() == {"rule": "shared", "ships": True}, "it is not back")
    return found


def main(folder: Path) -> None:
    """Ask with the network, without, and with it again."""
    (folder / "disk").mkdir()
    others = veth.beside("tests.cluster.partition", "rest", str(folder))
    two = Cut(folder)
    try:
        found = asked(folder, two, others)
    finally:
        stopped = two.server.stop()
        assert others.stdin is not None
        others.stdin.close()
        ended = others.wait(60)
    found |= {"stopped": stopped, "others_ended": ended}
    rows = [row[0] for row in decisions(folder)]
    found["lost"] = len(set(two.answered) - set(rows))
    found["extra"] = len(rows) - len(two.answered)
    found["faulty"] = sum(one.missing + one.doubled for one in checked(place_of(str(folder / "disk" / "segments"))))
    sys.stdout.write(json.dumps(found))


def decisions(folder: Path) -> list[list[Any]]:
    """Every decision that has arrived."""
    with closing(Segments(place_of(str(folder / "disk" / "segments")))) as segments:
        return [list(row) for row in segments.reader().sql("SELECT decision_id::VARCHAR FROM decisions").rows]


if __name__ == "__main__":
    if sys.argv[1] == "rest":
        rest(Path(sys.argv[2]))
    else:
        os.environ["NEARFAR_CLUSTER_SECRET"] = "of this test"
        main(Path(sys.argv[1]))
