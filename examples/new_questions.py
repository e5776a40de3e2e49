"""Write questions of a generated problem to a file, for `thickets evaluate`.

    python -m examples.new_questions largest_number new.jsonl --count 64 --seed 1

A seed other than the run's own (`data.seed`) gives other questions than its splits have.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pydantic import ValidationError

from thickets import InputError
from thickets.tasks.problems import ProblemConfig, load_problem


def main() -> None:
    """Write one JSON object per question."""
    parser = argparse.ArgumentParser(description="Write questions of a generated problem to a .jsonl file.")
    parser.add_argument("problem", help="a generated problem's name; see `thickets problems`")
    parser.add_argument("file", type=Path, help="where to")
    parser.add_argument("--count", type=int, default=64, help="how many questions (64)")
    parser.add_argument("--seed", type=int, default=1, help="of the questions (1)")
    given = parser.parse_args()
    try:
        examples = load_problem(ProblemConfig(name=given.problem)).examples(given.count, given.seed)
    except ValidationError as error:
        parser.error(error.errors()[0]["msg"].removeprefix("Value error, "))
    except InputError as error:
        parser.error(str(error))
    rows = [{"id": each.id, "question": each.question, "answer": each.answer} for each in examples]
    given.file.parent.mkdir(parents=True, exist_ok=True)
    given.file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
