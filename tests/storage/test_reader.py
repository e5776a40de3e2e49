"""A reader can look at everything, change nothing, and reach nothing else."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import duckdb
import polars as pl
import pytest

from tests.storage.storage_samples import (
    SPLITS,
    candidate_frame,
    example_frame,
    record_judgement,
    verdicts_in,
    write_shards,
)
from thickets.storage.errors import InputError, RunError
from thickets.storage.scores.database import ScoreStore
from thickets.storage.scores.late_tables import LateTable
from thickets.storage.scores.queries import ScoreQueries
from thickets.storage.scores.reader import read_only

HOLD = """
import sys
from pathlib import Path
from tests.storage.storage_samples import candidate_frame, example_frame, verdicts_in
from thickets.storage.scores.database import ScoreStore
from thickets.storage.shards.file import list_shards
run, shards = map(Path, sys.argv[1:])
with ScoreStore.open(run / "scores.duckdb", run.name, shards) as store:
    store.register(candidate_frame(5), example_frame())
    store.ingest(list_shards(verdicts_in(shards))[:2])
    print("held", flush=True)
    sys.stdin.read()
    store.ingest(list_shards(verdicts_in(shards)))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    with ScoreStore.open(root / "runs" / "r1" / "scores.duckdb", "r1", root / "shards") as store:
        store.register(candidate_frame(5), example_frame())
        store.ingest(write_shards(root / "shards", 5))
    record_judgement(root / "runs" / "r1")
    return root


