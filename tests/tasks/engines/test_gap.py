"""What stands between a prompt and a reply is read from the chat template, not guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_model import make_tiny_model
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.tokenizer import load_tokenizer
from thickets.tasks.types import Message

_TURNS = "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}"
_END = "{% endif %}{% endfor %}"
_TAGGED = (
    "{% for m in messages %}<{{ m.role }}>\n{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
ASKED: list[Message] = [{"role": "user", "content": "Good or bad?"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.mark.parametrize(
    ("chat_template", "gap"),
    [
        (_TURNS + " {{ m.content }}</s>" + _END, " "),
        (_TURNS + "{{ m.content }}</s>" + _END, ""),
        (_TURNS + "{{ '\\n\\n' + m.content }}" + _END, "\n\n"),
        # One that writes earlier turns otherwise than it lets a model begin, and one that takes no replies.
        (_TURNS + "<done>{{ m.content }}" + _END, ""),
        (_TURNS + "{{ raise_exception('no replies') }}" + _END, ""),
        (_TAGGED, ""),
        (None, " "),
    ],
    ids=["space", "none", "lines", "other turns", "no replies", "line in the prompt", "no chat template"],
)
def test_the_gap_is_the_template_s(folder: Path, chat_template: str | None, gap: str) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = chat_template
    assert PromptTemplate(tokenizer).gap(ASKED) == gap
