"""Renders messages to the exact text a model reads: by its chat template, or in a plain form if it has none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from thickets.storage.errors import InputError
from thickets.tasks.engines.chat_template import chat_arguments, check_given, in_parts, render_chat
from thickets.tasks.engines.model_files import broken_files
from thickets.tasks.engines.prompt_tokens import PromptTokens, prompt_tokens
from thickets.tasks.engines.tokenizer import (
    Beginning,
    beginning,
    begins_with_bos,
    load_tokenizer,
    prompt_ids,
    says_bos,
)
from thickets.tasks.types import JSON, ImagePrompt, Message, Prompt, Scalar, text_of

if TYPE_CHECKING:
    from thickets.tasks.engines.images import ImageReader

_REPLY = "Thickets"  # any word that no prompt begins or ends with
_PLAIN_FORM = "question-answer-2"


class Template(Protocol):
    """Renders prompts for one model."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Return the stop strings that the form needs."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what is odd about the model's prompts, a line each."""

    def render(self, messages: Sequence[Message]) -> Prompt:
        """Render the prompt as text, with its image if a message has one."""

    def gap(self, messages: Sequence[Message]) -> str:
        """Return the white space between a rendered prompt and a reply to it."""

    def check(self, messages: Sequence[Message]) -> None:
        """Check that the tokens of a rendered prompt are those that the model's library would make of the messages."""

    def hides(self, text: str) -> bool:
        """Return whether a text is a special token of the model, so that replies are read without it."""

    def lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        """Count the tokens of each rendered prompt."""

    def longest(self, prompts: Sequence[Prompt]) -> int:
        """Count the tokens of the longest rendered prompt."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of parts of replies."""

    def tokens(self, prompt: Prompt) -> PromptTokens:
        """Return a rendered prompt as tokens."""

    def identity(self) -> dict[str, JSON]:
        """Return what identifies this form of prompt in a fingerprint."""

    def image_identity(self) -> dict[str, JSON]:
        """Return what decides how images are read, for the fingerprint of a run whose prompts have some."""