@pytest.fixture
def run(made, tmp_path):
    """The folder of a run with all its scores: a copy."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs" / "r1"


@pytest.fixture(params=["file", "snapshot"])
def reader(request, run, tmp_path):
    """The same run, from its database and from its shards while a writer holds the database."""
    if request.param == "file":
        with read_only(run, tmp_path / "shards") as reader:
            assert not reader.is_snapshot
            yield reader
    else:
        with ScoreStore.open(run / "scores.duckdb", "r1"), read_only(run, tmp_path / "shards") as reader:
            assert reader.is_snapshot
            yield reader


def test_reader_sees_scores_views_and_completions(reader):
    assert reader.leaderboard().height == 5
    assert reader.query("FROM completions").height == 6 * SPLITS["selection"]
    assert reader.query("SELECT count(*) AS n FROM scores WHERE correct = ?", [True])["n"][0] > 0
    assert reader.query("PIVOT accuracy ON split USING sum(n_correct) GROUP BY sigma").height == 2
    assert reader.query("DESCRIBE leaderboard").height == 11
    assert reader.query("WITH a AS (SELECT 1 AS one) FROM a")["one"][0] == 1


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO candidates VALUES ('r1', 'x', 1, 1, 1)",
        "DELETE FROM scores",
        "DROP VIEW leaderboard",
        "CREATE TABLE t (a INTEGER)",
        "CREATE TEMP TABLE t AS SELECT 1",
        # DuckDB 2 parses these as SELECT
        "WITH gone AS (DELETE FROM scores RETURNING *) SELECT count(*) FROM gone",
        "WITH more AS (INSERT INTO scores SELECT * FROM scores RETURNING *) SELECT count(*) FROM more",
        "WITH out AS (COPY scores TO '{shards}/out.parquet') SELECT 1",
        "EXPLAIN ANALYZE COPY scores TO '{shards}/out.parquet'",
        "COPY scores TO '{shards}/out.csv'",
        "EXPORT DATABASE '{shards}/out'",
        "ATTACH '{shards}/out.duckdb'",
        "SET enable_external_access = true",
        "PRAGMA enable_profiling",
        "CALL force_checkpoint()",
        "INSTALL httpfs",
        "COMMIT",
        "SELECT 1; DELETE FROM scores",
    ],
)
def test_sql_cannot_write(reader, tmp_path, sql):
    before = sorted(tmp_path.rglob("*"))
    rows = reader.query("SELECT * FROM scores ORDER BY ALL")
    with pytest.raises(InputError) as caught:
        reader.query(sql.format(shards=tmp_path / "shards"))
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert reader.query("SELECT * FROM scores ORDER BY ALL").equals(rows)


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_text('/etc/passwd')",
        "FROM read_csv('/etc/passwd')",
        "FROM '/etc/passwd'",
        "FROM glob('/etc/*')",
        "FROM read_blob('{shards}/*')",
        "FROM read_text('{outside}')",
        "FROM parquet_metadata('{shards}/selection-0-0.parquet')",
        "FROM read_csv('http://127.0.0.1:9/x.csv')",
        "FROM duckdb_secrets()",
    ],
)
def test_sql_cannot_read_other_files(reader, tmp_path, sql):
    outside = tmp_path / "secret.txt"
    outside.write_text("secret")
    with pytest.raises(InputError):
        reader.query(sql.format(shards=tmp_path / "shards", outside=outside))


def late_tables(made: list[str]) -> dict[str, LateTable]:
    """Four tables: one that is made of the scores, one that cannot be made, one that is absent, one nobody names."""
    schema = pl.Schema({"n": pl.Int64})

    def count(scores: ScoreQueries) -> pl.DataFrame:
        made.append("counted")
        return scores.query("SELECT count(*)::INTEGER AS n FROM scores AS counted")

    def refuse(scores: ScoreQueries) -> pl.DataFrame:
        made.append("refused")
        raise InputError("refused: its file is broken")

    return {
        "counted": LateTable(schema, count),
        "refused": LateTable(schema, refuse),
        "absent": LateTable(schema, count, "absent: it comes later"),
        "unnamed": LateTable(schema, lambda scores: made.append("unnamed") or pl.DataFrame({"n": []})),  # type: ignore[func-returns-value]
    }


def test_late_tables_are_made_when_a_query_names_them_once_and_are_as_closed_as_the_others(run, tmp_path):
    made: list[str] = []
    before = sorted(tmp_path.rglob("*"))
    with read_only(run, tmp_path / "shards", late_tables(made)) as reader:
        assert reader.query("DESCRIBE scores").height == 11
        assert {"counted", "refused", "unnamed"} <= {*reader.query("SHOW TABLES")["name"]}
        assert made == []
        assert reader.query("FROM Counted")["n"].item() == reader.query("FROM scores").height > 0
        with reader.stream("FROM counted") as rows:
            assert sum(batch.num_rows for batch in rows) == 1
        assert made == ["counted"]
        assert reader.query("SELECT 1 AS refused")["refused"].item() == 1
        for _ in range(2):
            with pytest.raises(InputError, match=r"^SQL: refused: its file is broken$"):
                reader.query("FROM refused")
        with pytest.raises(InputError, match=r"^SQL: absent: it comes later$"):
            reader.query("FROM absent")
        assert made == ["counted", "refused"]
        for sql in (
            "DELETE FROM counted",
            "DROP VIEW counted",
            "CREATE TABLE x AS FROM counted",
            "COPY counted TO 'x.csv'",
        ):
            with pytest.raises(InputError):
                reader.query(sql)
        for sql in ("FROM read_text('/etc/passwd')", "FROM counted, read_csv('/etc/passwd')"):
            with pytest.raises(InputError):
                reader.query(sql)
        assert reader.query("FROM query_table('unnamed')").height == 0
        assert made[-1] == "unnamed"
    assert sorted(tmp_path.rglob("*")) == before


def test_python_variables_of_the_caller_are_no_tables(reader):
    private_frame = pl.DataFrame({"secret": [1]})
    with pytest.raises(InputError, match="private_frame does not exist"):
        reader.query("SELECT * FROM private_frame")
    assert private_frame.height == 1


@pytest.mark.parametrize("sql", ["SELECT 1 AS a, 2 AS a", "SELECT INTERVAL 1 DAY AS i", "SELECT 'x'::INTEGER"])
def test_results_that_are_no_table_are_input_errors(reader, sql):
    with pytest.raises(InputError):
        reader.query(sql)


def test_run_held_by_another_process_is_read_from_its_shards(tmp_path, shards, python):
    paths = shards(5)
    run = tmp_path / "runs" / "r1"
    record_judgement(run)
    process = python(HOLD, run, tmp_path / "shards")
    assert process.stdout.readline() == "held\n"
    with read_only(run, tmp_path / "shards") as live:
        assert live.is_snapshot
        board, tables = live.leaderboard(), live.query("SELECT * FROM scores ORDER BY ALL")
    with pytest.raises(RunError, match="in use by another process"):
        ScoreStore.open(run / "scores.duckdb", "r1", wait_s=0.3)
    with pytest.raises(InputError, match="held by the process"):
        read_only(run, None)
    process.communicate()  # takes in the rest and closes
    with read_only(run, tmp_path / "shards") as after:
        assert not after.is_snapshot
        assert after.leaderboard().equals(board)
        assert after.query("SELECT * FROM scores ORDER BY ALL").equals(tables)
    assert len(paths) == 6


def test_snapshot_leaves_a_broken_shard_where_it_is(tmp_path, run, caplog):
    broken = verdicts_in(tmp_path / "shards") / "selection-0-1.parquet"
    broken.write_bytes(b"PAR1")
    (run / "scores.duckdb").unlink()
    with read_only(run, tmp_path / "shards") as reader:
        assert reader.query("SELECT count(*) AS n FROM scores")["n"][0] == 6 * SPLITS["selection"] - 6
    assert broken.exists()
    assert "left out" in caplog.text


def test_folder_without_scores_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="holds no scores"):
        read_only(tmp_path, tmp_path)
    (tmp_path / "scores.duckdb").write_text("no database at all\n" * 500)
    with pytest.raises(InputError, match="cannot read"):
        read_only(tmp_path, tmp_path)


def test_outcomes_are_in_the_order_of_the_examples_and_of_whole_candidates_only(reader):
    outcomes = reader.candidate_outcomes("selection")
    assert outcomes["candidate_id"].to_list() == sorted(candidate_frame(5)["candidate_id"].to_list()[1:])  # by seed
    order = reader.questions("selection")["example_id"].to_list()
    assert order == [f"selection-{99 - i}" for i in range(SPLITS["selection"])]
    for name, correct in outcomes.select("candidate_id", "correct").iter_rows():
        answers = reader.answers("selection", [name])
        assert answers["example_id"].to_list() == order
        assert answers["correct"].to_list() == correct
    assert reader.candidate_outcomes("validation").is_empty()  # nobody has answered it


def test_a_copied_folder_of_another_name_holds_the_same_run(run, tmp_path):
    shutil.copytree(run, run.with_name("copy"))
    with read_only(run.with_name("copy"), tmp_path / "shards") as reader:
        assert reader.run_id == "r1"
        assert reader.questions("selection").height == SPLITS["selection"]


def test_a_database_without_tables_is_an_input_error(tmp_path):
    duckdb.connect(str(tmp_path / "scores.duckdb")).close()
    with pytest.raises(InputError, match=r"scores\.duckdb holds no scores: "):
        read_only(tmp_path, None)


def test_completions_that_are_missing_are_told_once(run, tmp_path, caplog):
    next((tmp_path / "shards").glob("*.parquet")).unlink()
    with read_only(run, tmp_path / "shards") as reader:
        reader.query("SELECT count(*) FROM scores")
        assert caplog.text == ""
        for _ in range(2):
            reader.query("SELECT count(*) FROM completions")
    [record] = caplog.records
    assert record.getMessage().startswith("1 of the ")


def test_several_readers_of_one_process_hold_the_same_file_and_none_of_them_is_open_wider(run, tmp_path):
    with read_only(run, tmp_path / "shards") as first:
        first.query("SELECT 1 FROM scores LIMIT 1")
        with ThreadPoolExecutor(4) as pool:
            counts = list(pool.map(lambda _: _read_beside(run, tmp_path / "shards"), range(12)))
        assert first.query("SELECT 1 FROM completions LIMIT 1").height == 1
    assert set(counts) == {counts[0]}


def _read_beside(run, shards):
    with read_only(run, shards) as reader:
        with pytest.raises(InputError, match=r"(?i)permission"):
            reader.query("SELECT * FROM read_csv('/etc/passwd')")
        return reader.query("SELECT count(*) AS n FROM scores")["n"].item(), reader.query("FROM completions").height
