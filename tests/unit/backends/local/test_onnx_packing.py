"""Graphs with their padding taken out: the same answers, of any make, and fewer rows where that is possible."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.local.encoders.batches import padded
from backends.local.encoders.onnx_packing import PACKED, pack

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SIZE, HEADS, WORDS = 16, 4, 40
batches = st.lists(st.lists(st.integers(1, WORDS - 1), min_size=1, max_size=9), min_size=1, max_size=6)


class Graph:
    """A small transformer as onnxruntime's fusions leave one."""

    def __init__(self):
        self.chance = np.random.default_rng(0)
        self.nodes, self.weights = [], []
        self.words = self.weight("words", WORDS, SIZE)
        self.add("Gather", [self.words, "ids"], "embedded")
        self.add("Cast", ["mask"], "mask32", to=onnx.TensorProto.INT32)
        self.weights.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "axis"))
        self.add("ReduceSum", ["mask32", "axis"], "lengths", keepdims=0)

    def weight(self, name, *shape):
        values = self.chance.normal(0, 0.5, shape).astype(np.float32)
        self.weights.append(onnx.numpy_helper.from_array(values, name))
        return name

    def add(self, kind, inputs, output, domain="", **options):
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], domain=domain, **options))
        return output

    def layer(self, tokens, name, between=None, attention_inputs=()):
        """Attention and a residual, then a product with a residual, each normed; `between` stands after the first."""
        attended = self.add(
            "Attention",
            [tokens, self.weight(f"{name} qkv", SIZE, 3 * SIZE), self.weight(f"{name} qkv bias", 3 * SIZE), "lengths",
             *attention_inputs],
            f"{name} attended", domain="com.microsoft", num_heads=HEADS,
        )  # fmt: skip
        first = self.normed(self.add("Add", [attended, tokens], f"{name} residual"), f"{name} first")
        if between is not None:
            first = between(first)
        inner = self.add("MatMul", [first, self.weight(f"{name} inner", SIZE, 2 * SIZE)], f"{name} product")
        inner = self.add(
            "BiasGelu", [inner, self.weight(f"{name} bias", 2 * SIZE)], f"{name} gelu", domain="com.microsoft"
        )
        outer = self.add("MatMul", [inner, self.weight(f"{name} outer", 2 * SIZE, SIZE)], f"{name} back")
        return self.normed(self.add("Add", [outer, first], f"{name} sum"), f"{name} last")

    def normed(self, tokens, name):
        scale, shift = self.weight(f"{name} scale", SIZE), self.weight(f"{name} shift", SIZE)
        return self.add("LayerNormalization", [tokens, scale, shift], name, axis=-1)

    def made(self, vectors):
        """The model whose answer is the mean over tokens of what `vectors` names."""
        self.add("Cast", ["mask"], "mask float", to=onnx.TensorProto.FLOAT)
        self.weights.append(onnx.numpy_helper.from_array(np.array([2], np.int64), "last"))
        self.add("Unsqueeze", ["mask float", "last"], "mask apart")
        self.add("Mul", [vectors, "mask apart"], "masked")
        self.add("ReduceSum", ["masked", "axis"], "vectors", keepdims=0)
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            self.nodes,
            "small",
            [value(name, onnx.TensorProto.INT64, ["texts", "tokens"]) for name in ("ids", "mask")],
            [value("vectors", onnx.TensorProto.FLOAT, ["texts", SIZE])],
            self.weights,
        )
        opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
        return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # As it is: nothing joined or moved before it is looked at.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def plain():
    graph = Graph()
    return graph.made(graph.layer(graph.layer("embedded", "one"), "two"))


def with_a_stranger():
    """Something that is not known to treat each token alone stands between two parts of a layer."""
    graph = Graph()

    def turned(tokens):
        there = graph.add("Transpose", [tokens], "turned", perm=[1, 0, 2])
        return graph.add("Transpose", [there], "turned back", perm=[1, 0, 2])

    return graph.made(graph.layer(graph.layer("embedded", "one", turned), "two"))


def with_a_weight_for_each_place():
    """A sum with something of another shape than a bias: no such token is alone."""
    graph = Graph()
    graph.weights.append(onnx.numpy_helper.from_array(np.full((1, 1, SIZE), 0.5, np.float32), "everywhere"))
    return graph.made(
        graph.layer(graph.layer("embedded", "one", lambda t: graph.add("Add", [t, "everywhere"], "more")), "two")
    )


def both_of(make):
    before, after = make(), make()
    assert pack(after, "mask")
    return session(before), session(after), after


@pytest.mark.parametrize("make", [plain, with_a_stranger, with_a_weight_for_each_place])
def test_a_packed_graph_answers_as_before(make):
    before, after, _ = both_of(make)

    @given(batches)
    @settings(deadline=None, max_examples=40)
    def same(sequences):
        ids, mask = padded(sequences)
        given_ = {"ids": ids, "mask": mask}
        np.testing.assert_allclose(after.run(None, given_)[0], before.run(None, given_)[0], atol=1e-5)

    same()


def test_what_is_done_to_each_token_is_done_to_tokens_only():
    """Three texts of 1, 2 and 5 tokens are 8 rows, not 15."""
    _, _, model = both_of(plain)
    inner = [
        node.output[0] for node in model.graph.node if node.op_type in {"MatMul", "BiasGelu", "LayerNormalization"}
    ]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inner)
    ids, mask = padded([[1], [2, 3], [4, 5, 6, 7, 8]])
    found = session(model).run(inner, {"ids": ids, "mask": mask})
    assert [8] * len(inner) == [rows.shape[0] for rows in found]
    assert len(inner) == 2 * (3 + 1 + 2)


def test_a_packed_graph_says_so():
    model = plain()
    pack(model, "mask")
    assert [PACKED] == [told.key for told in model.metadata_props]


def test_attention_of_another_make_is_left_alone():
    """One that takes more than a mask (a bias for each distance, say) stays as it was, and so does all around it."""
    graph = Graph()
    graph.weights.append(onnx.numpy_helper.from_array(np.zeros((1, HEADS, 1, 1), np.float32), "distances"))
    model = graph.made(graph.layer("embedded", "one", attention_inputs=("", "distances")))
    before = model.SerializeToString()
    assert not pack(model, "mask")
    assert model.SerializeToString() == before
