"""Renders messages to the exact text a model reads: by its chat template, or in a plain form if it has none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from thickets.tasks.engines.prompt_tokens import PromptTokens, prompt_tokens
from thickets.tasks.types import Message

# Some chat templates print today's date. A prompt must not change overnight, so templates get this one.
_FIXED_DATE = "26 Jul 2024"
_PLAIN_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")  # two names of one, of Transformers 5 and 4
_PLAIN_FORM = "question-answer-1"


class Template(Protocol):
    """Renders prompts for one model."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Return the stop strings that the form needs."""

    def render(self, messages: Sequence[Message]) -> str:
        """Render the prompt as text."""

    def longest(self, prompts: Sequence[str]) -> int:
        """Count the tokens of the longest rendered prompt."""

    def tokens(self, prompt: str) -> PromptTokens:
        """Return a rendered prompt as tokens."""

    def identity(self) -> dict[str, str]:
        """Return what identifies this form of prompt in a fingerprint."""


class ValuesTemplate:
    """Renders prompts for a signals network: a signal's values, each of which is a token."""

    stop: tuple[str, ...] = ()

    def render(self, messages: Sequence[Message]) -> str:
        """Join the contents as they are; the engine refuses anything but values."""
        return "\n".join(message["content"] for message in messages)

    def longest(self, prompts: Sequence[str]) -> int:
        """Count the values of the longest prompt."""
        return max(len(prompt.split()) for prompt in prompts)

    def tokens(self, prompt: str) -> PromptTokens:
        """Return the values, each of which is a token; there is no vocabulary that would number them."""
        values = tuple(prompt.split())
        return PromptTokens((None,) * len(values), values)

    def identity(self) -> dict[str, str]:
        """Return what identifies this form of prompt in a fingerprint."""
        return {"form": "signal-values-1"}


class PromptTemplate:
    """Renders messages for one tokenizer.

    Whether a model is an instruct model is read from its tokenizer's chat template, never guessed from its name.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._chat_template: str | None = tokenizer.chat_template
        self._bos: str = _written_bos(tokenizer) if self._chat_template is None else ""

    @classmethod
    def from_folder(cls, folder: Path, *, trust_remote_code: bool = False) -> PromptTemplate:
        """Read the tokenizer of a checkpoint folder."""
        if _is_plain(folder):
            from transformers import PreTrainedTokenizerFast

            return cls(PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True))
        from transformers import AutoTokenizer

        return cls(AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True))

    @property
    def is_chat(self) -> bool:
        """Return whether the model has a chat template."""
        return self._chat_template is not None

    @property
    def stop(self) -> tuple[str, ...]:
        """Return the stop strings that the form needs: a plain model would go on with another question."""
        return () if self.is_chat else ("\nQuestion:",)

    def render(self, messages: Sequence[Message]) -> str:
        """Render the prompt as text, special tokens written out; tokenize it without adding any."""
        if self.is_chat:
            rendered: str = self._tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=True,
                date_string=_FIXED_DATE,
                strftime_now=lambda _format: _FIXED_DATE,
            )
            return rendered
        parts = [m["content"] if m["role"] == "system" else f"Question: {m['content']}" for m in messages]
        return self._bos + "\n\n".join(parts) + "\nAnswer:"

    def longest(self, prompts: Sequence[str]) -> int:
        """Count the tokens of the longest rendered prompt."""
        return max(len(row) for row in self._tokenizer(list(prompts), add_special_tokens=False)["input_ids"])

    def tokens(self, prompt: str) -> PromptTokens:
        """Return a rendered prompt as tokens."""
        return prompt_tokens(self._tokenizer, self._tokenizer(prompt, add_special_tokens=False)["input_ids"])

    def identity(self) -> dict[str, str]:
        """Return what identifies this form of prompt in a fingerprint."""
        if self._chat_template is None:
            return {"form": _PLAIN_FORM, "bos": self._bos}
        return {"form": "chat", "template_sha256": hashlib.sha256(str(self._chat_template).encode()).hexdigest()}


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


def _written_bos(tokenizer: Any) -> str:
    """Return the begin-of-sequence token as text if this tokenizer begins a sequence with one."""
    ids = tokenizer("a")["input_ids"]
    begins = tokenizer.bos_token_id is not None and ids and ids[0] == tokenizer.bos_token_id
    return tokenizer.bos_token if begins else ""
