"""Whether drawn tokens are distributed as a model's softmax says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from transformers import AutoModelForCausalLM, AutoTokenizer

LEAST_P = 1e-3  # draws are fixed by their seeds, so a test that passes once passes always


def goodness(counts: dict, probabilities: dict) -> float:
    """p-value of a chi-square test; what is expected less than ten times is pooled."""
    n = sum(counts.values())
    assert all(probabilities.get(key, 0.0) > 0 for key in counts), "something that cannot be was drawn"
    rare = {key for key, share in probabilities.items() if n * share < 10}
    seen = [counts.get(key, 0) for key in probabilities if key not in rare]
    expected = [n * share for key, share in probabilities.items() if key not in rare]
    if (rest := n * sum(probabilities[key] for key in rare)) > 1:
        seen.append(sum(counts.get(key, 0) for key in rare))
        expected.append(rest)
    return float(stats.chisquare(seen, np.array(expected) * (sum(seen) / sum(expected))).pvalue)


def first_token_shares(folder: Path, prompt: str, temperature: float) -> Counter[str]:
    """Probability of every text that the first token after a prompt may decode to."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        shares = torch.softmax(model(input_ids=inputs).logits[0, -1].double() / temperature, dim=-1)
    texts: Counter[str] = Counter()
    for token, share in enumerate(shares.tolist()):
        texts[tokenizer.decode([token], skip_special_tokens=True)] += share
    return texts
