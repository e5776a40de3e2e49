"""The model and the configuration of the small search that `benchmarks.chaos` disturbs."""

from __future__ import annotations

import string
from pathlib import Path


def make_model(folder: Path) -> Path:
    """Write a random Llama of two layers with a tokenizer of single characters; it answers in milliseconds."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {token: index for index, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *string.printable])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            initializer_range=0.3,
        )
    ).save_pretrained(folder)
    return folder


def sections(model: Path, home: Path) -> dict[str, object]:
    """Return the configuration: a run of seconds, of some seventy shards, with three splits and controls."""
    return {
        "name": "chaos",
        "model": str(model),
        # What a random model writes is seldom a number that a careful reader would see.
        "problem": {
            "name": "largest_number",
            "options": {"below": 30, "count": 2},
            "verifier": "regex",
            "pattern": r"\d+",
        },
        "data": {"selection": 12, "validation": 6, "test": 8},
        "population": {"size": 60, "sigmas": [0.05, 0.1, 0.2]},
        "decoding": {"max_tokens": 8},
        "engine": {"kind": "transformers", "device": "cpu", "batch_size": 6, "threads": 1},
        "scoring": {"examples_per_block": 6, "candidates_per_shard": 2},
        "selection": {"k_values": [1, 5]},
        "controls": {"best_prompt": False},
        "storage": {"home": str(home)},
    }
