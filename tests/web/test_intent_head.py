"""The arithmetic of intents in JavaScript gives what the server's gives."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from backends.local.intents.classifier import ENERGY_SHARE, Classifier
from backends.local.intents.definition import PROBE, UNKNOWN
from backends.local.intents.fitting import fit, texts_of
from tests.unit.backends.local.trigrams import SUPPORT, vectors_of

HEAD = Path(__file__).parents[2] / "router/web/browser/head.js"
TEXTS = ["where is my money", "the parcel", "my password, please", "zebra quartz", "refund refund refund"]
PROGRAM = f"""
import {{ classified, headOf }} from {json.dumps(HEAD.as_uri())};
const {{ told, vectors }} = JSON.parse(await new Response(process.stdin).text());
const head = headOf(told);
console.log(JSON.stringify(vectors.map((vector) => classified(head, Float32Array.from(vector)))));
"""


@pytest.mark.parametrize("unknown", [(), ("zebra", "quartz", "xylophone", "a cat sat", "snow", "rain")])
def test_a_page_gives_the_servers_probabilities(unknown) -> None:
    """For every label and for `unknown`, with and without examples of it."""
    intents = msgspec.structs.replace(SUPPORT, unknown=unknown)
    head = fit(intents, vectors_of(texts_of(intents))).head
    told = msgspec.to_builtins(head) | {
        "name": "support",
        "model": "intents/support",
        "unknown": UNKNOWN,
        "probe_text": PROBE,
        "energy_share": ENERGY_SHARE,
    }
    vectors = vectors_of(TEXTS)
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    given = json.dumps({"told": told, "vectors": vectors.tolist()})
    done = subprocess.run(
        [node, "--input-type=module", "-e", PROGRAM], input=given, capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stderr
    classifier = Classifier(head)
    for own, row in zip(json.loads(done.stdout), classifier.probabilities(vectors), strict=True):
        wanted = dict(zip(classifier.labels, row.tolist(), strict=True))
        assert pytest.approx(wanted, abs=1e-5) == {one["label"]: one["score"] for one in own}
        assert own == sorted(own, key=lambda one: -one["score"])
