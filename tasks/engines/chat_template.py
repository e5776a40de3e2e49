"""Renders a tokenizer's chat template, and says in one line why one cannot be rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.types import Message, Scalar

# Some chat templates print today's date. A prompt must not change overnight, so templates get this one.
_FIXED_DATE = "26 Jul 2024"

RESERVED = frozenset(
    [
        "messages",
        "conversation",
        "conversations",
        "chat",
        "tokenize",
        "add_generation_prompt",
        "continue_final_message",
        "tools",
        "documents",
        "date_string",
        "strftime_now",
        "raise_exception",
        "chat_template",
        "padding",
        "truncation",
        "max_length",
        "return_tensors",
        "return_dict",
        "return_assistant_tokens_mask",
        "tokenizer_kwargs",
        "bos_token",
        "eos_token",
        "unk_token",
        "sep_token",
        "pad_token",
        "cls_token",
        "mask_token",
        "additional_special_tokens",
    ]
)
"""Names that the rendering itself gives to a template, so that ``decoding.chat_template_kwargs`` may not."""


def render_chat(tokenizer: Any, messages: Sequence[Any], given: Mapping[str, Scalar], *, is_prompt: bool = True) -> str:
    """Render messages with a tokenizer's chat template, up to where the model's turn begins.

    Args:
        tokenizer: Has a chat template.
        messages: Chat turns, also `in_parts`.
        given: Further values for the template (``decoding.chat_template_kwargs``).
        is_prompt: Whether the model's turn is to begin; else the last message is its.

    Raises:
        InputError: The template cannot be rendered, or does not take a system turn.
    """
    from jinja2.exceptions import TemplateError

    # A template computes: what it does with a value that it does not expect ends in any of Python's own errors.
    failures = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
    try:
        return _rendered(tokenizer, messages, given, is_prompt=is_prompt)
    except failures as error:
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    turns = [message for message in messages if message["role"] != "system"]
    if 0 < len(turns) < len(messages):
        try:
            _rendered(tokenizer, turns, given, is_prompt=is_prompt)
        except failures:
            pass
        else:
            raise InputError(
                f"problem.system: this model's chat template refuses a system message ({reason}); leave problem.system "
                "(or the system turn of the data) out, and say it in problem.instruction"
            )
    raise InputError(f"model: its chat template cannot be rendered ({reason}){_with(given)}")


def in_parts(messages: Sequence[Message]) -> list[Any]:
    """Return messages in the form in which chat templates take images: a turn with one is a list of parts."""
    return [
        {
            "role": message["role"],
            "content": [{"type": "image"}, {"type": "text", "text": message["content"]}],
        }
        if "image" in message
        else {"role": message["role"], "content": message["content"]}
        for message in messages
    ]


def check_given(tokenizer: Any, given: Mapping[str, Scalar]) -> None:
    """Check that a tokenizer's chat template looks at every value that it is given.

    Raises:
        InputError: The tokenizer has no chat template, or the template does not mention a name.
    """
    if not given:
        return
    if tokenizer.chat_template is None:
        raise InputError(
            f"decoding.chat_template_kwargs: found {', '.join(given)}, but this model has no chat template; remove it"
        )
    if unknown := sorted(given.keys() - (names := mentioned(tokenizer.chat_template))):
        known = ", ".join(sorted(names - RESERVED)) or "nothing of the kind"
        raise InputError(
            f"decoding.chat_template_kwargs: this model's chat template never looks at {', '.join(unknown)}; it looks "
            f"at {known}"
        )


def mentioned(template: Any) -> frozenset[str]:
    """Return the names that a chat template reads and does not set itself.

    Raises:
        InputError: It is no template.
    """
    from jinja2 import Environment, meta, nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension

    class Generation(Extension):
        """``{% generation %} ... {% endgeneration %}``, by which chat templates mark what a model wrote."""

        tags = {"generation"}  # noqa: RUF012 - Jinja's own form

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    environment = Environment(extensions=[Generation, "jinja2.ext.loopcontrols"])
    texts = template.values() if isinstance(template, dict) else [template]
    try:
        found = [meta.find_undeclared_variables(environment.parse(text)) for text in texts]
        return frozenset().union(*found)
    except TemplateError as error:
        raise InputError(f"model: its chat template cannot be read ({str(error).splitlines()[0]})") from None


def _rendered(tokenizer: Any, messages: Sequence[Any], given: Mapping[str, Scalar], *, is_prompt: bool) -> str:
    arguments = {**chat_arguments(given), "add_generation_prompt": is_prompt}
    text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, **arguments)
    return text


def chat_arguments(given: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return the arguments with which the library's `apply_chat_template` renders the same prompt."""
    return {
        **given,
        "add_generation_prompt": True,
        "date_string": _FIXED_DATE,
        "strftime_now": lambda _format: _FIXED_DATE,
    }


def _with(given: Mapping[str, Scalar]) -> str:
    each = ", ".join(f"{name} = {value!r}" for name, value in given.items())
    return each and f", given {each} (decoding.chat_template_kwargs)"
