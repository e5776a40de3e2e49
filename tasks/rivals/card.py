"""What a rival's checkpoint says of itself."""

from __future__ import annotations


def rival_card(base: str, run_id: str, problem: str, how: str, questions: str) -> str:
    """Return the text of the README.md: what the checkpoint is and where it comes from.

    Args:
        base: The model it was made from, as the user named it.
        run_id: The search run whose rival it is.
        problem: Name of the problem.
        how: What made it, after "made by".
        questions: What it has learned from, after "on".
    """
    return f"""# A rival of {run_id}

`{base}`, made by {how} on {questions}, with the verifier of the problem `{problem}` as reward. It has the base's
tokenizer and chat template, and loads wherever the base does. How it compares with the base, the experts and the
ensemble is in `summary.json` of the rival's folder. The base's licence applies.
"""
