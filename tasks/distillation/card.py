"""README.md of a trained checkpoint."""

from __future__ import annotations


def student_card(base: str, run_id: str, problem: str, taught_by: str) -> str:
    """Say what the checkpoint is and where it comes from.

    Args:
        base: The model it was trained from, as the user named it.
        run_id: The search whose experts it learned from.
        problem: What was asked.
        taught_by: What it was trained on, for people.
    """
    return f"""# A student of {run_id}

`{base}`, trained on {taught_by} to the problem `{problem}` (TRL, loss on the responses alone). It has the base's
type, tokenizer and chat template, and loads wherever the base does. How it compares with the base, the experts and the
ensemble is in `summary.json` of the distillation's folder. The base model's licence applies.
"""
