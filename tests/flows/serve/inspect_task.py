"""A local task for inspect_ai, which asks a served model; run by `test_inspect` in a process of its own.

    python tests/flows/serve/inspect_task.py SAMPLES.json MODEL FOLDER      (LOCAL_BASE_URL and LOCAL_API_KEY are set)

Prints, as JSON, the ids of the samples that inspect_ai finds right, and its accuracy. Imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import pattern
from inspect_ai.solver import generate

# The last run of digits, as the problem's own pattern \d+ reads it.
LAST_NUMBER = r"(?s).*(?<!\d)(\d+)"


def main() -> None:
    samples_file, model, folder = sys.argv[1:]
    rows = json.loads(Path(samples_file).read_text())
    task = Task(
        dataset=MemoryDataset([Sample(id=row["id"], input=row["question"], target=row["answer"]) for row in rows]),
        solver=generate(),
        scorer=pattern(LAST_NUMBER),
        config=GenerateConfig(temperature=0, max_connections=32),
    )
    [log] = eval(task, model=f"openai-api/local/{model}", log_dir=folder, display="none")
    assert log.status == "success", log.error
    [found] = log.results.scores
    right = [sample.id for sample in log.samples if next(iter(sample.scores.values())).value == "C"]
    print(json.dumps({"right": sorted(right), "accuracy": found.metrics["accuracy"].value}))


if __name__ == "__main__":
    main()
