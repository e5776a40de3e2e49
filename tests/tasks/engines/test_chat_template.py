"""What a chat template is given, and one line for what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tokenizer_families import FAMILIES, make_family
from thickets.storage.errors import InputError
from thickets.tasks.engines.chat_template import RESERVED, mentioned
from thickets.tasks.engines.model_kinds import SignalsModel
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.tokenizer import load_tokenizer
from thickets.tasks.types import Message

USER: list[Message] = [{"role": "user", "content": "1+1?"}]
SYSTEM: list[Message] = [{"role": "system", "content": "Be short."}, *USER]


def tokenizer(folder: Path, name: str, chat_template: str | None = None) -> Any:
    made = load_tokenizer(make_family(folder, FAMILIES[name]))
    made.chat_template = chat_template or made.chat_template
    return made


def test_values_reach_the_template_and_its_identity(tmp_path: Path) -> None:
    qwen = tokenizer(tmp_path, "qwen 2")
    plain, quiet = PromptTemplate(qwen), PromptTemplate(qwen, {"enable_thinking": False})
    assert quiet.render(USER) == plain.render(USER) + "<think>\n\n</think>\n\n"
    assert quiet.identity() == {**plain.identity(), "chat_template_kwargs": {"enable_thinking": False}}
    assert PromptTemplate(qwen, {"enable_thinking": True}).identity() != quiet.identity()
    assert PromptTemplate(qwen, {}).identity() == plain.identity()
    quiet.check(USER)


def test_a_value_that_the_template_never_looks_at_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        PromptTemplate(tokenizer(tmp_path, "qwen 2"), {"enable_thinkng": False, "enable_thinking": False})
    assert str(caught.value) == (
        "decoding.chat_template_kwargs: this model's chat template never looks at enable_thinkng; it looks at "
        "enable_thinking"
    )
    with pytest.raises(InputError, match="it looks at nothing of the kind"):
        PromptTemplate(tokenizer(tmp_path / "2", "mistral"), {"enable_thinking": False})


def test_a_model_without_a_chat_template_takes_no_values(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^decoding\.chat_template_kwargs: found enable_thinking, but this model has"):
        PromptTemplate(tokenizer(tmp_path, "gpt 2"), {"enable_thinking": False})
    with pytest.raises(InputError, match=r"^decoding\.chat_template_kwargs: found x, but a signals network has no"):
        SignalsModel().prompt_template(tmp_path, {"x": 1})


def test_the_names_that_a_template_reads_are_found_behind_every_kind_of_tag() -> None:
    template = (
        "{% set own = 1 %}{% macro show(m) %}{{ m }}{{ inside }}{% endmacro %}{% for m in messages %}"
        "{% if loop.first %}{% continue %}{% endif %}{% generation %}{{ own }}{{ within }}{% endgeneration %}"
        "{% endfor %}{{ asked is defined }}"
    )
    assert mentioned(template) - RESERVED == {"inside", "within", "asked"}
    assert mentioned({"default": "{{ a }}", "tool_use": "{{ b }}"}) == {"a", "b"}


def test_a_template_that_refuses_a_system_message_names_the_field(tmp_path: Path) -> None:
    gemma = PromptTemplate(tokenizer(tmp_path, "gemma"))
    assert gemma.render(USER) == "<bos><start_of_turn>user\n1+1?<end_of_turn>\n<start_of_turn>model\n"
    with pytest.raises(InputError) as caught:
        gemma.render(SYSTEM)
    assert str(caught.value) == (
        "problem.system: this model's chat template refuses a system message (System role not supported); leave "
        "problem.system (or the system turn of the data) out, and say it in problem.instruction"
    )


@pytest.mark.parametrize(
    ("template", "messages", "reason"),
    [
        ("{{ raise_exception('No.\\nNever.') }}", USER, r"\(No\.\)"),
        ("{{ raise_exception('No.') }}", SYSTEM, r"\(No\.\)"),  # without the system turn neither
        ("{{ messages[7].content }}", USER, r"\(list object has no element 7\)"),
        ("{% if %}", USER, r"\("),
        ("{{ messages[0].content + 1 }}", USER, r"\(can only concatenate str"),
        ("{{ raise_exception('No.') }}", [SYSTEM[0]], r"\(No\.\)"),  # nothing but a system turn
    ],
)
def test_any_other_template_that_fails_is_one_line_about_the_model(
    tmp_path: Path, template: str, messages: list[Message], reason: str
) -> None:
    made = PromptTemplate(tokenizer(tmp_path, "qwen 2", template))
    with pytest.raises(InputError, match=f"^model: its chat template cannot be rendered {reason}[^\n]*$"):
        made.render(messages)


def test_a_value_of_the_wrong_type_is_named_with_the_failure(tmp_path: Path) -> None:
    made = PromptTemplate(tokenizer(tmp_path, "qwen 2", "{{ 1 + level }}"), {"level": "high"})
    with pytest.raises(InputError, match=r"given level = 'high' \(decoding\.chat_template_kwargs\)$"):
        made.render(USER)


def test_a_text_that_is_no_template_is_one_line_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^model: its chat template cannot be read \([^\n]*\)$"):
        PromptTemplate(tokenizer(tmp_path, "qwen 2", "{% if %}"), {"level": 1})
