"""A language model that llama.cpp computes on the CPU, through xllamacpp: it reads the weights at half their bytes.

Knows token numbers only: the tokenizer, the chat template, stop strings and text are those of every runtime.
"""

from __future__ import annotations

import importlib.util
import platform
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.errors import Unavailable
from backends.local import gguf_header, numbered_gguf
from backends.local.continuation import LanguageModel
from backends.local.sampling import unlike

if TYPE_CHECKING:
    from backends.local.continuation import Conversation, Prompt
    from backends.local.sampling import Sampling
    from backends.local.types import Opening

NAME = "llama.cpp"
MAX_CACHE_BYTES = 1 << 30  # of keys and values, which are all reserved when the model is loaded
_SEEDS = 0xFFFF_FFFF  # llama.cpp's have 32 bits, and the last one means any
_LIBRARY = "xllamacpp"
_INSTRUCTIONS = frozenset({"avx2", "fma", "f16c", "bmi2"})  # its wheels for x86-64 are built with these


class LlamaModel(LanguageModel):
    """A model in llama.cpp. What it computes lies in weights of float16, keys and values of float32."""

    def __init__(self, server: Any, tokenizer: Any, defaults: Any, context_length: int) -> None:
        super().__init__(tokenizer, defaults, context_length, "cpu", "float16")
        self.runtime = NAME
        self._server = server

    def generate(self, prompt: Prompt, conversation: Conversation) -> None:
        """Compute token after token, tell each to `conversation`, and stop once it is over."""
        failures: list[BaseException] = []

        def hear(told: dict[str, Any]) -> bool:
            """What the library calls with each token; true stops it, and what is raised would be lost in it."""
            try:
                _listen(told, conversation)
            except BaseException as failure:  # noqa: BLE001  # raised again below
                failures.append(failure)
            return bool(failures) or conversation.over

        self._server.handle_completions(self._asked(prompt), hear)
        if failures:
            raise failures[0]

    def forced(self, prompt: list[int], answer: list[int]) -> list[int]:
        """The most likely token at each place of an answer, given the prompt and the answer's tokens before it."""
        chosen = []
        for place in range(len(answer)):
            told = self._server.handle_completions({
                "prompt": [*prompt, *answer[:place]], "n_predict": 1, "temperature": 0.0, "cache_prompt": True,
            })  # fmt: skip
            chosen += _numbers(told)
        return chosen

    def _asked(self, prompt: Prompt) -> dict[str, Any]:
        """The request in the library's words.

        Its samplers run in the order of transformers; its penalty counts the prompt's tokens too.
        """
        wanted = prompt.wanted
        penalty = wanted.repetition_penalty or self.defaults.repetition_penalty or 1.0
        return {
            "prompt": prompt.tokens,
            "n_predict": prompt.room,
            "stream": True,
            "n_probs": 1,  # also tells how probable the chosen token was: within 1 % of the time without it
            "cache_prompt": False,  # an answer must not depend on the requests before it
            "samplers": ["penalties", "temperature", "top_k", "top_p"],
            "repeat_penalty": penalty,
            "repeat_last_n": len(prompt.tokens) + prompt.room,
            "temperature": wanted.temperature or 0.0,
            "top_k": wanted.top_k or 0 if wanted.temperature else 0,
            "top_p": wanted.top_p or 1.0 if wanted.temperature else 1.0,
            "seed": _seed(wanted),
        }


def supports(opening: Opening) -> str | None:
    """Why llama.cpp cannot compute the model in `opening` here just as torch does; None when it can."""
    if opening.device != "cpu":
        return f"it computes on the CPU here, not on {opening.device}"
    if importlib.util.find_spec(_LIBRARY) is None or importlib.util.find_spec("gguf") is None:
        return "it is not installed: pip install 'nearfar[llama]'"
    missing = _INSTRUCTIONS - _instructions()
    if missing:
        return f"this processor lacks {', '.join(sorted(missing))}"
    ggufs = list(opening.directory.glob("*.gguf"))
    if len(ggufs) != 1:
        return f"the model has {len(ggufs)} gguf files, not one"
    return _too_large(ggufs[0]) or _unlike(_defaults(opening.directory, ggufs[0]))


