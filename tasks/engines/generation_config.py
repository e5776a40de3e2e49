"""Names what a model's generation_config.json asks for and greedy decoding here leaves out, on purpose."""

from __future__ import annotations

import json
from pathlib import Path

# Each with the values under which it changes nothing.
_CHANGES_GREEDY: dict[str, tuple[object, ...]] = {
    "repetition_penalty": (1,),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "num_beams": (1,),
    "penalty_alpha": (0,),
    "guidance_scale": (1,),
    "bad_words_ids": ([],),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "sequence_bias": ({}, []),
    "exponential_decay_length_penalty": (),
    "dola_layers": (),
    "watermarking_config": (),
}


def left_out(folder: Path) -> dict[str, object]:
    """Return what a checkpoint's generation_config.json sets that would change greedy decoding, by name.

    Decoding here is the model's own next token and nothing else, so that noise in the weights is all that tells
    candidates apart. What only shapes sampling (temperature, top_p) changes no greedy answer and is not among them.
    """
    path = folder / "generation_config.json"
    if not path.is_file():
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: values[name]
        for name, without_effect in _CHANGES_GREEDY.items()
        if values.get(name) is not None and values[name] not in without_effect
    }