class ValuesTemplate:
    """Renders prompts for a signals network: a signal's values, each of which is a token."""

    stop: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def render(self, messages: Sequence[Message]) -> str:
        """Join the contents as they are; the engine refuses anything but values.

        Raises:
            InputError: A message has an image.
        """
        if any("image" in message for message in messages):
            raise InputError("model: the questions are about images, but a signals network reads values alone")
        return "\n".join(message["content"] for message in messages)

    def gap(self, messages: Sequence[Message]) -> str:
        """Return a space, which stands between two values."""
        return " "

    def check(self, messages: Sequence[Message]) -> None:
        """Accept everything: there is no tokenizer."""

    def hides(self, text: str) -> bool:
        """Return False: there are no special tokens."""
        return False

    def lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        """Count the values of each prompt."""
        return [len(text_of(prompt).split()) for prompt in prompts]

    def longest(self, prompts: Sequence[Prompt]) -> int:
        """Count the values of the longest prompt."""
        return max(self.lengths(prompts))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the values of each text."""
        return [len(text.split()) for text in texts]

    def tokens(self, prompt: Prompt) -> PromptTokens:
        """Return the values, each of which is a token; there is no vocabulary that would number them."""
        values = tuple(text_of(prompt).split())
        return PromptTokens((None,) * len(values), values)

    def identity(self) -> dict[str, JSON]:
        """Return what identifies this form of prompt in a fingerprint."""
        return {"form": "signal-values-1"}

    def image_identity(self) -> dict[str, JSON]:
        """Return nothing: there are no images."""
        return {}


class PromptTemplate:
    """Renders messages for one tokenizer.

    Whether a model is an instruct model is read from its tokenizer's chat template, never guessed from its name.
    """

    def __init__(
        self,
        tokenizer: Any,
        given: Mapping[str, Scalar] | None = None,
        *,
        says_bos: bool | None = None,
        images: Callable[[], ImageReader] | None = None,
    ) -> None:
        """Take a tokenizer.

        Args:
            tokenizer: As `load_tokenizer` gives it.
            given: Further values for the chat template (``decoding.chat_template_kwargs``).
            says_bos: What the tokenizer's configuration says about a BOS token, for warnings; None: nothing.
            images: Makes what reads the model's images, at the first prompt with one; None: it is given none.

        Raises:
            InputError: The tokenizer has no chat template that looks at the values.
        """
        self._tokenizer, self._given, self._says_bos = tokenizer, dict(given or {}), says_bos
        self._make_images = images
        self._images: ImageReader | None = None
        self._chat_template: str | None = tokenizer.chat_template
        check_given(tokenizer, self._given)
        self._beginning = beginning(tokenizer) if self._chat_template is None else Beginning()

    @classmethod
    def from_folder(
        cls, folder: Path, given: Mapping[str, Scalar] | None = None, *, trust_remote_code: bool = False
    ) -> PromptTemplate:
        """Read the tokenizer of a checkpoint folder.

        Raises:
            InputError: As the constructor; or the tokenizer cannot be read.
        """
        with broken_files("its tokenizer", folder):
            tokenizer, says = load_tokenizer(folder, trust_remote_code=trust_remote_code), says_bos(folder)
        return cls(tokenizer, given, says_bos=says, images=lambda: _image_reader(folder))

    @property
    def is_chat(self) -> bool:
        """Return whether the model has a chat template."""
        return self._chat_template is not None

    @property
    def stop(self) -> tuple[str, ...]:
        """Return the stop strings that the form needs: a plain model would go on with another question."""
        return () if self.is_chat else ("\nQuestion:",)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return where a BOS token is missing that should be there, or is there against the configuration's word."""
        bos, adds = self._tokenizer.bos_token, begins_with_bos(self._tokenizer)
        if not self.is_chat:
            if adds and self._says_bos is False:
                return (
                    f"model: its tokenizer_config.json says add_bos_token: false, but its tokenizer begins every text "
                    f"with {bos}, and so do the prompts",
                )
            return ()
        if not (adds or self._says_bos):
            return ()
        [ids] = prompt_ids(self._tokenizer, [self._text([{"role": "user", "content": "a"}])])
        if self._tokenizer.bos_token_id in ids:
            return ()
        return (
            f"model: its tokenizer begins every text with {bos}, but its chat template does not write one; prompts are "
            "rendered as the library does it, without",
        )

    def render(self, messages: Sequence[Message]) -> Prompt:
        """Render the prompt, special tokens written out; `lengths` and the engines add none.

        Raises:
            InputError: The chat template cannot be rendered, or refuses a system message; or a message has an image,
                and the model is given none or its chat template leaves it out.
        """
        found = [message["image"] for message in messages if "image" in message]
        text = self._text(messages)
        if not found:
            return text
        [image] = found
        self._read_images().place(self._ids([text])[0])
        return ImagePrompt(text, image)

    def _text(self, messages: Sequence[Message]) -> str:
        has_images = any("image" in message for message in messages)
        if has_images:
            self._read_images()  # says what is wrong with a model that reads none
        if self.is_chat:
            return render_chat(self._tokenizer, in_parts(messages) if has_images else messages, self._given)
        if has_images:
            raise InputError("model: the questions are about images, and it has no chat template that places them")
        return self._beginning.text + _plain(messages) + "\nAnswer:"

    def _read_images(self) -> ImageReader:
        """Return what reads the model's images, made at the first call.

        Raises:
            InputError: The model reads none, or it is given none here.
        """
        if self._images is None:
            if self._make_images is None:
                raise InputError("model: the questions are about images, and only their text is rendered here")
            self._images = self._make_images()
        return self._images

    def _ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return token ids as the model reads them, an image's all."""
        rows = prompt_ids(self._tokenizer, [text_of(prompt) for prompt in prompts])
        return [
            self._read_images().expand(row, prompt.image) if isinstance(prompt, ImagePrompt) else row
            for row, prompt in zip(rows, prompts, strict=True)
        ]

    def gap(self, messages: Sequence[Message]) -> str:
        """Return the white space between a rendered prompt and a reply to it, as in a chat that goes on.

        The chat template tells where it can: the messages are rendered with a reply. One that writes the turns that
        went before otherwise than a prompt tells nothing, and a reply then follows its prompt at once. In the plain
        form it is a space.
        """
        if not self.is_chat:
            return " "
        reply: Message = {"role": "assistant", "content": _REPLY}
        try:
            whole = render_chat(self._tokenizer, [*messages, reply], self._given, is_prompt=False)
        except InputError:  # a template that takes questions alone
            return ""
        before, found, _ = whole.removeprefix(self._text(messages)).partition(_REPLY)
        return before if found and not before.strip() else ""

    def check(self, messages: Sequence[Message]) -> None:
        """Check that the tokens of a rendered prompt are those that the library would make of the messages.

        Raises:
            InputError: They are not; the message names the first that differs.
        """
        text = text_of(self.render(messages))
        [ours] = prompt_ids(self._tokenizer, [text])
        if self.is_chat:
            how = "apply_chat_template"
            given = in_parts(messages) if any("image" in message for message in messages) else list(messages)
            theirs = self._tokenizer.apply_chat_template(given, **chat_arguments(self._given))["input_ids"]
        else:
            how = "encoding with special tokens"
            theirs = self._tokenizer(text.removeprefix(self._beginning.text))["input_ids"][: len(ours)]
        if ours == theirs:
            return
        at = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), len(ours))
        mine, other = (self._tokenizer.convert_ids_to_tokens(ids[at : at + 1]) for ids in (ours, theirs))
        raise InputError(
            f"model: the tokens of a rendered prompt are not those of its tokenizer's own {how}: token {at} is "
            f"{_token(mine)}, there {_token(other)}; such a model cannot be asked as it was trained"
        )

    def hides(self, text: str) -> bool:
        """Return whether a text is a special token of the tokenizer."""
        return text in self._tokenizer.all_special_tokens

    def lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        """Count the tokens of each rendered prompt."""
        return list(map(len, self._ids(prompts))) if prompts else []

    def longest(self, prompts: Sequence[Prompt]) -> int:
        """Count the tokens of the longest rendered prompt."""
        return max(self.lengths(prompts))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of parts of replies; the tokenizer adds none to them."""
        return list(map(len, self._tokenizer(list(texts), add_special_tokens=False)["input_ids"])) if texts else []

    def tokens(self, prompt: Prompt) -> PromptTokens:
        """Return a rendered prompt as tokens."""
        return prompt_tokens(self._tokenizer, self._ids([prompt])[0])

    def identity(self) -> dict[str, JSON]:
        """Return what identifies this form of prompt in a fingerprint."""
        if self._chat_template is None:
            return {"form": _PLAIN_FORM, "bos": self._beginning.text}
        template = hashlib.sha256(str(self._chat_template).encode()).hexdigest()
        return {
            "form": "chat",
            "template_sha256": template,
            **({"chat_template_kwargs": dict(self._given)} if self._given else {}),
        }

    def image_identity(self) -> dict[str, JSON]:
        """Return what decides the pixels that the model sees; see `ImageReader.identity`."""
        return self._read_images().identity()


def _image_reader(folder: Path) -> ImageReader:
    from thickets.tasks.engines.images import ImageReader  # Transformers' image processors: a second

    return ImageReader(folder)


def _plain(messages: Sequence[Message]) -> str:
    """Write turns as questions and answers, for a model without a chat template."""
    before = {"system": "\n\n", "user": "\n\nQuestion: ", "assistant": "\nAnswer: "}
    return "".join(before[message["role"]] + message["content"] for message in messages).removeprefix("\n\n")


def _token(found: list[str]) -> str:
    return repr(found[0]) if found else "missing"
