"""Whether training broke a model: its perplexity of plain text that has nothing to do with the task."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from thickets.tasks.engines.tokenizer import beginning, load_tokenizer
from thickets.tasks.task import task

_WINDOW = 256


def perplexity(folder: Path, text: str, *, device: str = "cpu", trust_remote_code: bool = False) -> float:
    """Compute exp(mean negative log-likelihood per token) over windows of 256 tokens that do not overlap.

    Every window begins as the tokenizer begins a text (a BOS token, where it has one), and that is not counted.
    Comparable between models of one tokenizer only. The model runs in its own type; logarithms are taken in float32.

    Args:
        folder: The checkpoint.
        text: The text to measure on.
        device: Device that the model runs on.
        trust_remote_code: Run Python code found in the folder.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", trust_remote_code=trust_remote_code, use_safetensors=True, local_files_only=True
    )
    model.eval().to(device)
    begin = torch.tensor(beginning(tokenizer).ids, dtype=torch.long, device=device)
    tokens = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"], device=device)
    window = min(_WINDOW, getattr(model.config, "max_position_embeddings", _WINDOW)) - len(begin)
    first = max(len(begin), 1)  # without a beginning nothing is there to tell the first token from
    total, n = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(tokens) - 1, window):
            read = torch.cat([begin, tokens[start : start + window]])[None]
            if read.shape[1] <= first:
                break
            log_p = torch.log_softmax(model(input_ids=read, use_cache=False).logits[0, first - 1 : -1].float(), dim=-1)
            total -= float(log_p.gather(1, read[0, first:, None]).sum())
            n += read.shape[1] - first
    return math.exp(total / n)


@task("measure-perplexity")
def measure_perplexity(measure: Callable[[], float]) -> float:
    """Measure as a Prefect task, here or elsewhere."""
    return measure()
