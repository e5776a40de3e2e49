"""Every problem with data goes through a whole run on its own sample: search, votes, and a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, open_scores
from thickets.storage.home import Home
from thickets.tasks.problems import find_kind, own_kinds
from thickets.tasks.problems.shown import sample_data, sample_images

# gqa needs a model that sees, see test_images_run.py.
WITH_DATA = [kind.name for kind in own_kinds() if kind.reads_data and kind.name not in ("file", "gqa")]


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_DATA)
def test_a_run_on_the_sample(name: str, config: Callable[..., RunConfig], tmp_path: Path, prefect_server: None) -> None:
    kind, path = find_kind(name), tmp_path / f"{name}.jsonl"
    assert kind is not None
    path.write_text(sample_data(kind), encoding="utf-8")
    for place, content in sample_images(kind).items():
        (path.parent / place).parent.mkdir(exist_ok=True)
        (path.parent / place).write_bytes(content)
    fields = {field: value for field, value in kind.sample_config.items() if field != "test_path"}
    summary = randopt(
        config(
            problem={"name": name, **fields, "path": str(path)},
            data={"selection": 3, "validation": 2, "test": 3},
            population={"size": 3, "sigmas": [0.05]},
            decoding={"max_tokens": 4},
            scoring={"examples_per_block": 3, "candidates_per_shard": 3},
            selection={"k_values": [1, 2]},
        )
    )
    assert summary.problem == name
    assert summary.evaluation.ensemble.n == 3
    assert {point.k for point in summary.validation_curve} == {1, 2}
    assert (summary.folder / "report.html").is_file()
    home = Home(config().storage.home)
    with open_scores(home, find_run(home, summary.run_id)) as scores:
        said = scores.query("SELECT count(*) AS n FROM scores WHERE split = 'selection'")["n"].item()
    assert said == 4 * 3  # base and candidates
