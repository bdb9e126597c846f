"""Joins two ONNX graphs of Whisper's decoder under one `If`, with the weights that both have stored once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from backends.local.whisper_onnx_graphs import past_name

if TYPE_CHECKING:
    from pathlib import Path

_IR_VERSION = 9  # the newest that ONNX Runtime's older releases read


class Shape(NamedTuple):
    """Of the decoder's attention."""

    heads: int
    width: int


def merge(first: Path, step: Path, out: Path, shape: Shape) -> None:
    """Write `out`: `first` where `use_cache_branch` is false, `step` where it is true.

    A step gives no keys and values of what was heard: empty ones stand there, and those of the first step are kept.
    """
    import onnx
    from onnx import TensorProto, helper

    shared: dict[tuple[Any, ...], Any] = {}
    begun, gone_on = (_branch(onnx.load(path).graph, tag, shared) for path, tag in ((first, "f"), (step, "s")))
    names = [output.name.removeprefix("f_") for output in begun.output]
    have = {output.name.removeprefix("s_"): output for output in gone_on.output}
    nodes, outputs = list(gone_on.node), []
    empty = helper.make_tensor("empty", TensorProto.FLOAT, [0, shape.heads, 1, shape.width], [])
    for name in names:
        if name not in have:
            nodes.append(helper.make_node("Constant", [], [f"s_{name}"], value=empty))
            have[name] = helper.make_tensor_value_info(f"s_{name}", TensorProto.FLOAT, [None] * 4)
        outputs.append(have[name])
    choice = helper.make_node(
        "If",
        ["use_cache_branch"],
        names,
        then_branch=helper.make_graph(nodes, "step", [], outputs),
        else_branch=helper.make_graph(list(begun.node), "first", [], list(begun.output)),
    )
    told = _told(names, shape)
    graph = helper.make_graph([choice], "decoder_merged", _asked(names, shape), told, list(shared.values()))
    model = helper.make_model(graph, opset_imports=onnx.load(first).opset_import, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, out)


def _branch(graph: Any, tag: str, shared: dict[tuple[Any, ...], Any]) -> Any:
    """The graph with names of its own, but for its inputs and for the weights, which go to `shared`."""
    import onnx

    renamed = {}
    for tensor in graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims), tensor.raw_data or tensor.SerializeToString())
        if key not in shared:
            shared[key] = onnx.TensorProto()
            shared[key].CopyFrom(tensor)
            shared[key].name = f"w{len(shared)}"
        renamed[tensor.name] = shared[key].name
    inputs = {one.name for one in graph.input}
    for node in graph.node:
        node.name = f"{tag}_{node.name}"
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name and name not in inputs:
                    names[place] = renamed.get(name, f"{tag}_{name}")
    for output in graph.output:
        output.name = f"{tag}_{output.name}"
    return graph


def _asked(names: list[str], shape: Shape) -> list[Any]:
    from onnx import TensorProto, helper

    def floats(name: str, *dims: str | int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims))

    heard = floats("encoder_hidden_states", "batch_size", "encoder_sequence_length", shape.heads * shape.width)
    ids = ["batch_size", "decoder_sequence_length"]
    asked = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ids), heard]
    for name in names[1:]:
        length = "past_decoder_sequence_length" if ".decoder." in name else "encoder_sequence_length_out"
        asked.append(floats(past_name(name), "batch_size", shape.heads, length, shape.width))
    return [*asked, helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1])]


def _told(names: list[str], shape: Shape) -> list[Any]:
    from onnx import TensorProto, helper

    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch_size", "decoder_sequence_length", None])
    given = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch_size", shape.heads, None, shape.width])
        for name in names[1:]
    ]
    return [logits, *given]
