"""Prompts have the token ids that a model was trained on: the library's own, with the BOS token that is asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny_model import make_tiny_model
from tests.tokenizer_families import FAMILIES, Family, make_family
from thickets.storage.errors import InputError
from thickets.tasks.distillation.texts import encode
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.tokenizer import load_tokenizer, prompt_ids
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Message, Sampling

USER: list[Message] = [{"role": "user", "content": "Which is larger, 17 or 4?"}]
SYSTEM: list[Message] = [{"role": "system", "content": "You answer questions."}, *USER]
# Not what the library is given elsewhere: no template of the families prints a date.
LIBRARY = {"add_generation_prompt": True}


@pytest.fixture(scope="module", params=FAMILIES)
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Family, Path]:
    family = FAMILIES[request.param]
    return family, make_family(tmp_path_factory.mktemp("family"), family)


def ids_of(folder: Path, messages: list[Message]) -> list[int]:
    template = PromptTemplate.from_folder(folder)
    template.check(messages)
    text = template.render(messages)
    [ids] = prompt_ids(load_tokenizer(folder), [text])
    assert template.lengths([text]) == [len(ids)]
    return ids


@pytest.mark.parametrize("messages", [USER, SYSTEM], ids=["user", "system and user"])
def test_the_ids_of_a_prompt_are_the_librarys_own(named: tuple[Family, Path], messages: list[Message]) -> None:
    family, folder = named
    if family.refuses_system and messages is SYSTEM:
        pytest.skip("its template takes no system turn")
    library, ids = AutoTokenizer.from_pretrained(folder), ids_of(folder, messages)
    if family.chat_template is not None:
        assert ids == library.apply_chat_template(messages, **LIBRARY)["input_ids"]
    else:
        parts = [m["content"] if m["role"] == "system" else f"Question: {m['content']}" for m in messages]
        theirs = library("\n\n".join(parts) + "\nAnswer:")["input_ids"]
        theirs = theirs[: len(theirs) - len(family.ends)]
        lost = family.n_bos - theirs.count(library.bos_token_id)  # what the file says, and the library does not do
        assert ids == [library.bos_token_id] * lost + theirs
        assert lost == (not family.begins and family.config.get("add_bos_token", False))
    bos = library.bos_token_id if family.n_bos else library.convert_tokens_to_ids(library.bos_token or "<none>")
    n_at_start = next((i for i, token in enumerate(ids) if token != bos), len(ids))
    # SmolLM2's BOS is what begins a turn.
    assert n_at_start == family.n_bos + (library.bos_token == "<|im_start|>")


def test_a_tokenizer_keeps_its_bos_token_when_it_is_saved(tmp_path: Path) -> None:
    folder = make_family(tmp_path / "base", FAMILIES["gemma, base, from a GGUF"])
    load_tokenizer(folder).save_pretrained(tmp_path / "student")
    (tmp_path / "student" / "config.json").write_text((folder / "config.json").read_text())
    assert ids_of(tmp_path / "student", USER) == ids_of(folder, USER)
    base, student = (PromptTemplate.from_folder(each).identity() for each in (folder, tmp_path / "student"))
    assert base == student
    assert base["bos"] == "<bos>"


def test_a_space_before_the_text_is_not_lost_behind_the_bos_token(tmp_path: Path) -> None:
    # The trap: with <s> written out, SentencePiece takes "Question" for the middle of a text.
    folder = make_family(tmp_path, FAMILIES["llama 2, base"])
    text = PromptTemplate.from_folder(folder).render(USER)
    naive = load_tokenizer(folder)(text, add_special_tokens=False)["input_ids"]
    assert ids_of(folder, USER) != naive
    assert load_tokenizer(folder).convert_ids_to_tokens(ids_of(folder, USER))[1].startswith("▁")


def test_a_configuration_that_forbids_the_bos_token_is_told_of_one(tmp_path: Path) -> None:
    family = FAMILIES["llama 3, base"]
    forbidding = replace(family, config={**family.config, "add_bos_token": False})
    [line] = PromptTemplate.from_folder(make_family(tmp_path, forbidding)).warnings
    assert line.startswith("model: its tokenizer_config.json says add_bos_token: false, but its tokenizer begins every")
    assert PromptTemplate.from_folder(make_family(tmp_path / "2", family)).warnings == ()


def test_a_chat_template_without_the_bos_token_is_rendered_as_the_library_does_it_with_a_warning(
    tmp_path: Path,
) -> None:
    family = FAMILIES["llama 3"]
    assert family.chat_template is not None
    without = replace(family, chat_template=family.chat_template.removeprefix("{{ bos_token }}"), n_bos=0)
    folder = make_family(tmp_path, without)
    assert ids_of(folder, USER) == AutoTokenizer.from_pretrained(folder).apply_chat_template(USER, **LIBRARY).input_ids
    [line] = PromptTemplate.from_folder(folder).warnings
    assert line.startswith("model: its tokenizer begins every text with <|begin_of_text|>, but its chat template does")
    assert PromptTemplate.from_folder(make_family(tmp_path / "2", family)).warnings == ()


def test_a_tokenizer_that_encodes_chats_in_another_way_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_family(tmp_path, FAMILIES["qwen 2"]))
    own = tokenizer.apply_chat_template

    def with_one_more(messages: list[Message], **options: object) -> object:
        """As tokenizers do that bring their own code: the ids do not come from the text."""
        if options.get("tokenize") is False:
            return own(messages, **options)
        return {"input_ids": [tokenizer.eos_token_id, *own(messages, **options)["input_ids"]]}

    tokenizer.apply_chat_template = with_one_more
    with pytest.raises(InputError, match=r"^model: .*token 0 is '<\|im_start\|>', there '<\|im_end\|>'; such a model"):
        PromptTemplate(tokenizer).check(USER)


def test_engine_and_training_read_the_ids_of_the_template(tmp_path: Path) -> None:
    make_tiny_model(tmp_path, chat=False)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"add_bos_token": True}))
    tokenizer, template = load_tokenizer(tmp_path), PromptTemplate.from_folder(tmp_path)
    text = template.render(USER)
    [ids] = prompt_ids(tokenizer, [text])
    assert text.startswith("<s>Question")
    assert ids[0] == tokenizer.bos_token_id
    assert encode(tokenizer, [text], ["17"])[0].input_ids[: len(ids)] == tuple(ids)

    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    new = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)[0, len(ids) :]
    with_bos = tokenizer.decode(new, skip_special_tokens=True)
    new = model.generate(torch.tensor([ids[1:]]), max_new_tokens=8, do_sample=False)[0, len(ids) - 1 :]
    assert tokenizer.decode(new, skip_special_tokens=True) != with_bos, "then the test shows nothing"
    engine = TransformersEngine(EngineSpec("transformers", tmp_path, Perturbation(), device="cpu"))
    assert engine.generate([text], Sampling(max_tokens=8))[0].text == with_bos
