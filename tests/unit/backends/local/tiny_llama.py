"""A tiny random language model with one token a byte, as transformers and as llama.cpp read it."""

from __future__ import annotations

from backends.local.types import Opening

CONTEXT = 256
TEMPLATE = "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }};{% endfor %}"
_NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def opening_of(directory, **changes):
    """How the model in a directory is opened on one thread of the CPU."""
    wanted = {"device": "cpu", "dtype": "float32", "threads": 1, "cache_dir": directory / "cache", **changes}
    return Opening(directory=directory, **wanted)


def save(directory, halves=False, **defaults):
    """Write a model of two layers to `directory`: safetensors, its tokenizer, and a gguf with the same weights."""
    import tokenizers
    import torch
    import transformers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE({"<end>": 0} | {char: at for at, char in enumerate(alphabet, 1)}, [])
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", chat_template=TEMPLATE
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=257, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=CONTEXT, bos_token_id=None, eos_token_id=0, pad_token_id=None,
            initializer_range=0.3, tie_word_embeddings=False,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config).half().float().eval()
    model.generation_config.update(**defaults)
    model.save_pretrained(directory)
    wrapped.save_pretrained(directory)
    _write_gguf(model, directory / "tiny.gguf", halves)
    return directory


def _write_gguf(model, file, halves):
    import gguf
    import numpy as np

    config, weights = model.config, {name: value.numpy() for name, value in model.state_dict().items()}
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"any{number}" for number in range(config.vocab_size)])
    named = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"} | {
        f"blk.{layer}.{ours}": f"model.layers.{layer}.{theirs}"
        for layer in range(config.num_hidden_layers)
        for ours, theirs in _NAMES.items()
    }
    for ours, theirs in named.items():
        matrix = weights[f"{theirs}.weight"]
        if ours.endswith(("attn_q", "attn_k")):  # llama.cpp turns pairs of neighbours, transformers halves of a head
            heads, width = config.num_attention_heads, matrix.shape[1]
            matrix = matrix.reshape(heads, 2, -1, width).swapaxes(1, 2).reshape(-1, width)
        kind = np.float16 if halves and matrix.ndim > 1 else np.float32
        writer.add_tensor(f"{ours}.weight", np.ascontiguousarray(matrix, dtype=kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
