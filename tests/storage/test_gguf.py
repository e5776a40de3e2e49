"""A converted GGUF file begins its texts as the file says."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from transformers import AutoTokenizer

from thickets.storage.models.base import resolve_model

_PIECES = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)], "▁", *"aeiQ:", "▁a", "▁Q"]
_WIDTH, _HIDDEN, _N_HEADS = 32, 64, 2


def write_gguf(path: Path, **flags: bool) -> Path:
    """Write a random one-layer Llama with a SentencePiece vocabulary."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_N_HEADS)
    writer.add_head_count_kv(_N_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _N_HEADS)
    writer.add_vocab_size(len(_PIECES))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(_PIECES)
    writer.add_token_scores([-float(place) for place in range(len(_PIECES))])
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * (len(_PIECES) - 259)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    for name, value in flags.items():
        getattr(writer, f"add_{name}")(value)
    draw = np.random.default_rng(0).standard_normal
    shapes = {
        "token_embd": (len(_PIECES), _WIDTH),
        "output_norm": (_WIDTH,),
        "output": (len(_PIECES), _WIDTH),
        "blk.0.attn_norm": (_WIDTH,),
        "blk.0.ffn_norm": (_WIDTH,),
        **{f"blk.0.attn_{part}": (_WIDTH, _WIDTH) for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate": (_HIDDEN, _WIDTH),
        "blk.0.ffn_up": (_HIDDEN, _WIDTH),
        "blk.0.ffn_down": (_WIDTH, _HIDDEN),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("flags", "begins", "ends"),
    [
        ({"add_bos_token": True}, True, False),
        ({"add_bos_token": False}, False, False),
        ({}, True, False),  # llama.cpp's SentencePiece, unless a file says otherwise
        ({"add_bos_token": True, "add_eos_token": True}, True, True),
    ],
    ids=str,
)
def test_a_converted_tokenizer_begins_and_ends_texts_as_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: dict[str, bool], begins: bool, ends: bool
) -> None:
    monkeypatch.setenv("THICKETS_CACHE", str(tmp_path / "cache"))
    folder = resolve_model(str(write_gguf(tmp_path / "tiny.gguf", **flags))).path
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids, bare = tokenizer("a Q")["input_ids"], tokenizer("a Q", add_special_tokens=False)["input_ids"]
    assert ids == [1] * begins + bare + [2] * ends
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["add_bos_token"] is begins
    assert config.get("add_eos_token") == flags.get("add_eos_token")
