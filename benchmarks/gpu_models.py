"""Language models made on the spot for `benchmarks.gpu`: real shapes, random weights, a tokenizer of characters."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
_QWEN = {"vocab_size": 151936, "num_key_value_heads": 2, "max_position_embeddings": 32768}
# The shapes of Qwen2.5, by the names that people call its sizes by; "tiny" is for a machine without a GPU.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
    },
    "0.5B": {
        **_QWEN,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "tie_word_embeddings": True,
    },
    "1.5B": {
        **_QWEN,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "tie_word_embeddings": True,
    },
    "3B": {
        **_QWEN,
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "tie_word_embeddings": True,
    },
    "7B": {
        **_QWEN,
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
}


def make_model(folder: Path, size: str, device: torch.device) -> Path:
    """Write a randomly initialised bfloat16 checkpoint of a size of `SHAPES`; made on `device`, which is faster."""
    config = Qwen2Config(**SHAPES[size], bos_token_id=1, eos_token_id=2, pad_token_id=0)
    torch.manual_seed(0)
    with device:
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="100GB")  # one file
    _tokenizer(config.vocab_size).save_pretrained(folder)
    return folder


def prompts(count: int) -> Sequence[str]:
    """Return prompts with a common beginning, as a problem's are, about as long as a short question."""
    return [
        f"[user] Which of these numbers is the largest: {11 * n + 7}, {13 * n + 2} or {7 * n + 40}?\n[assistant] "
        for n in range(count)
    ]


def _tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Make a tokenizer of characters; every id that a random model can give has a text."""
    known = [*_SPECIAL, *string.printable]
    vocabulary = {token: index for index, token in enumerate([*known, *(f"<{n}>" for n in range(len(known), size))])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    made.chat_template = _CHAT_TEMPLATE
    return made
