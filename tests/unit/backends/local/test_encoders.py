"""Which encoder is chosen, how sequences are cut into batches, and how many threads compute: no model is loaded."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import Unavailable
from backends.local.encoders import choice, onnx, onnx_export, packed, parity, pipeline
from backends.local.encoders.batches import in_order, padded, plan
from backends.local.encoders.choice import NAMES, REFERENCE, WORTH, EncoderChoice, Speed, choose, measure, open_encoder
from backends.local.encoders.spare_cores import WINDOW_S, SpareCores

np = pytest.importorskip("numpy")
seconds = st.floats(1e-4, 10)
lengths = st.lists(st.integers(1, 512), min_size=1, max_size=80)


def speed(name, short_s, batch_s, agreement=1.0):
    return Speed(
        name=name, agreement=agreement, short_tokens=12, short_s=short_s, batch_tokens=1000, batch_s=short_s + batch_s
    )


@st.composite
def fields(draw):
    """The reference and any others, exact or not."""
    made = [speed(REFERENCE, draw(seconds), draw(seconds))]
    for name in NAMES[1:]:
        agreement = draw(st.sampled_from([1.0, 0.9995, 0.99, -1.0, float("nan")]))
        made.append(speed(name, draw(seconds), draw(seconds), agreement))
    return draw(st.permutations(made))


@given(fields())
def test_nothing_below_the_floor_is_chosen(speeds):
    chosen = choose(speeds)
    exact = {each.name for each in speeds if each.agreement >= parity.floor}
    assert {chosen.small, chosen.large} <= exact | {REFERENCE}


@given(fields())
def test_the_choice_loses_little_against_the_best_of_each_size(speeds):
    by_name = {each.name: each for each in speeds if each.agreement >= parity.floor}
    chosen = choose(speeds)
    assert by_name[chosen.small].short_s * (1 - WORTH) <= min(each.short_s for each in by_name.values())
    assert by_name[chosen.large].batch_s * (1 - WORTH) <= min(each.batch_s for each in by_name.values())


@given(fields())
def test_a_second_encoder_saves_a_tenth_and_takes_over_between_the_two_sizes(speeds):
    chosen = choose(speeds)
    by_name = {each.name: each for each in speeds}
    small, large = by_name[chosen.small], by_name[chosen.large]
    if small == large:
        assert chosen.threshold_tokens == 0
    else:
        assert 1 - large.batch_s / small.batch_s >= WORTH or 1 - small.short_s / large.short_s >= WORTH
        assert 12 <= chosen.threshold_tokens <= 1000


@given(fields())
def test_the_order_of_measurements_does_not_matter(speeds):
    assert choose(speeds) == choose(speeds[::-1])


def test_without_measurements_the_reference_computes():
    assert choose([]) == EncoderChoice(REFERENCE, REFERENCE, 0)


def test_two_encoders_where_each_wins_at_its_size():
    chosen = choose([speed("torch", 0.010, 1.0), speed("packed", 0.006, 0.5), speed("onnx", 0.002, 0.8)])
    assert (chosen.small, chosen.large) == ("onnx", "packed")
    assert 12 < chosen.threshold_tokens < 60


def test_an_agreeable_second_best_stays_alone():
    speeds = [speed("torch", 0.010, 1.0), speed("packed", 0.006, 0.50), speed("onnx", 0.002, 0.52)]
    assert choose(speeds) == EncoderChoice("onnx", "onnx", 0)


def test_the_fastest_round_of_each_is_kept_and_they_take_turns():
    """The first round, which warms up, does not count; a busy spell hits both."""
    order, now = [], [0.0]

    def encoder(name, seconds):
        took = iter(seconds)

        def encode(_sequences):
            order.append(name)
            now[0] += next(took)

        return SimpleNamespace(encode=encode)

    one = encoder("one", [0.5, 3, 2, 4, *[5] * 10])
    other = encoder("other", [0.1, 9, 8, 7, *[9] * 10])

    assert [2, 7] == measure([one, other], [[1]], clock=lambda: now[0])
    assert ["one", "other"] * (len(order) // 2) == order


@given(lengths, st.integers(1, 4096), st.sampled_from([1.0, 1.25, 2.0, float("inf")]), st.booleans())
def test_batches_hold_every_sequence_once_within_their_limits(lengths, budget, ratio, padding):
    batches = plan(lengths, budget, ratio, padding=padding)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest, shortest = max(lengths[i] for i in batch), min(lengths[i] for i in batch)
        tokens = len(batch) * longest if padding else sum(lengths[i] for i in batch)
        assert len(batch) == 1 or (tokens <= budget and longest <= ratio * shortest)
        assert [lengths[i] for i in batch] == sorted((lengths[i] for i in batch), reverse=True)


@given(st.integers(1, 16), st.integers(1, 64), st.integers(1, 600))
def test_texts_of_one_length_give_every_thread_work_before_any_batch_grows_large(threads, length, count):
    """There may be fewer batches than threads only where there is too little work to share."""
    budget = onnx.budget(length * count, threads)
    batches = plan([length] * count, budget)
    assert 128 <= budget <= 512
    assert len(batches) >= threads or budget == 128


@given(lengths, st.booleans())
def test_padding_keeps_every_token_at_its_side(lengths, left):
    sequences = [list(range(1, length + 1)) for length in lengths]
    ids, mask = padded(sequences, 7, left=left)
    assert mask.sum(axis=1).tolist() == lengths
    assert [row[on == 1].tolist() for row, on in zip(ids, mask, strict=True)] == sequences
    assert set(ids[mask == 0].tolist()) <= {7}
    assert mask[:, -1 if left else 0].all()


@given(lengths)
def test_vectors_come_back_in_the_order_of_the_sequences(lengths):
    batches = plan(lengths)
    rows = [np.array([[index, lengths[index]] for index in batch], np.float32) for batch in batches]
    assert in_order(rows, batches).tolist() == [[float(i), float(length)] for i, length in enumerate(lengths)]


@given(lengths)
def test_packed_groups_follow_each_other(lengths):
    lengths = sorted(lengths, reverse=True)
    groups = packed._groups(lengths)
    assert [group.length for group in groups for _ in range(group.count)] == lengths
    assert [group.start for group in groups] == [
        sum(each.length * each.count for each in groups[:i]) for i in range(len(groups))
    ]


class Machine:
    """Two cores, and a clock that runs as it is told."""

    def __init__(self):
        self.now = self.busy = self.own = 0.0

    def passes(self, elapsed_s, foreign=0.0, own=0.0):
        self.now += elapsed_s
        self.own += own * elapsed_s
        self.busy += (foreign + own) * elapsed_s

    def spare(self, threads, cores=2):
        return SpareCores(
            threads, cores=cores, busy_s=lambda: self.busy, own_s=lambda: self.own, clock=lambda: self.now
        )


@pytest.mark.parametrize(
    ("threads", "cores", "foreign", "left"),
    [(2, 2, 0.0, 2), (2, 2, 0.3, 2), (2, 2, 0.5, 1), (2, 2, 1.0, 1), (2, 2, 2.0, 1), (1, 2, 0.0, 1), (8, 8, 3.0, 5)],
)
def test_cores_that_others_use_are_left_to_them(threads, cores, foreign, left):
    machine = Machine()
    spare = machine.spare(threads, cores)
    assert spare.threads() == threads
    machine.passes(1.0, foreign=foreign, own=1.5)
    assert spare.threads() == left


def test_a_freed_core_is_taken_back():
    machine = Machine()
    spare = machine.spare(2)
    machine.passes(1.0, foreign=1.0)
    assert spare.threads() == 1
    machine.passes(1.0)
    assert spare.threads() == 2


def test_too_short_a_time_says_nothing():
    machine = Machine()
    spare = machine.spare(2)
    machine.passes(WINDOW_S / 2, foreign=2.0)
    assert spare.threads() == 2
    machine.passes(WINDOW_S / 2, foreign=2.0)
    assert spare.threads() == 1


def test_the_machine_itself_can_be_read():
    assert 1 <= SpareCores(64).threads() <= 64


class Constant:
    """An encoder whose vectors are given by a function of a sequence."""

    device, dtype = "cpu", "float32"

    def __init__(self, vector):
        self.vector = vector

    def encode(self, sequences):
        return np.array([self.vector(sequence) for sequence in sequences], np.float32)


def test_agreement_is_that_of_the_worst_sequence():
    one = Constant(lambda sequence: [1.0, 0.0])
    other = Constant(lambda sequence: [3.0, 4.0] if len(sequence) == 2 else [2.0, 0.0])
    assert parity.agreement(one, one, [[1], [1, 2]]) == pytest.approx(1.0)
    assert parity.agreement(one, other, [[1], [1, 2]]) == pytest.approx(0.6)


def test_a_vector_of_zeros_agrees_with_zeros_only():
    zeros, ones = Constant(lambda _: [0.0, 0.0]), Constant(lambda _: [1.0, 1.0])
    assert parity.agreement(zeros, zeros, [[1]]) == 1.0
    assert parity.agreement(zeros, ones, [[1]]) == 0.0


def test_not_a_number_agrees_with_nothing():
    assert (
        not parity.agreement(Constant(lambda _: [np.nan, 1.0]), Constant(lambda _: [1.0, 1.0]), [[1]]) >= parity.floor
    )


def model(directory, *, kinds=("Transformer", "Pooling"), pooling=None, **config):
    """The settings of a model, and an empty file for its weights."""
    modules = [
        {"type": f"sentence_transformers.models.{kind}", "path": f"{i}_{kind}" if i else ""}
        for i, kind in enumerate(kinds)
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {"pooling_mode": "mean"}))
    settings = {"model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": 1, **config}
    (directory / "config.json").write_text(json.dumps(settings))
    (directory / "model.safetensors").write_bytes(b"")
    return directory


@pytest.mark.parametrize(
    ("pooling", "named"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"word_embedding_dimension": 384}, "mean"),
    ],
)
def test_pooling_is_read_from_old_and_new_files(tmp_path, pooling, named):
    found = pipeline.read(model(tmp_path, kinds=("Transformer", "Pooling", "Normalize"), pooling=pooling))
    assert found == pipeline.Pipeline(tmp_path, named, normalize=True)
    assert packed.supports(tmp_path) is None
    assert onnx.supports(tmp_path) is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kinds": ("Transformer", "Pooling", "Dense")}, "Dense"),
        ({"kinds": ("StaticEmbedding",)}, "StaticEmbedding"),
        ({"pooling": {"pooling_mode": "lasttoken"}}, "lasttoken"),
        ({"pooling": {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}}, "cls+max"),
        ({"model_type": "qwen3"}, "qwen3"),
    ],
)
def test_what_is_not_supported_is_said(tmp_path, settings, reason):
    directory = model(tmp_path, **settings)
    assert reason in packed.supports(directory)
    assert reason in onnx.supports(directory)
    for name in ("packed", "onnx"):
        with pytest.raises(Unavailable, match=reason.replace("+", r"\+")):
            open_encoder(name, directory, "cpu", "float32", 1, tmp_path)


def test_packed_needs_plain_positions_and_safetensors(tmp_path):
    directory = model(tmp_path, position_embedding_type="relative_key")
    assert "positions" in packed.supports(directory)
    (directory / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_act": "gelu"}))
    (directory / "model.safetensors").unlink()
    assert "safetensors" in packed.supports(directory)


def test_a_folder_that_is_no_sentence_transformer_is_not_supported(tmp_path):
    assert "modules.json" in packed.supports(tmp_path)


def test_onnx_names_what_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda name: None)
    assert "nearfar[onnx]" in onnx.supports(model(tmp_path))


def test_onnx_refuses_what_no_file_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "_MOST_BYTES", 3)
    directory = model(tmp_path, torch_dtype="float16")
    (directory / "model.safetensors").write_bytes(b"xx")
    assert "larger" in onnx.supports(directory)


def test_a_graph_is_kept_until_what_it_is_made_of_changes(tmp_path, monkeypatch):
    directory = model(tmp_path)
    first = onnx_export.fingerprint(directory)
    assert first == onnx_export.fingerprint(directory)
    (directory / "model.safetensors").write_bytes(b"other")
    second = onnx_export.fingerprint(directory)
    monkeypatch.setattr(onnx_export, "version", lambda name: "99")
    assert len({first, second, onnx_export.fingerprint(directory)}) == 3


def test_only_the_reference_runs_elsewhere_than_in_float32_on_the_cpu(tmp_path):
    for device, dtype in (("cuda:0", "float32"), ("cpu", "bfloat16")):
        with pytest.raises(Unavailable, match=dtype):
            open_encoder("packed", tmp_path, device, dtype, 1, tmp_path)
        assert choice._others(SimpleNamespace(directory=tmp_path, device=device, dtype=dtype)) == []


def test_an_unknown_encoder_is_refused(tmp_path):
    with pytest.raises(Unavailable, match="'tpu'"):
        open_encoder("tpu", tmp_path, "cpu", "float32", 1, tmp_path)
