"""Loads a checkpoint's tokenizer, and turns rendered prompts into token ids: for both engines, planning and training.

The ids are those of the library's own ``apply_chat_template(tokenize=True)``, or without a chat template those of plain
encoding with its special tokens, less what ends a text: a prompt is to be continued.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PLAIN_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")  # two names of one, of Transformers 5 and 4


@dataclass(frozen=True, slots=True)
class Beginning:
    """The special tokens with which a tokenizer begins every text, such as ``<bos>``.

    Attributes:
        ids: Token ids; empty for many tokenizers.
        text: The same, written out.
    """

    ids: tuple[int, ...] = ()
    text: str = ""


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load a checkpoint's tokenizer, which begins a text with a BOS token where its configuration says so.

    ``add_bos_token`` of ``tokenizer_config.json`` counts for nothing in Transformers 5 where there is a
    ``tokenizer.json``, even if that adds none: converted checkpoints lose their BOS token that way.
    """
    if _is_plain(folder):
        from transformers import PreTrainedTokenizerFast

        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    else:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    if tokenizer.is_fast and tokenizer.bos_token_id is not None and says_bos(folder) and not begins_with_bos(tokenizer):
        tokenizer.add_bos_token = True  # makes its post-processor anew
    return tokenizer


def says_bos(folder: Path) -> bool | None:
    """Return what a checkpoint's tokenizer_config.json says about a BOS token; None: nothing."""
    found = _read_json(folder / "tokenizer_config.json").get("add_bos_token")
    return found if isinstance(found, bool) else None


def begins_with_bos(tokenizer: Any) -> bool:
    """Return whether a tokenizer begins texts with its BOS token."""
    return tokenizer.bos_token_id is not None and beginning(tokenizer).ids[:1] == (tokenizer.bos_token_id,)


def beginning(tokenizer: Any) -> Beginning:
    """Return the special tokens with which a tokenizer begins every text."""
    bare: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a")["input_ids"]
    ids = whole[: next((at for at in range(len(whole)) if bare and whole[at : at + len(bare)] == bare), 0)]
    return Beginning(tuple(ids), "".join(tokenizer.convert_ids_to_tokens(list(ids))))


def prompt_ids(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """Tokenize rendered prompts (`thickets.tasks.engines.prompts`).

    Args:
        tokenizer: As `load_tokenizer` gives it.
        prompts: Rendered, special tokens written out.

    Returns:
        Token ids, a list per prompt.
    """
    # What begins a plain prompt is put before its ids and not tokenized with it: behind a special token some
    # SentencePiece tokenizers leave out the space that they put before a text.
    begin = beginning(tokenizer) if tokenizer.chat_template is None else Beginning()
    bare = [prompt.removeprefix(begin.text) for prompt in prompts]
    rows: list[list[int]] = tokenizer(bare, add_special_tokens=False)["input_ids"]
    return [[*begin.ids, *row] for row in rows] if begin.ids else rows


def _is_plain(folder: Path) -> bool:
    """Return whether AutoTokenizer surely takes the plain class for a checkpoint.

    To find out, it imports PyTorch and the code of every model, which takes seconds; a run that finds all its answers
    among the shards needs neither. Llama's is the kind of model for which the files alone decide.
    """
    if not (folder / "tokenizer.json").is_file():
        return False
    model, tokenizer = (_read_json(folder / name) for name in ("config.json", "tokenizer_config.json"))
    is_llama = model.get("model_type") == "llama" and not {"auto_map", "model_name"} & {*model, *tokenizer}
    return is_llama and tokenizer.get("tokenizer_class") in _PLAIN_CLASSES


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
