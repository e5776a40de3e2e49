"""The likelihood of labels by vLLM: one request for every place in a label where labels part or go on.

A request asks for the log-probabilities of given tokens in the place of the first new one. The other way, a prompt with
each label behind it and `prompt_logprobs`, makes logits of every token of every prompt and shares no prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thickets.tasks.engines.labels import LabelRow, Likelihood

_MOST_TOKENS = 128  # vLLM refuses to give the log-probabilities of more at a place


def vllm_likelihoods(llm: Any, rows: Sequence[LabelRow]) -> list[tuple[Likelihood, ...]]:
    """Return the likelihood of every label of every prompt.

    Args:
        llm: A `vllm.LLM` that holds the candidate.
        rows: The prompts with their labels.
    """
    if not rows:
        return []
    from vllm import SamplingParams

    # By prompt and beginning of a label, what may follow. A dictionary keeps the order, and so what shares what.
    places: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for number, row in enumerate(rows):
        for tokens in row.labels:
            for at, token in enumerate(tokens):
                following = places.setdefault((number, tuple(tokens[:at])), [])
                if token not in following:
                    following.append(token)
    requests = [
        (number, before, following[start : start + _MOST_TOKENS])
        for (number, before), following in places.items()
        for start in range(0, len(following), _MOST_TOKENS)
    ]
    outputs = llm.generate(
        [{"prompt_token_ids": [*rows[number].context, *before]} for number, before, _ in requests],
        [
            SamplingParams(temperature=0, max_tokens=1, detokenize=False, logprob_token_ids=following)
            for _, _, following in requests
        ],
        use_tqdm=False,
    )
    found: dict[tuple[int, tuple[int, ...]], float] = {}
    for (number, before, following), output in zip(requests, outputs, strict=True):
        [given] = output.outputs[0].logprobs
        for token in following:
            found[number, (*before, token)] = given[token].logprob
    return [
        tuple(
            Likelihood(sum(found[number, tuple(tokens[: at + 1])] for at in range(len(tokens))), len(tokens))
            for tokens in row.labels
        )
        for number, row in enumerate(rows)
    ]
