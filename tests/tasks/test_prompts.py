from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.tiny_model import make_tiny_model
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.tokenizer import _is_plain

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


def test_a_plain_tokenizer_is_the_one_that_transformers_picks_and_needs_no_pytorch(tiny_model: Path) -> None:
    picked, ours = AutoTokenizer.from_pretrained(tiny_model), PromptTemplate.from_folder(tiny_model)._tokenizer
    assert type(ours) is type(picked)
    assert (ours.chat_template, ours.special_tokens_map) == (picked.chat_template, picked.special_tokens_map)
    assert ours.backend_tokenizer.to_str() == picked.backend_tokenizer.to_str()
    program = (
        "import sys\nfrom pathlib import Path\nfrom thickets.tasks.engines.model_kinds import kind_of\n"
        "folder = Path(sys.argv[1]); kind = kind_of(folder)\n"
        "kind.prompt_template(folder).longest(['some text'])\n"
        "print(kind.context_length(folder), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tiny_model)]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout == "512 False\n"


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"model_type": "qwen2"}),
        ("config.json", {"auto_map": {}}),
        ("tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": [None, "mine.Tokenizer"]}}),
    ],
)
def test_every_other_tokenizer_is_left_to_transformers(tmp_path: Path, file: str, changes: dict) -> None:
    make_tiny_model(tmp_path)
    assert _is_plain(tmp_path)
    path = tmp_path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert not _is_plain(tmp_path)
