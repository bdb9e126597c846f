"""Whisper as the graphs that Transformers.js runs: an encoder, and a decoder for the first step and for all others.

What comes out is as Hugging Face's optimum writes it: in `decoder_model_merged.onnx` the two decoders are branches of
one `If(use_cache_branch)` and share their weights. The table of words serves as input and as output, so it is stored
once, transposed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

OPSET = 17
_CONSTANT = -1e9  # hides what lies ahead; less than any weight of attention
_KINDS = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")


def export(model: Any, folder: Path) -> None:
    """Write `encoder_model.onnx`, `first.onnx` and `step.onnx` in float32."""
    import torch

    config = model.config
    encoder, first, step = _encoder(model), _decoder(model), _decoder(model)
    names = present_names(config.decoder_layers)
    sound = torch.zeros(1, config.num_mel_bins, 2 * config.max_source_positions)
    with torch.no_grad():
        heard = encoder(sound)
        ids = torch.tensor([[1, 2, 3]])
        past = first(ids, heard)[1:]
        _write(encoder, (sound,), folder / "encoder_model.onnx", ["input_features"], ["last_hidden_state"])
        _write(first, (ids, heard), folder / "first.onnx", ["input_ids", "encoder_hidden_states"], ["logits", *names])
        _write(
            step,
            (torch.tensor([[4]]), *past),
            folder / "step.onnx",
            ["input_ids", *map(past_name, names)],
            ["logits", *(name for name in names if ".decoder." in name)],
        )


def present_names(layers: int) -> list[str]:
    """What a decoder gives to be given again: keys and values of each layer."""
    return [f"present.{layer}.{kind}" for layer in range(layers) for kind in _KINDS]


def past_name(present: str) -> str:
    """The name by which the next step is given it."""
    return present.replace("present", "past_key_values")


def _write(module: Any, given: tuple[Any, ...], file: Path, inputs: list[str], outputs: list[str]) -> None:
    import torch

    shapes: dict[str, dict[int, str]] = {name: {0: "batch_size"} for name in (*inputs, *outputs)}
    for name, shape in shapes.items():
        if name in {"input_ids", "logits"}:
            shape[1] = "tokens"
        elif name == "encoder_hidden_states":
            shape[1] = "frames"
        elif "." in name:
            shape[2] = f"{name} length"
    torch.onnx.export(
        module,
        given,
        str(file),
        input_names=inputs,
        output_names=outputs,
        dynamic_axes=shapes,
        opset_version=OPSET,
        dynamo=False,
    )


def _encoder(model: Any) -> Any:
    import torch
    from torch.nn.functional import gelu

    class Encoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.own = model.model.encoder

        def forward(self, input_features: Any) -> Any:
            own = self.own
            x = gelu(own.conv2(gelu(own.conv1(input_features)))).transpose(1, 2) + own.embed_positions.weight
            for layer in own.layers:
                normed = layer.self_attn_layer_norm(x)
                x = x + _attended(layer.self_attn, normed, *_keys_and_values(layer.self_attn, normed))
                x = x + layer.fc2(gelu(layer.fc1(layer.final_layer_norm(x))))
            return own.layer_norm(x)

    return Encoder().eval()


def _decoder(model: Any) -> Any:
    """Called with words and what the encoder heard, or with one word and what the last step gave."""
    import torch
    from torch.nn.functional import gelu

    class Decoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.own = model.model.decoder
            self.register_buffer("table", model.proj_out.weight.detach().t().contiguous())

        def forward(self, input_ids: Any, *rest: Any) -> Any:
            own, count, given = self.own, input_ids.shape[1], []
            past = rest if len(rest) > 1 else ()
            start = past[0].shape[2] if past else 0
            places = torch.arange(start, start + count)
            x = self.table[:, input_ids].permute(1, 2, 0) + own.embed_positions.weight[places]
            ahead = torch.arange(0, start + count)[None, :] > places[:, None]
            mask = torch.where(ahead, torch.tensor(_CONSTANT), torch.tensor(0.0))
            for number, layer in enumerate(own.layers):
                normed = layer.self_attn_layer_norm(x)
                keys, values = _keys_and_values(layer.self_attn, normed)
                heard = past[4 * number + 2 : 4 * number + 4] or _keys_and_values(layer.encoder_attn, rest[0])
                if past:
                    keys = torch.cat([past[4 * number], keys], 2)
                    values = torch.cat([past[4 * number + 1], values], 2)
                x = x + _attended(layer.self_attn, normed, keys, values, mask)
                x = x + _attended(layer.encoder_attn, layer.encoder_attn_layer_norm(x), *heard)
                x = x + layer.fc2(gelu(layer.fc1(layer.final_layer_norm(x))))
                given += [keys, values] if past else [keys, values, *heard]
            return (own.layer_norm(x) @ self.table, *given)

    return Decoder().eval()


def _attended(attention: Any, x: Any, keys: Any, values: Any, mask: Any = None) -> Any:
    width = attention.num_heads * attention.head_dim
    queries = (attention.q_proj(x) * attention.head_dim**-0.5).view(
        x.shape[0], -1, attention.num_heads, attention.head_dim
    )
    weights = queries.transpose(1, 2) @ keys.transpose(2, 3)
    if mask is not None:
        weights = weights + mask
    return attention.out_proj((weights.softmax(-1) @ values).transpose(1, 2).reshape(x.shape[0], -1, width))


def _keys_and_values(attention: Any, x: Any) -> tuple[Any, ...]:
    shape = (x.shape[0], -1, attention.num_heads, attention.head_dim)
    return tuple(projected(x).view(*shape).transpose(1, 2) for projected in (attention.k_proj, attention.v_proj))
