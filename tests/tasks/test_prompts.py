from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer

from tests.tiny_model import make_tiny_model
from thickets.tasks.engines.prompts import PromptTemplate

MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "1+1?"}]


def test_a_chat_template_is_used_where_there_is_one(tiny_model: Path) -> None:
    template = PromptTemplate.from_folder(tiny_model)
    assert template.is_chat
    assert template.render(MESSAGES) == "[system] Be short.\n[user] 1+1?\n[assistant] "
    assert template.stop == ()


def test_a_model_without_one_gets_a_plain_form_and_is_stopped_at_the_next_question(tmp_path: Path) -> None:
    template = PromptTemplate.from_folder(make_tiny_model(tmp_path, chat=False))
    assert not template.is_chat
    assert template.render(MESSAGES) == "Be short.\n\nQuestion: 1+1?\nAnswer:"
    assert template.stop == ("\nQuestion:",)


def test_the_identity_changes_with_the_template(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    before = PromptTemplate(tokenizer).identity()
    tokenizer.chat_template += " "
    assert PromptTemplate(tokenizer).identity() != before
    tokenizer.chat_template = None
    assert PromptTemplate(tokenizer).identity()["form"] != "chat"


def test_a_template_that_prints_the_date_renders_the_same_every_day(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }} {{ date_string }}"
    assert PromptTemplate(tokenizer).render(MESSAGES) == "26 Jul 2024 26 Jul 2024"
