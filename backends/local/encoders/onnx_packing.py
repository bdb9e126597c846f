"""Takes the padding out of a fused graph: what is done to each token alone is done to tokens only. Knows no file.

Of a batch of short texts a tenth is padding, and everything but attention treats it like any token. So behind the
embeddings the tokens of all texts stand one after the other, (tokens, dimensions). Each attention spreads its queries,
keys and values out again, (texts, longest, dimensions), and whatever else needs texts apart, as pooling does, has them
spread out for it.

A node is packed where all that it takes is packed and it is known to treat each token alone; nothing else is changed.
So of a graph of another make less is packed, and its vectors are the same all the same.
"""

from __future__ import annotations

from operator import or_
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

PACKED = "packed"
"""The metadata of a graph that was changed here."""

_ALONE = {"MatMul", "Add", "LayerNormalization", "BiasGelu", "FastGelu", "Gelu"}
_WEIGHT_RANK = {"MatMul": 2}  # of what such a node takes besides tokens: one number for each dimension, or a matrix
_ATTENTION_OPTIONS = {"num_heads", "scale", "mask_filter_value"}  # that the other attention knows as well
_ATTENTION_INPUTS = 4  # tokens, weight, bias, mask


def pack(model: ModelProto, mask: str) -> bool:
    """Change the graph where it can be; whether anything was. `mask` is its input that is 1 where there is a token."""
    packing = _Packing(model, mask)
    for node in list(model.graph.node):
        packing.take(node)
    if not packing.found:
        return False
    del model.graph.node[:]
    model.graph.node.extend(packing.nodes)
    del model.graph.value_info[:]  # shapes of before
    model.metadata_props.add(key=PACKED, value=packing.found)
    return True


class _Packing:
    """The new nodes, in their order.

    Attributes:
        found: The first attention that was packed; empty while there is none.
    """

    def __init__(self, model: ModelProto, mask: str) -> None:
        self.nodes: list[NodeProto] = []
        self.found = ""
        self._graph = model.graph
        self._mask = mask
        self._weights = {weight.name: list(weight.dims) for weight in model.graph.initializer}
        self._packed: dict[str, str] = {}  # what a tensor is called once it is packed: its own name, but for embeddings
        self._spread: set[str] = set()

    def take(self, node: NodeProto) -> None:
        """Keep a node of the old graph, as it was or packed."""
        if self._is_attention(node):
            self._attention(node)
        elif self._alone(node):
            node.input[:] = [self._packed.get(name, name) for name in node.input]
            self._packed[node.output[0]] = node.output[0]
            self.nodes.append(node)
        else:
            node.input[:] = [self._apart(name) for name in node.input]
            self.nodes.append(node)

    def _alone(self, node: NodeProto) -> bool:
        """Whether it treats each token alone, and takes nothing but packed ones and weights of the usual shape."""
        rank = _WEIGHT_RANK.get(node.op_type, 1)
        packed = [name in self._packed for name in node.input]
        weights = [len(self._weights.get(name, ())) == rank for name in node.input]
        axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
        tokens = packed[0] if node.op_type == "MatMul" else any(packed)
        known = tokens and all(map(or_, packed, weights))
        return node.op_type in _ALONE and known and axes in ([], [-1])

    def _is_attention(self, node: NodeProto) -> bool:
        """Whether its weights make queries, keys and values of the size of a token, and it only masks padding."""
        if node.op_type != "Attention" or len(node.input) != _ATTENTION_INPUTS or len(node.output) != 1:
            return False
        rows, columns = self._weights.get(node.input[1], (0, 1))
        return columns == 3 * rows and {attribute.name for attribute in node.attribute} <= _ATTENTION_OPTIONS

    def _attention(self, node: NodeProto) -> None:
        name, (tokens, weight, bias, mask) = node.output[0], node.input
        size = self._weights[weight][0]
        if not self.found:
            self.found = name
            self._places()
        self._add("MatMul", [self._together(tokens, size), weight], f"{name} product")
        self._add("Add", [f"{name} product", bias], f"{name} sum")
        parts = [f"{name} {part}" for part in ("queries", "keys", "values")]
        self._add("Split", [f"{name} sum", self._constant(f"packing thirds of {size}", [size] * 3)], *parts, axis=1)
        spread = [self._apart_from(part) for part in parts]
        self._add("MultiHeadAttention", [*spread, "", mask], f"{name} spread out", domain="com.microsoft", like=node)
        self._gather_tokens(f"{name} spread out", size, name)
        self._packed[name] = name

    def _places(self) -> None:
        """Where each token stands among all places, and which token stands at each place; padding has any."""
        one, first = self._constant("packing one", 1), self._constant("packing first", 0)
        self._add("Reshape", [self._mask, self._constant("packing all", [-1])], "packing is token")
        self._add("NonZero", ["packing is token"], "packing token")
        self._add("Squeeze", ["packing token", self._constant("packing axis", [0])], "packing tokens")
        self._add("CumSum", ["packing is token", first], "packing count")
        self._add("Sub", ["packing count", one], "packing number")
        self._add("Mul", ["packing number", "packing is token"], "packing number or first")
        self._add("Shape", [self._mask], "packing shape")
        self._add("Reshape", ["packing number or first", "packing shape"], "packing places")

    def _together(self, name: str, size: int) -> str:
        """The packed form of a tensor: (tokens, dimensions)."""
        if name not in self._packed:
            self._gather_tokens(name, size, f"{name} packed")
            self._packed[name] = f"{name} packed"
        return self._packed[name]

    def _gather_tokens(self, spread: str, size: int, name: str) -> None:
        """Take the tokens out of (texts, longest, dimensions)."""
        self._add("Reshape", [spread, self._constant(f"packing rows of {size}", [-1, size])], f"{spread} rows")
        self._add("Gather", [f"{spread} rows", "packing tokens"], name, axis=0)

    def _apart(self, name: str) -> str:
        """What a node takes that needs the texts apart."""
        return self._apart_from(name) if self._packed.get(name) == name else name

    def _apart_from(self, name: str) -> str:
        """A packed tensor spread out: (texts, longest, dimensions)."""
        spread = f"{name} apart"
        if spread not in self._spread:
            self._add("Gather", [name, "packing places"], spread, axis=0)
            self._spread.add(spread)
        return spread

    def _constant(self, name: str, value: Any) -> str:
        import numpy as np
        from onnx import numpy_helper

        if name not in self._weights:
            self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.int64), name))
            self._weights[name] = list(np.shape(value))
        return name

    def _add(
        self, kind: str, inputs: list[str], *outputs: str, domain: str = "", like: NodeProto | None = None, **told: int
    ) -> None:
        from onnx import helper

        node = helper.make_node(kind, inputs, outputs, domain=domain, **told)
        if like is not None:
            node.attribute.extend(like.attribute)
        self.nodes.append(node)
