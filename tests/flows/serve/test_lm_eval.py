"""lm-eval runs a task of its own through `thickets serve`, and its score is that of our own verdicts.

`LM_EVAL_PYTHON` names the Python of an environment that has ``lm_eval[api]``; without it this is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.flows.serve.conftest import serving
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.serving import open_ensemble

PYTHON = os.environ.get("LM_EVAL_PYTHON", "")
N = 30
TASK = """
task: largest
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], max_gen_toks: 8}
filter_list:
  - name: last-number
    filter:
      - {function: regex, regex_pattern: "([0-9]+)", group_select: -1}
      - {function: take_first}
metric_list: [{metric: exact_match}]
"""


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="LM_EVAL_PYTHON names no environment with lm-eval")
def test_lm_eval_finds_as_many_right_as_we_do(home: Home, run: RunSummary, tmp_path: Path) -> None:
    answerer = open_ensemble(EnsembleManifest.load(home.run(run.run_id).manifest), device="cpu")
    examples = answerer.problem.examples(N, 12345)
    answers = answerer.answer(examples).rows
    right = [answerer.judge.of_answer(row.answer, each).correct for row, each in zip(answers, examples, strict=True)]
    answerer.close()
    assert 0 < sum(right) < N
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"question": e.question, "answer": e.answer}) + "\n" for e in examples))
    (tmp_path / "largest.yaml").write_text(TASK.replace("FILE", str(rows)))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    environment.pop("PYTHONPATH", None)
    with serving(home, "latest", "--wrap") as server:
        model = f"model=latest,base_url={server.url}/chat/completions,num_concurrent=16"
        command = [PYTHON, "-m", "lm_eval", "--model", "local-chat-completions", "--model_args", model]
        command += ["--include_path", str(tmp_path), "--tasks", "largest", "--apply_chat_template"]
        command += ["--output_path", str(tmp_path / "found")]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr
    [found] = (tmp_path / "found").rglob("results_*.json")
    score = json.loads(found.read_text())["results"]["largest"]["exact_match,last-number"]
    assert score == pytest.approx(sum(right) / N)
