"""Tiny tokenizers of the kinds that well-known models have: normalizer, pre-tokenizer, post-processor, flags, template.

Each is a few hundred tokens, trained on a paragraph; what a kind does to the beginning of a text is as in the original.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

_CORPUS = [
    "Question: What is the capital of France?\nAnswer: Paris, the city of light.",
    "You answer questions. Which is larger, 17 or 4? 17 is larger than 4.",
    "def add(a, b):\n    return a + b  # 1 + 1 = 2",
]
_HEADERS = (
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_PHI = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'system' %}[SYSTEM] {{ m['content'] }} {% endif %}{% endfor %}"
)
_OLMO = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A kind of tokenizer.

    Attributes:
        kind: ``bytes``: byte-level BPE; ``spaces``: SentencePiece with a space before a text; ``bare``: without one.
        special: Special tokens; their ids come first, in this order.
        begins: Those that the post-processor puts before a text.
        ends: Those that it puts behind a text.
        n_bos: BOS tokens that a prompt begins with.
        model_type: Of config.json.
        config: Of tokenizer_config.json.
        chat_template: None for a base model.
        refuses_system: Whether the chat template takes no system turn.
    """

    kind: str
    special: tuple[str, ...]
    model_type: str
    config: dict[str, Any]
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    n_bos: int = 0
    chat_template: str | None = None
    refuses_system: bool = False
    added: tuple[str, ...] = field(default=())


_SP = ("<unk>", "<s>", "</s>")
_SP_NAMES = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
_GEMMA_NAMES = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
_END = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}

FAMILIES = {
    "llama 3": Family(
        "bytes",
        ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
        "llama",
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        begins=("<|begin_of_text|>",),
        n_bos=1,
        chat_template="{{ bos_token }}" + _HEADERS,
    ),
    "llama 3, base": Family(
        "bytes",
        ("<|begin_of_text|>", "<|eot_id|>"),
        "llama",
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        begins=("<|begin_of_text|>",),
        n_bos=1,
    ),
    "llama 2, base": Family(
        "spaces",
        _SP,
        "llama",
        {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, **_SP_NAMES},
        begins=("<s>",),
        n_bos=1,
    ),
    "qwen 2": Family(
        "bytes",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        "qwen2",
        {"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "eos_token": "<|im_end|>"},
        chat_template=_CHATML,
        added=("<think>", "</think>"),
    ),
    "gemma": Family(
        "bare",
        _GEMMA_SPECIAL,
        "gemma",
        {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False, **_GEMMA_NAMES},
        begins=("<bos>",),
        n_bos=1,
        chat_template=_GEMMA,
        refuses_system=True,
    ),
    "gemma, base": Family(
        "bare",
        _GEMMA_SPECIAL,
        "gemma",
        {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False, **_GEMMA_NAMES},
        begins=("<bos>",),
        n_bos=1,
    ),
    "gemma, base, from a GGUF": Family(  # as it was converted once: nothing but the flag
        "bare",
        _GEMMA_SPECIAL,
        "gemma",
        {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False, **_GEMMA_NAMES},
        n_bos=1,
    ),
    "phi 3": Family(
        "spaces",
        (*_SP, "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        "phi3",
        {"tokenizer_class": "LlamaTokenizer", "add_bos_token": False, "add_eos_token": False, **_SP_NAMES},
        chat_template=_PHI,
    ),
    "mistral": Family(
        "spaces",
        (*_SP, "[INST]", "[/INST]"),
        "mistral",
        {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, **_SP_NAMES},
        begins=("<s>",),
        n_bos=1,
        chat_template=_MISTRAL,
    ),
    "olmo 2": Family(
        "bytes",
        ("<|endoftext|>",),
        "olmo2",
        {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": False, **_END},
        n_bos=1,
        chat_template=_OLMO,
    ),
    "gpt 2": Family(
        "bytes", ("<|endoftext|>",), "gpt2", {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": False, **_END}
    ),
    "smollm 2": Family(
        "bytes",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        "llama",
        {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, **_END, "bos_token": "<|im_start|>"},
        chat_template=_CHATML,
    ),
    "falcon": Family("bytes", ("<|endoftext|>",), "falcon", {"tokenizer_class": "PreTrainedTokenizerFast", **_END}),
    "glm, base": Family(  # begins a text with two tokens, neither of which it calls BOS
        "bytes",
        ("<|endoftext|>", "[gMASK]", "<sop>"),
        "glm",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"},
        begins=("[gMASK]", "<sop>"),
    ),
    "ends its texts": Family(
        "spaces",
        _SP,
        "llama",
        {"tokenizer_class": "PreTrainedTokenizerFast", **_SP_NAMES},
        begins=("<s>",),
        ends=("</s>",),
        n_bos=1,
    ),
}


def make_family(folder: Path, family: Family) -> Path:
    """Write the tokenizer's files and a config.json of its model type into a folder."""
    core = _tokenizer(family)
    ids = {token: core.token_to_id(token) for token in family.special}
    around = (*family.begins, "$A", *family.ends)
    template = processors.TemplateProcessing(
        single=" ".join(around), special_tokens=[(t, ids[t]) for t in (*family.begins, *family.ends)]
    )
    if family.begins or family.ends:
        core.post_processor = template
    elif family.kind == "bytes":
        core.post_processor = processors.ByteLevel(trim_offsets=False)
    folder.mkdir(parents=True, exist_ok=True)
    core.save(str(folder / "tokenizer.json"))
    config = {"model_max_length": 512, **family.config}
    if family.chat_template is not None:
        config["chat_template"] = family.chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": family.model_type}), encoding="utf-8")
    return folder


def _tokenizer(family: Family) -> Tokenizer:
    is_bytes = family.kind == "bytes"
    core = Tokenizer(models.BPE() if is_bytes else models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if is_bytes:
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
    elif family.kind == "spaces":
        core.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
        core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    else:
        core.normalizer = normalizers.Replace(" ", "▁")
        core.pre_tokenizer = pre_tokenizers.Split(Regex(" "), "merged_with_previous")
        core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    of_bytes = [] if is_bytes else [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=640,
        special_tokens=[*family.special, *of_bytes],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if is_bytes else [],
        show_progress=False,
    )
    core.train_from_iterator(_CORPUS, trainer)
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in family.added])
    return core
