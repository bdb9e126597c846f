"""Sets of intents as files, and the classifiers an embedder finds there."""

import json
import pickle
import stat

import msgspec
import pytest

from backends.errors import Unavailable
from backends.local.intents import storage
from backends.local.intents.definition import builtin
from backends.local.intents.fitting import fit, texts_of
from backends.local.intents.heads import Heads
from backends.local.intents.storage import Stored
from tests.unit.backends.local.trigrams import SUPPORT, Trigrams, vectors_of


@pytest.fixture(scope="module")
def stored():
    """The set, fitted."""
    return Stored(intents=SUPPORT, digest=SUPPORT.digest, fitted=fit(SUPPORT, vectors_of(texts_of(SUPPORT))))


@pytest.fixture
def model(tmp_path):
    return Trigrams(tmp_path)


def file_of(model, name="support"):
    return storage.path_of(model.opening.intents_dir, name)


def test_what_was_written_is_read(stored, tmp_path):
    """Whole, in a new folder, by its owner only, with nothing left beside it."""
    path = tmp_path / "new" / "support.json"
    storage.write(path, stored)
    storage.write(path, stored)

    assert stored == storage.read(path)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(path.parent.iterdir())
    assert ["support"] == storage.names_in(path.parent)
    assert [] == storage.names_in(tmp_path / "nowhere")


def damaged(body: bytes) -> dict[str, bytes]:
    document = json.loads(body)
    flipped = document["stored"]["fitted"]["head"]["weights"]
    document["stored"]["fitted"]["head"]["weights"] = ("B" if flipped[0] == "A" else "A") + flipped[1:]
    return {
        "empty": b"",
        "cut off": body[: len(body) // 2],
        "one letter changed": json.dumps(document).encode(),
        "another version": body.replace(b'"version":1', b'"version":2'),
        "a pickle": pickle.dumps({"weights": 1}),
        "not text": b"\xff\xfe\x00",
    }


@pytest.mark.parametrize("kind", damaged(b'{"stored":{"fitted":{"head":{"weights":"AA"}}}}'))
def test_a_damaged_file_is_refused_by_name(kind, stored, tmp_path):
    """Nothing of it is used, and no path is told."""
    path = tmp_path / "support.json"
    storage.write(path, stored)
    path.write_bytes(damaged(path.read_bytes())[kind])

    with pytest.raises(Unavailable, match="'support' is damaged") as refused:
        storage.read(path)
    assert str(tmp_path) not in str(refused.value)


def test_a_set_that_is_not_there_is_refused_by_name(model):
    """A request for it fails; nothing is made."""
    with pytest.raises(Unavailable, match="no intents named 'other'"):
        Heads(model).classifier("other")
    assert not model.opening.intents_dir.exists()


def test_a_fit_to_another_definition_is_not_current(stored):
    """Somebody changed an example in the configuration."""
    changed = msgspec.structs.replace(SUPPORT, unknown=("x",))

    assert stored.current == stored.fitted
    assert msgspec.structs.replace(stored, intents=changed).current is None


def test_a_fitted_set_is_only_read(stored, model):
    """The one text that is embedded tells which embedder this is; the second time not even the file is read."""
    storage.write(file_of(model), stored)
    heads = Heads(model)

    assert heads.classifier("support") is heads.classifier("support")
    assert 1 == model.embedded


def test_an_unfitted_set_is_fitted_once_and_kept(model):
    """Another process then finds it fitted."""
    storage.write(file_of(model), Stored(intents=SUPPORT))
    heads = Heads(model)
    classifier = heads.classifier("support")
    needed = 1 + len(texts_of(SUPPORT))

    assert (needed, classifier) == (model.embedded, heads.classifier("support"))
    assert storage.read(file_of(model)).current is not None
    Heads(model).classifier("support")
    assert needed + 1 == model.embedded


def test_another_embedder_gets_a_fit_of_its_own(stored, model, tmp_path):
    """Vectors of one mean nothing to the head of the other."""
    storage.write(file_of(model), stored)
    Heads(Trigrams(tmp_path, dimensions=96)).classifier("support")

    found = storage.read(file_of(model)).current
    assert found is not None
    assert 96 * 4 == len(found.head.probe)


def test_a_replaced_set_is_seen_and_a_deleted_one_gone(stored, model):
    """Without loading the embedder anew."""
    storage.write(file_of(model), stored)
    heads = Heads(model)
    heads.classifier("support")
    fewer = msgspec.structs.replace(SUPPORT, intents=dict(list(SUPPORT.intents.items())[:2]))
    storage.write(file_of(model), Stored(intents=fewer))

    assert ("refund", "delivery", "unknown") == heads.classifier("support").labels
    file_of(model).unlink()
    with pytest.raises(Unavailable):
        heads.classifier("support")


def test_the_builtin_set_is_fitted_once_and_made_anew_when_damaged(model):
    """It is derived from what we ship: nobody has to mend it."""
    Heads(model).classifier("builtin")
    [kept] = (model.opening.cache_dir / "intents").iterdir()
    once = model.embedded
    Heads(model).classifier("builtin")
    assert once + 1 == model.embedded

    kept.write_bytes(b"damaged")
    Heads(model).classifier("builtin")
    assert builtin().digest == storage.read(kept).digest


def test_a_set_that_cannot_be_kept_still_answers(model, caplog):
    """A full or read-only disk costs the next process a second, not this one its answers."""
    model.opening.cache_dir.write_text("a file where a folder should be")
    heads = Heads(model)

    assert heads.classifier("builtin") is heads.classifier("builtin")
    assert "cannot be kept" in caplog.text
