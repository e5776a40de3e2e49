"""Whether training broke a model: its perplexity of plain text that has nothing to do with the task."""

from __future__ import annotations

import math
from pathlib import Path

from thickets.tasks.task import task

_WINDOW = 256


def perplexity(folder: Path, text: str, *, device: str = "cpu", trust_remote_code: bool = False) -> float:
    """Compute exp(mean negative log-likelihood per token) over windows of 256 tokens that do not overlap.

    Comparable between models of one tokenizer only. The model runs in its own type; logarithms are taken in float32.

    Args:
        folder: The checkpoint.
        text: The text to measure on.
        device: Device that the model runs on.
        trust_remote_code: Run Python code found in the folder.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", trust_remote_code=trust_remote_code, use_safetensors=True, local_files_only=True
    )
    model.eval().to(device)
    tokens = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"], device=device)
    window = min(_WINDOW, getattr(model.config, "max_position_embeddings", _WINDOW))
    total, n = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(tokens) - 1, window):
            read = tokens[None, start : start + window]
            if read.shape[1] < 2:
                break
            log_p = torch.log_softmax(model(input_ids=read, use_cache=False).logits[0, :-1].float(), dim=-1)
            total -= float(log_p.gather(1, read[0, 1:, None]).sum())
            n += read.shape[1] - 1
    return math.exp(total / n)


@task("measure-perplexity")
def measure_perplexity(folder: Path, text: str, device: str, trust_remote_code: bool) -> float:
    """Run `perplexity` as a Prefect task."""
    return perplexity(folder, text, device=device, trust_remote_code=trust_remote_code)