def load(opening: Opening) -> LlamaModel:
    """Load the model; its weights in float16 are written to `opening.cache_dir` the first time.

    Raises:
        Unavailable: llama.cpp cannot compute it here, as `supports` says, or the library refuses the file.
    """
    reason = supports(opening)
    if reason is not None:
        raise Unavailable(f"llama.cpp cannot run this model: {reason}")
    (file,) = opening.directory.glob("*.gguf")
    defaults = _defaults(opening.directory, file)
    ends = [defaults.eos_token_id] if isinstance(defaults.eos_token_id, int) else defaults.eos_token_id
    context_length = int(gguf_header.read(file).of_model("context_length"))
    server = _server(numbered_gguf.made(file, ends, opening.cache_dir), context_length, opening.threads)
    return LlamaModel(server, _tokenizer(opening.directory, file), defaults, context_length)


def _server(file: Path, context_length: int, threads: int) -> Any:
    """llama.cpp's server, in this process and for one request at a time.

    It insists on listening: on a socket in a folder of ours, whose name is gone as soon as it does.
    """
    try:
        import xllamacpp
    except ImportError as error:
        raise Unavailable("llama.cpp's library cannot be loaded on this system") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.model_alias = {"nearfar"}
    params.n_ctx, params.n_parallel = context_length, 1
    params.n_gpu_layers, params.fit_params = 0, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.cache_ram_mib = params.n_ctx_checkpoints = 0
    params.n_threads_http, params.verbosity = 1, -1
    with tempfile.TemporaryDirectory(prefix="nearfar-") as folder:
        params.hostnames = [str(Path(folder, "llama.sock"))]
        try:
            server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise Unavailable("llama.cpp cannot read this model") from error
    # Its loop must run before it may be dropped: a stop that comes earlier is lost, and dropping it waits for ever.
    server.handle_completions({"prompt": [0], "n_predict": 1})
    return server


def _listen(told: dict[str, Any], conversation: Conversation) -> None:
    numbers = _numbers(told)
    logs = _log_probabilities(told)
    for at, number in enumerate(numbers):
        conversation.take(number, logs[at] if len(logs) == len(numbers) else None)


def _numbers(told: dict[str, Any]) -> list[int]:
    """The tokens in an answer of the library, or in a piece of one."""
    if "error" in told:
        raise RuntimeError(f"llama.cpp failed: {told['error'].get('type')}")
    return [int(number) for number in told["choices"][0]["text"].split(numbered_gguf.CLOSING) if number]


def _log_probabilities(told: dict[str, Any]) -> list[float]:
    """Those of the tokens in a piece, before temperature and cuts; none where the library tells none."""
    said = told["choices"][0].get("logprobs") or {}
    return [float(token["logprob"]) for token in said.get("content") or ()]


def _seed(wanted: Sampling) -> int:
    return secrets.randbelow(_SEEDS) if wanted.seed is None else wanted.seed % _SEEDS


def _instructions() -> frozenset[str]:
    """The instructions of an x86-64 processor; of others, whose wheels need no special ones, all that are asked for."""
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return _INSTRUCTIONS
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def _too_large(file: Path) -> str | None:
    """Whether there is no room for the keys and values of a full context, in float32."""
    try:
        said = gguf_header.read(file).of_model
    except (OSError, ValueError):
        return "its gguf file is damaged"
    layers, heads, width, context = map(
        said, ("block_count", "attention.head_count", "embedding_length", "context_length")
    )
    if not all(isinstance(number, int) and number > 0 for number in (layers, heads, width, context)):
        return "its gguf does not say how large it is"
    kv_heads, head = said("attention.head_count_kv") or heads, said("attention.key_length") or width // heads
    needed = 2 * layers * kv_heads * head * context * 4
    if needed > MAX_CACHE_BYTES:
        return f"a full context of {context} tokens takes {needed >> 20} MiB, more than {MAX_CACHE_BYTES >> 20}"
    return None


def _unlike(defaults: Any) -> str | None:
    if not defaults.eos_token_id and defaults.eos_token_id != 0:
        return "the model names no end token"
    return unlike(defaults)


def _defaults(directory: Path, file: Path) -> Any:
    """The model's own `GenerationConfig`, found as transformers finds it when it loads the model."""
    from transformers import AutoConfig, GenerationConfig

    if directory.joinpath("generation_config.json").is_file():
        return GenerationConfig.from_pretrained(str(directory), local_files_only=True)
    return GenerationConfig.from_model_config(AutoConfig.from_pretrained(str(directory), **_files(directory, file)))


def _tokenizer(directory: Path, file: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(directory), **_files(directory, file))


def _files(directory: Path, file: Path) -> dict[str, Any]:
    lone = not any(directory.glob("*.safetensors"))
    return {"local_files_only": True, **({"gguf_file": file.name} if lone else {})}
