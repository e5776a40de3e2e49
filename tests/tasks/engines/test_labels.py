"""Labels are compared by what a plain forward pass of Transformers says of prompt and label together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.label_reading import label_batches
from thickets.tasks.engines.labels import LabelEngine, LabelRow, Likelihood, label_rows, likeliest, shares
from thickets.tasks.engines.prompt_reader import PromptReader
from thickets.tasks.engines.tokenizer import load_tokenizer
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate, Label, Labels, LikelihoodPer, Sampling

PROMPTS = [f"[user] text {'long ' * n}number {n}?\n[assistant] " for n in range(5)]
TEXTS = ("positive", "no", "x", "neutral", "y")
CANDIDATE = Candidate(5, 0.05)


def labels(*texts: str, n: int = len(PROMPTS), per: LikelihoodPer = "label", gap: str = "") -> Labels:
    return Labels((tuple(Label(text, text) for text in texts),) * n, gap, per)


def engine(folder: Path, **changes) -> TransformersEngine:
    held = TransformersEngine(EngineSpec("transformers", folder, **({"perturbation": Perturbation()} | changes)))
    held.load(CANDIDATE)
    return held


def plain(held: TransformersEngine, folder: Path, prompt: str, text: str) -> float:
    """The loss of the label behind its prompt, by Transformers alone: no cache, no batch, no prefix."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.load_state_dict(held.model.state_dict())
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([tokenizer(prompt + text, add_special_tokens=False)["input_ids"]])
    targets = ids.clone()
    targets[:, : len(before)] = -100
    with torch.inference_mode():
        return -model(input_ids=ids, labels=targets).loss.item() * (ids.shape[1] - len(before))


@pytest.mark.parametrize("batch_size", [64, 3, 1])
def test_a_likelihood_is_that_of_a_plain_forward_pass(tiny_model: Path, batch_size: int) -> None:
    held = engine(tiny_model, batch_size=batch_size)
    found = held.likelihoods(PROMPTS, labels(*TEXTS))
    for prompt, row in zip(PROMPTS, found, strict=True):
        for text, likelihood in zip(TEXTS, row, strict=True):
            assert likelihood.n_tokens == len(text)  # a token is a character
            assert likelihood.log == pytest.approx(plain(held, tiny_model, prompt, text), abs=2e-3)
    assert isinstance(held, LabelEngine)


def test_one_prompt_alone_and_prompts_with_sets_of_their_own_are_read_alike(tiny_model: Path) -> None:
    held = engine(tiny_model)
    sets = tuple(tuple(Label(text, text) for text in TEXTS[: 2 + n % 3]) for n in range(len(PROMPTS)))
    together = held.likelihoods(PROMPTS, Labels(sets))
    assert [len(row) for row in together] == [2, 3, 4, 2, 3]
    for prompt, own, row in zip(PROMPTS, sets, together, strict=True):
        [alone] = held.likelihoods([prompt], Labels((own,)))
        assert [each.log for each in alone] == pytest.approx([each.log for each in row], abs=1e-3)


def test_the_completion_is_the_likeliest_label_with_its_own_tokens(tiny_model: Path) -> None:
    held = engine(tiny_model)
    sets = tuple((Label("A", "no"), Label("B", chr(97 + n)), Label("C", "x")) for n in range(len(PROMPTS)))
    for given in (Labels(sets), Labels(sets, per="token")):
        found = held.generate(PROMPTS, Sampling(8, labels=given))
        for completion, row in zip(found, held.likelihoods(PROMPTS, given), strict=True):
            best = max(row, key=lambda each: each.log / (each.n_tokens if given.per == "token" else 1))
            assert completion.text == "ABC"[row.index(best)]
            assert (completion.n_tokens, completion.finish_reason) == (best.n_tokens, "stop")


def test_other_weights_have_other_likelihoods(tiny_model: Path) -> None:
    held = engine(tiny_model)
    first = held.likelihoods(PROMPTS, labels(*TEXTS))
    held.load(None)
    assert held.likelihoods(PROMPTS, labels(*TEXTS)) != first
    held.load(CANDIDATE)
    assert held.likelihoods(PROMPTS, labels(*TEXTS)) == first


