"""Runs whose shards go to a bucket or to a folder outside of the home: found again, resumed from, moved aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.s3_server import s3_bucket
from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, open_scores
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.shards.file import list_shards
from thickets.tasks.scoring.worker import ScoringWorker

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_bucket() as url:
        yield url


def n_completions(home: Path) -> int:
    with open_scores(Home(home), find_run(Home(home), "latest")) as reader:
        return int(reader.query("select count(*) from completions").item())


def names_in(bucket: Any, folder: str) -> list[str]:
    """Files below a folder, by their paths from there."""
    inside = folder.partition("://")[2]
    return sorted(path.removeprefix(f"{inside}/") for path in bucket.find(folder))


@pytest.mark.slow
def test_shards_in_a_bucket_are_all_that_is_needed_to_go_on(
    s3: str, config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = randopt(config())
    home = tmp_path / "there"
    there = config(storage={"home": str(home), "shards": s3})
    first = randopt(there)
    assert first.fingerprint == plain.fingerprint
    assert first.evaluation == plain.evaluation
    folder = f"{s3}/{first.fingerprint[:16]}"
    bucket = fsspec.filesystem("s3")
    names = names_in(bucket, folder)
    local = home / "shards" / first.fingerprint[:16]
    assert names == sorted(str(path.relative_to(local)) for path in local.rglob("*.parquet"))
    assert len(names) == 2 * len(list_shards(local)), "each shard has its verdicts"
    assert n_completions(home) > 0

    elsewhere = config(storage={"home": str(tmp_path / "elsewhere"), "shards": s3})
    with monkeypatch.context() as patched:
        patched.setattr(ScoringWorker, "score", lambda self, shard: pytest.fail(f"{shard.id} was scored again"))
        assert randopt(elsewhere).evaluation == plain.evaluation

    assert randopt(elsewhere, fresh=True).evaluation == plain.evaluation
    assert [name.partition("/")[2] for name in names_in(bucket, f"{s3}/replaced")] == names


@pytest.mark.slow
def test_shards_in_a_folder_of_their_own_are_read_where_they_are(config: MakeConfig, tmp_path: Path) -> None:
    home, shared = tmp_path / "home", tmp_path / "shared"
    summary = randopt(config(storage={"home": str(home), "shards": str(shared)}))
    assert list_shards(shared / summary.fingerprint[:16])
    assert not (home / "shards").exists()
    assert n_completions(home) > 0
    randopt(config(storage={"home": str(home), "shards": str(shared)}), fresh=True)
    here = list((shared / summary.fingerprint[:16]).rglob("*.parquet"))
    assert len(list((shared / "replaced").rglob("*.parquet"))) == len(here)


def test_a_place_that_cannot_be_written_to_stops_the_run_before_it_starts(config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^storage\.shards: cannot write to "):
        randopt(config(storage={"home": str(tmp_path / "home"), "shards": str(tmp_path / "file")}))


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"address": "auto"}, "engine.address is 'auto', but engine.executor is local; set executor: ray or remove"),
        ({"cpus": 2, "device": "cuda:1"}, "engine.cpus is 2, but engine.device is cuda:1; cpus is for engines on the"),
        ({"executor": "ray", "address": "ray://head:10001"}, "give host:port as `ray start --head` prints it"),
        ({"executor": "ray", "device": "cuda:1"}, "Ray gives every engine a GPU of its own; use cuda or auto"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_told_with_the_fix(
    engine: dict[str, object], message: str, config: MakeConfig
) -> None:
    with pytest.raises(InputError) as raised:
        config(engine=engine)
    assert message in str(raised.value)
    parse_config({"problem": "largest_number", "engine": {"executor": "ray", "address": "auto", "replicas": 2}})
    parse_config({"problem": "largest_number", "engine": {"replicas": 2, "cpus": 2}})
    parse_config({"problem": "largest_number", "engine": {"replicas": 1, "device": "cuda"}})
