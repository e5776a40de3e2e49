"""Memory that runs out: before the first score with smaller batches once more, afterwards an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest
import torch

from tests.flows.watched_engine import engine_that_tells
from thickets.flows.config.run import RunConfig
from thickets.flows.search.search import search
from thickets.storage.errors import OutOfMemoryError
from thickets.tasks.engines import Engine, EngineSpec, build_engine

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
SCORING = {"examples_per_block": 5, "candidates_per_shard": 2, "retries": 0}


def test_memory_that_runs_out_at_the_start_halves_the_batch(config: MakeConfig, caplog) -> None:
    """Real engines; of those with more than two prompts at a time, the memory is taken away."""
    sizes: list[int] = []

    def build(spec: EngineSpec) -> Engine:
        engine = build_engine(spec)
        sizes.append(spec.batch_size)
        if spec.batch_size > 2:
            engine.generate_tokens = run_out  # type: ignore[attr-defined]
        return engine

    def run_out(*arguments: object) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    asked = config(scoring=SCORING)
    found = search(asked, build=build)
    assert sorted(set(sizes)) == [2, 5]
    assert "starts over with engine.batch_size 2" in caplog.text
    small = asked.model_copy(update={"engine": asked.engine.model_copy(update={"batch_size": 2})})
    assert search(small).run_id == found.run_id, "it is the run of that batch size"


def test_memory_that_runs_out_later_is_an_error(config: MakeConfig) -> None:
    def run_out(unit: int) -> None:
        if unit > 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    asked = config(scoring=SCORING)
    with pytest.raises(OutOfMemoryError, match=r"lower engine\.batch_size"):
        search(asked, build=engine_that_tells(run_out))
    assert list((asked.storage.home / "shards").rglob("*.parquet")), "what is finished stays"