def test_a_tie_goes_to_the_first_and_shares_add_up() -> None:
    of = labels("aa", "b", "cc", n=1)
    [row] = of.of_prompts
    found = [Likelihood(-3.0, 2), Likelihood(-2.0, 1), Likelihood(-2.0, 2)]
    assert likeliest(row, found, of) == 1
    assert likeliest(row, found, labels("aa", "b", "cc", n=1, per="token")) == 2
    assert likeliest(row, found, labels("aa", "b", "cc", n=1, per="byte")) == 2
    assert sum(shares(row, found, of)) == pytest.approx(1)
    assert shares(row, [Likelihood(-2000.0, 2), Likelihood(-2000.0, 1), Likelihood(-9000.0, 1)], of) == [0.5, 0.5, 0]


class Joining:
    """A tokenizer that joins a colon with what follows it, as byte-pair encoding may."""

    chat_template = "x"

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [self._ids(text) for text in texts]}

    def _ids(self, text: str) -> list[int]:
        ids, at = [], 0
        while at < len(text):
            step = 2 if text[at] == ":" and text[at + 1 : at + 2] == "p" else 1
            ids.append(sum(map(ord, text[at : at + step])) + 1000 * (step - 1))
            at += step
        return ids


def test_where_one_label_is_joined_with_the_prompt_all_begin_there() -> None:
    [row] = label_rows(PromptReader(Joining()), ["ab:"], labels("pq", "no", n=1))
    assert row.context == [ord("a"), ord("b")]
    assert row.labels == ([1000 + ord(":") + ord("p"), ord("q")], [ord(":"), ord("n"), ord("o")])


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("good", "good enough"), "rename one of the two, or set problem.likelihood_per to token"),
        (("good", "bad", "good"), "have the same tokens"),
        (("good", ""), "has no tokens"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(tiny_model: Path, texts: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match="problem\\.labels") as error:
        engine(tiny_model).likelihoods(PROMPTS[:1], labels(*texts, n=1))
    assert said in str(error.value)


def test_a_label_that_begins_another_is_compared_per_token(tiny_model: Path) -> None:
    [row] = engine(tiny_model).likelihoods(PROMPTS[:1], labels("good", "good enough", n=1, per="token"))
    assert [each.n_tokens for each in row] == [4, 11]


def test_draws_labels_beyond_the_limit_and_prompts_beyond_the_model_are_refused(tiny_model: Path) -> None:
    held = engine(tiny_model)
    with pytest.raises(InputError, match="temperature"):
        held.generate(PROMPTS, Sampling(8, temperature=0.5, labels=labels(*TEXTS)))
    with pytest.raises(InputError, match=r"decoding.max_tokens: found 7; .* has 8 tokens"):
        held.generate(PROMPTS, Sampling(7, labels=labels(*TEXTS)))
    with pytest.raises(InputError, match="this model holds at most 512"):
        held.likelihoods(["a" * 508], labels("positive", n=1))
    assert held.likelihoods([], Labels(())) == []


def test_batches_are_bounded_and_hold_every_label_once() -> None:
    rows = [LabelRow([1] * (n % 4 + 1), ([2], [2, 3], [3, 4, 5], [4] * 40)) for n in range(9)]
    for batch_size in (1, 2, 5, 64):
        batches = list(label_batches(rows, batch_size))
        read = [(batch.rows[place], number) for batch in batches for place, number in batch.longer]
        assert sorted(read) == [(row, number) for row in range(9) for number in (1, 2, 3)]
        assert {row for batch in batches for row in batch.rows} == set(range(9))
        assert all(len(batch.rows) <= batch_size and len(batch.longer) <= batch_size for batch in batches)


def test_the_gap_stands_between_prompt_and_label(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path, chat=False)
    reader = PromptReader(load_tokenizer(folder))
    [row] = label_rows(reader, ["Question: a\nAnswer:"], labels("yes", "no", n=1, gap=" "))
    [bare] = label_rows(reader, ["Question: a\nAnswer:"], labels(" yes", " no", n=1))
    assert row == bare
    assert [len(tokens) for tokens in row.labels] == [4, 3]
