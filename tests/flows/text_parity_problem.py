"""A problem of which a tiny model of random weights has about half right, so that candidates differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from thickets.flows.results.summary import RunSummary

_VERIFIER = """
def judge(text, example):
    answer = "odd" if sum(map(ord, text)) % 2 else "even"
    return answer, answer == example.answer
"""


def write_problem(root: Path) -> dict[str, Any]:
    """Write verifier and questions into a folder that is on the import path; gives the problem's configuration."""
    (root / "text_parity.py").write_text(_VERIFIER)
    lines = [{"question": f"{n}?", "answer": "odd" if n % 3 else "even"} for n in range(80)]
    (root / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return {"name": "file", "path": str(root / "questions.jsonl"), "verifier": "text_parity:judge"}


def outcome(summary: RunSummary) -> dict[str, Any]:
    """Everything a run found, without what differs from one execution to the next."""
    return summary.model_dump(exclude={"wall_s", "engine", "tracking", "folder"})
