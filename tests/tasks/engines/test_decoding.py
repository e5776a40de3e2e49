from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.decoding import common_prefix
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate, Sampling

SYSTEM = "[system] You answer questions.\n[user] "
PROMPTS = [
    SYSTEM + text + "\n[assistant] " for text in ("2+2?", "which is larger, 17 or 4?", "x", "say 123", "a b c d")
]


def engine(folder: Path, **changes) -> TransformersEngine:
    return TransformersEngine(EngineSpec("transformers", folder, Perturbation(), **({"device": "cpu"} | changes)))


def plain_greedy(folder: Path, prompt: str, max_tokens: int) -> list[int]:
    """One prompt at a time through the library's own loop: no batch, no padding, no shared prefix."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    output = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=max_tokens,
        do_sample=False,
    )
    return output[0, inputs["input_ids"].shape[1] :].tolist()


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5))
def test_common_prefix_is_shared_by_all_and_leaves_each_row_a_token(rows: list[list[int]]) -> None:
    length = common_prefix(rows)
    assert all(row[:length] == rows[0][:length] for row in rows)
    assert all(len(row) > length for row in rows) or length == 0
    if len(rows) > 1 and length < min(map(len, rows)) - 1:
        assert len({row[length] for row in rows}) > 1


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_answers_are_those_of_plain_generation(tiny_model: Path, batch_size: int) -> None:
    completions = engine(tiny_model, batch_size=batch_size).generate(PROMPTS, Sampling(24))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        expected = plain_greedy(tiny_model, prompt, 24)
        assert completion.text == tokenizer.decode(expected, skip_special_tokens=True)
        assert completion.n_tokens == len(expected)
        assert completion.finish_reason == ("stop" if expected[-1] == tokenizer.eos_token_id else "length")


def test_a_prompt_alone_and_prompts_without_anything_in_common_work(tiny_model: Path) -> None:
    held = engine(tiny_model)
    together = held.generate(["abc", "xyz 1"], Sampling(6))
    assert together == [*held.generate(["abc"], Sampling(6)), *held.generate(["xyz 1"], Sampling(6))]
    assert held.generate([], Sampling(6)) == []


def test_rows_that_end_early_leave_the_others_as_they_are(tiny_model: Path) -> None:
    held = engine(tiny_model)
    whole = held.generate(PROMPTS, Sampling(24))
    # A character that some rows produce and others do not (or later) ends rows at different steps.
    stop = whole[0].text[3]
    for free, stopped in zip(whole, held.generate(PROMPTS, Sampling(24, (stop,))), strict=True):
        assert stopped.text == free.text.split(stop)[0]
        if stop in free.text:
            assert stopped.finish_reason == "stop"
            assert stopped.n_tokens <= free.n_tokens


def test_a_stop_string_of_several_tokens_is_found_and_cut_off(tiny_model: Path) -> None:
    held = engine(tiny_model)
    [whole] = held.generate(PROMPTS[:1], Sampling(24))
    [stopped] = held.generate(PROMPTS[:1], Sampling(24, ("never there", whole.text[5:8])))
    assert stopped.text == whole.text[: whole.text.index(whole.text[5:8])]
    assert stopped.finish_reason == "stop"


def count_forwards(held: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Shapes of what the model reads from now on: rows and tokens of each."""
    forwards: list[tuple[int, int]] = []
    original = held._model.forward

    def forward(**named):
        forwards.append(tuple(named["input_ids"].shape))
        return original(**named)

    monkeypatch.setattr(held._model, "forward", forward)
    return forwards


def test_the_prefix_is_computed_once_per_candidate(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = engine(tiny_model)
    forwards = count_forwards(held, monkeypatch)
    held.generate(PROMPTS, Sampling(1))
    held.load(None)  # it is loaded already
    held.generate(PROMPTS, Sampling(1))
    assert forwards.count((1, len(SYSTEM))) == 1
    held.load(Candidate(3, 0.1))
    held.generate(PROMPTS, Sampling(1))
    assert forwards.count((1, len(SYSTEM))) == 2


@pytest.mark.parametrize("batch_size", [64, 3])
def test_samples_of_the_same_prompts_share_what_the_model_read(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    held = engine(tiny_model, batch_size=batch_size)
    samples = [Sampling(12, temperature=1.0, seed=seed) for seed in (1, 2, 3)]
    forwards = count_forwards(held, monkeypatch)
    found = []
    for sampling in samples:
        held.load(None)
        found.append(held.generate(PROMPTS, sampling))
    reads = [shape for shape in forwards if shape[1] > 1 and shape != (1, len(SYSTEM))]
    assert len(reads) == -(-len(PROMPTS) // batch_size)
    # To the byte what each would be alone: in any order, by an engine that has seen no other sample.
    for sampling, together in zip(samples, found, strict=True):
        assert engine(tiny_model, batch_size=batch_size).generate(PROMPTS, sampling) == together
    assert len(set(map(tuple, found))) == 3
    # Other prompts, another limit, or greedy decoding after them: nothing of what was read before is mixed in.
    greedy = Sampling(12)
    assert held.generate(PROMPTS, greedy) == engine(tiny_model, batch_size=batch_size).generate(PROMPTS, greedy)
    for prompts, limit in ((PROMPTS[1:], 12), (PROMPTS, 7)):
        other = Sampling(limit, temperature=1.0, seed=1)
        expected = engine(tiny_model, batch_size=batch_size).generate(prompts, other)
        assert held.generate(prompts, other) == expected


def test_what_would_take_too_much_memory_is_read_anew(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.tasks.engines.transformers._MOST_KEPT_BYTES", 0)
    held, sampling = engine(tiny_model), Sampling(12, temperature=1.0, seed=1)
    forwards = count_forwards(held, monkeypatch)
    assert held.generate(PROMPTS, sampling) == held.generate(PROMPTS, sampling)
    assert len([shape for shape in forwards if shape[0] == len(PROMPTS) and shape[1] > 1]) == 2


def test_samples_of_another_candidate_read_the_prompts_anew(tiny_model: Path) -> None:
    held, sampling = engine(tiny_model), Sampling(12, temperature=1.0, seed=1)
    alone = engine(tiny_model)
    alone.load(Candidate(3, 0.1))
    held.generate(PROMPTS, sampling)
    held.load(Candidate(3, 0.1))
    assert held.generate(PROMPTS, sampling) == alone.generate(PROMPTS, sampling)


def test_an_engine_over_a_live_model_forgets_at_every_load(tiny_model: Path) -> None:
    own = engine(tiny_model)
    held = TransformersEngine.over(own.model, AutoTokenizer.from_pretrained(tiny_model), 64)
    before = held.generate(PROMPTS, Sampling(12, temperature=1.0))
    own.load(Candidate(3, 0.3))  # the model's weights change, as training changes them
    held.load(None)
    assert held.generate(PROMPTS, Sampling(12, temperature=1.0)) != before
