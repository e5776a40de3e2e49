"""Every score is taken in exactly once, whatever is killed, replayed, shuffled or extended."""

from __future__ import annotations

import random
import threading

import duckdb
import polars as pl
import pytest

from tests.patience import no_hang
from tests.storage.storage_samples import (
    BLOCK,
    SPLITS,
    candidate_frame,
    example_frame,
    score_rows,
    verdicts_in,
    write_rows,
)
from thickets.storage.errors import InputError, RunError, TransientError
from thickets.storage.scores.database import PATIENCE_S, ScoreStore
from thickets.storage.shards.file import list_shards

KILLED_IN_INGEST = """
import os, signal, sys
from pathlib import Path
from tests.storage.storage_samples import candidate_frame, example_frame
from thickets.storage.scores.database import ScoreStore
from thickets.storage.shards.file import list_shards

class Killer:
    def __init__(self, connection):
        self.connection = connection
    def __getattr__(self, name):
        return getattr(self.connection, name)
    def execute(self, sql, *args):
        if sys.argv[3] in sql:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.connection.execute(sql, *args)

store = ScoreStore.open(Path(sys.argv[1]), "r")
store.register(candidate_frame(10), example_frame())
paths = list_shards(Path(sys.argv[2]))
store.ingest(paths[:5])
store._connection = Killer(store._connection)
store.ingest(paths[5:])
"""


@pytest.fixture
def store(tmp_path):
    with ScoreStore.open(tmp_path / "run" / "scores.duckdb", "r", tmp_path / "shards") as store:
        yield store


def everything(store):
    return store.query("SELECT * FROM scores ORDER BY ALL")


def test_ingest_keeps_every_row_as_it_was_written(store, shards):
    paths = shards(4, splits=("selection", "validation"))
    store.register(candidate_frame(4), example_frame())
    assert store.ingest(paths) == 5 * sum(SPLITS.values())
    written = pl.concat([pl.read_parquet(path) for path in paths])
    kept = everything(store).select(written.columns).sort(written.columns)
    assert kept.equals(written.sort(written.columns))


def test_replay_adds_nothing(store, shards):
    paths = shards(4)
    store.register(candidate_frame(4), example_frame())
    store.ingest(paths)
    before = everything(store)
    assert store.ingest(paths) == 0
    store.register(candidate_frame(4), example_frame())
    store._connection.execute("DELETE FROM shards")  # the manifest alone must not be what keeps rows single
    assert store.ingest(paths) == 0
    assert everything(store).equals(before)


@pytest.mark.parametrize("at", ["INSERT INTO scores", "INSERT OR REPLACE INTO shards", "COMMIT"])
def test_kill_in_the_middle_of_ingest_loses_only_that_call(tmp_path, shards, python, at):
    paths = shards(10)
    process = python(KILLED_IN_INGEST, tmp_path / "killed.duckdb", verdicts_in(tmp_path / "shards"), at)
    process.communicate()
    assert process.returncode == -9
    with (
        ScoreStore.open(tmp_path / "killed.duckdb", "r") as killed,
        ScoreStore.open(tmp_path / "calm" / "calm.duckdb", "r") as calm,
    ):
        first_five = list_shards(verdicts_in(tmp_path / "shards"))[:5]
        rows_of_first_five = sum(pl.read_parquet(path).height for path in first_five)
        assert everything(killed).height == rows_of_first_five
        assert killed.ingest(paths) == 11 * SPLITS["selection"] - rows_of_first_five
        calm.register(candidate_frame(10), example_frame())
        calm.ingest(paths)
        assert everything(killed).equals(everything(calm))
        assert killed.leaderboard().equals(calm.leaderboard())


def test_any_order_and_grouping_of_shards_gives_the_same_scores(tmp_path, shards):
    paths = shards(8)
    # units written again by another run with another division into shards
    again = candidate_frame(8)["candidate_id"].to_list()[2:7]
    paths.append(write_rows(tmp_path / "shards", "zz-again", score_rows(again, "selection", 1)))
    results = []
    for seed in range(4):
        order = random.Random(seed).sample(paths[:-1], len(paths) - 1)
        with ScoreStore.open(tmp_path / str(seed) / "s.duckdb", "r", tmp_path / "shards") as store:
            store.register(candidate_frame(8), example_frame())
            cut = seed * 3
            store.ingest(order[:cut])
            store.ingest([*order[cut:], paths[-1]])
            results.append(
                (everything(store), store.leaderboard(), store.done(), store.query("FROM completions").height)
            )
    assert all(a.equals(b) for result in results[1:] for a, b in zip(result[:3], results[0][:3], strict=True))
    assert {result[3] for result in results} == {9 * SPLITS["selection"]}


def test_of_a_unit_in_two_files_of_one_call_the_first_name_counts(store, tmp_path):
    store.register(candidate_frame(1), example_frame())
    frame = score_rows(["base"], "selection", 0)
    late = write_rows(tmp_path / "shards", "b", frame.with_columns(answer=pl.lit("late")))
    early = write_rows(tmp_path / "shards", "a", frame.with_columns(answer=pl.lit("early")))
    assert store.ingest([late, early]) == BLOCK
    assert set(everything(store)["answer"]) == {"early"}


def test_a_unit_that_is_not_whole_is_as_good_as_none(store, tmp_path):
    store.register(candidate_frame(1), example_frame())
    frame = score_rows(["base"], "selection", 0)
    torn = write_rows(tmp_path / "shards", "a", frame.head(BLOCK - 1))
    twice = write_rows(tmp_path / "shards", "b", pl.concat([frame, frame.head(1)]))
    assert store.ingest([torn, twice]) == 0
    assert store.done().is_empty()
    assert store.ingest([write_rows(tmp_path / "shards", "c", frame)]) == BLOCK
    assert store.done().height == 1


def test_views_that_differ_from_the_schema_are_made_again(tmp_path):
    database = tmp_path / "run" / "scores.duckdb"
    with ScoreStore.open(database, "r") as store:
        store._connection.execute("CREATE OR REPLACE VIEW totals AS SELECT 'of another schema' AS what")
        store._connection.execute("COMMENT ON TABLE scores IS 'schema of another hash'")
    with ScoreStore.open(database, "r") as store:
        assert "what" not in store.query("FROM totals").columns


def test_extending_the_population_takes_in_only_the_new_rows(store, shards):
    paths = shards(10)  # another, larger run has filled the folder already
    store.register(candidate_frame(4), example_frame())
    assert store.ingest(paths) == 5 * SPLITS["selection"]
    before = store.leaderboard().select("candidate_id", "n_correct").sort("candidate_id")
    store.register(candidate_frame(10), example_frame())
    assert store.ingest(paths) == 6 * SPLITS["selection"]
    after = store.leaderboard().select("candidate_id", "n_correct").sort("candidate_id")
    assert after.height == 10
    assert before.equals(after.join(before.select("candidate_id"), on="candidate_id").sort("candidate_id"))


def test_rows_nobody_asked_for_are_left_out(store, tmp_path):
    store.register(candidate_frame(1), example_frame())
    frame = score_rows(["base", "stranger"], "selection", 0)
    other_block = frame.head(BLOCK).with_columns(block=pl.lit(1, pl.UInt32))  # generated in other company
    other_example = frame.head(1).with_columns(example_id=pl.lit("unknown"))
    assert store.ingest([write_rows(tmp_path / "shards", "a", pl.concat([other_block, other_example]))]) == 0
    assert store.ingest([write_rows(tmp_path / "shards", "b", frame)]) == BLOCK
    assert set(everything(store)["candidate_id"]) == {"base"}


def test_done_lists_only_whole_units_in_population_order(store, tmp_path):
    candidates = candidate_frame(3)["candidate_id"].to_list()
    store.register(candidate_frame(3), example_frame())
    folder = tmp_path / "shards"
    store.ingest(
        [
            write_rows(folder, "b", score_rows(candidates[::-1], "selection", 1)),
            write_rows(folder, "a", score_rows(candidates[2:3], "selection", 0)),
            write_rows(folder, "part", score_rows(candidates[1:2], "selection", 2).head(BLOCK - 1)),
        ]
    )
    assert store.done().rows() == [
        ("base", "selection", 1),
        (candidates[1], "selection", 1),
        (candidates[2], "selection", 0),
        (candidates[2], "selection", 1),
        (candidates[3], "selection", 1),
    ]


def test_leaderboard_breaks_ties_by_seed_then_sigma_and_leaves_out_the_base(store, tmp_path):
    candidates = pl.DataFrame(
        {
            "candidate_id": ["base", "big", "small-wide", "small-narrow", "best"],
            "seed": pl.Series([None, 2**64 - 1, 7, 7, 2**63], dtype=pl.UInt64),
            "sigma": [0.0, 0.001, 0.002, 0.001, 0.001],
            "position": [-1, 0, 1, 2, 3],
        }
    )
    store.register(candidates, example_frame())
    frame = pl.concat([score_rows(candidates["candidate_id"], "selection", block) for block in range(3)])
    n_correct = {"best": 5}
    frame = frame.with_columns(
        correct=pl.int_range(pl.len()).over("candidate_id")
        < pl.col("candidate_id").replace_strict(n_correct, default=3)
    )
    store.ingest([write_rows(tmp_path / "shards", "s", frame)])
    board = store.leaderboard()
    assert board["candidate_id"].to_list() == ["best", "small-narrow", "small-wide", "big"]
    assert board["rank"].to_list() == [1, 2, 3, 4]
    assert board["n_correct"].to_list() == [5, 3, 3, 3]
    assert board.schema["seed"] == pl.UInt64
    assert store.leaderboard(limit=2)["candidate_id"].to_list() == ["best", "small-narrow"]
    view = store.query("SELECT * FROM leaderboard ORDER BY rank")
    assert view.drop("run_id").equals(board)


def test_answers_come_in_the_order_asked_for_then_of_the_examples(store, shards):
    store.register(candidate_frame(5), example_frame())
    store.ingest(shards(5))
    wanted = candidate_frame(5)["candidate_id"].to_list()[::-2]
    answers = store.answers("selection", wanted)
    assert answers.columns == ["candidate_id", "example_id", "answer", "correct", "score", "n_tokens"]
    order = example_frame().filter(split="selection").sort("position")["example_id"].to_list()
    assert answers.select("candidate_id", "example_id").rows() == [(c, e) for c in wanted for e in order]


def test_views_agree_with_a_plain_count(store, shards):
    store.register(candidate_frame(6), example_frame())
    store.ingest(shards(6, splits=("selection", "validation")))
    rows = everything(store)
    experts = rows.filter(pl.col("candidate_id") != "base", split="selection")
    base = rows.filter(candidate_id="base", split="selection")
    per_candidate = experts.group_by("candidate_id").agg(pl.col("correct").sum())["correct"]

    [sigma] = store.sigma_statistics("selection").rows(named=True)
    assert (sigma["n_candidates"], sigma["n_partial"], sigma["sigma"]) == (6, 0, 0.001)
    assert (sigma["min_n_correct"], sigma["max_n_correct"]) == (per_candidate.min(), per_candidate.max())
    assert sigma["mean_n_correct"] == pytest.approx(per_candidate.mean())
    assert sigma["base_n_correct"] == base["correct"].sum()
    assert sigma["n_at_least_base"] == (per_candidate >= base["correct"].sum()).sum()

    [total] = store.totals("selection").rows(named=True)
    assert (total["n_candidates"], total["n_answers"], total["n_examples"]) == (6, 36, 6)
    assert total["n_correct"] == experts["correct"].sum()
    assert total["n_abstain"] == experts["answer"].null_count()
    assert total["n_tokens"] == experts["n_tokens"].sum()
    assert total["base_n_correct"] == base["correct"].sum()

    for counts, answers in zip(store.answer_counts("selection").rows(named=True), (base, experts), strict=True):
        assert counts["n"] == answers.height
        assert counts["n_cut_off"] == (answers["finish_reason"] == "length").sum() > 0
        assert counts["n_abstained"] == answers["answer"].null_count() > 0

    difficulty = store.query("FROM example_difficulty WHERE split = 'selection'")
    assert difficulty["n_correct"].sum() == experts["correct"].sum()
    assert difficulty["base_correct"].sum() == base["correct"].sum()
    assert set(difficulty["n"]) == {6}

    pairs = store.query("FROM agreement WHERE split = 'selection'")
    assert pairs.height == 15
    a, b = pairs.row(0, named=True)["candidate_a"], pairs.row(0, named=True)["candidate_b"]
    both = experts.filter(candidate_id=a).join(experts.filter(candidate_id=b), on="example_id")
    both = both.drop_nulls(["answer", "answer_right"])
    assert pairs["n"][0] == both.height
    assert pairs["n_same"][0] == (both["answer"] == both["answer_right"]).sum()

    tokens = store.query("FROM throughput WHERE split = 'selection' AND candidate_id = 'base'")
    assert tokens["total_tokens"][0] == base["n_tokens"].sum()
    assert store.query("SELECT sum(n_correct) AS s FROM accuracy")["s"][0] == rows["correct"].sum()


def test_controls_are_counted_in_no_question_about_candidates(store, shards, tmp_path):
    views = ("leaderboard", "sigma_statistics", "example_difficulty", "agreement", "totals")

    def asked():
        return [store.query(f"SELECT * FROM {view} ORDER BY ALL") for view in views] + [store.leaderboard("validation")]

    store.register(candidate_frame(6), example_frame())
    store.ingest(shards(6, splits=("selection", "validation")))
    before = asked()
    controls = pl.DataFrame(
        {"candidate_id": ["base~t0.7s0#0", "base~t0.7s0#1"], "seed": None, "sigma": 0.0, "position": -2}
    )
    store.register(controls, example_frame())
    blocks = range(SPLITS["selection"] // BLOCK)
    frames = [score_rows(controls["candidate_id"], "selection", block) for block in blocks]
    assert store.ingest([write_rows(tmp_path / "shards", "zz", pl.concat(frames))]) == 2 * SPLITS["selection"]
    assert all(one.equals(other) for one, other in zip(asked(), before, strict=True))
    assert store.query("FROM accuracy WHERE position = -2").height == 2
    assert set(store.done()["candidate_id"]) > set(controls["candidate_id"])


def test_sigma_statistics_compare_whole_candidates_only(store, tmp_path):
    candidates = candidate_frame(2)["candidate_id"].to_list()
    store.register(candidate_frame(2), example_frame())
    folder = tmp_path / "shards"
    store.ingest([write_rows(folder, "a", score_rows(candidates[:1], "selection", 0))])
    assert store.sigma_statistics().height == 0
    store.ingest([write_rows(folder, f"b{i}", score_rows(candidates[1:2], "selection", i)) for i in range(3)])
    store.ingest([write_rows(folder, "c", score_rows(candidates[2:], "selection", 0))])
    [row] = store.sigma_statistics().rows(named=True)
    assert (row["n_candidates"], row["n_partial"]) == (1, 1)
    assert row["base_n_correct"] is None  # it has answered one block of three
    assert row["n_at_least_base"] is None


def test_completions_are_joined_to_the_scores(store, shards):
    store.register(candidate_frame(2), example_frame())
    assert store.query("FROM completions").height == 0
    store.ingest(shards(5))
    found = store.query("SELECT * FROM completions")
    assert found.height == 3 * SPLITS["selection"]
    assert all(text.startswith(name) for name, text in found.select("candidate_id", "completion").iter_rows())


def test_truncated_shard_is_quarantined_and_the_others_count(store, shards, caplog):
    paths = shards(8)
    lost = pl.read_parquet(paths[4]).height
    paths[4].write_bytes(paths[4].read_bytes()[:-30])
    store.register(candidate_frame(8), example_frame())
    assert store.ingest(paths) == 9 * SPLITS["selection"] - lost
    assert not paths[4].exists()
    assert paths[4].with_name(paths[4].name + ".broken").exists()
    assert "unreadable" in caplog.text
    assert store.done().height == (9 * SPLITS["selection"] - lost) // BLOCK


def flip_unnoticed(path):
    """Flip a byte of a file so that it still opens and gives other rows."""
    content, frame = path.read_bytes(), pl.read_parquet(path)
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x01]) + content[place + 1 :])
        try:
            found = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            continue
        if found.schema == frame.schema and not found.equals(frame):
            return
    pytest.fail("every flip is noticed by Polars")


def test_a_flipped_byte_in_a_file_that_opens_is_quarantined_and_the_others_count(store, shards, caplog):
    paths = shards(8)
    lost = pl.read_parquet(paths[4]).height
    flip_unnoticed(paths[4])
    store.register(candidate_frame(8), example_frame())
    assert store.ingest(paths) == 9 * SPLITS["selection"] - lost
    assert paths[4].with_name(paths[4].name + ".broken").exists()
    assert f"{paths[4].name} is unreadable or damaged" in caplog.text


def test_a_shard_known_in_part_is_read_again_only_once_more_is_registered(store, shards, caplog):
    paths = shards(8, size=6)
    store.register(candidate_frame(3), example_frame())
    assert store.ingest(paths) == 4 * SPLITS["selection"]
    wholes = [path.read_bytes() for path in paths]
    for path in paths:
        path.write_bytes(b"reading this would be noticed")
    assert store.ingest(paths) == 0
    assert all(path.exists() for path in paths)
    for path, whole in zip(paths, wholes, strict=True):
        path.write_bytes(whole)
    store.register(candidate_frame(8), example_frame())
    assert store.ingest(paths) == 5 * SPLITS["selection"]


def test_forgotten_shards_are_undone_and_can_be_taken_in_again(store, shards):
    paths = shards(8)
    store.register(candidate_frame(8), example_frame())
    store.ingest(paths)
    before, n = everything(store), pl.read_parquet(paths[4]).height
    store.forget([paths[4].stem, "never-seen"])
    assert everything(store).height == before.height - n
    assert store.done().height == (before.height - n) // BLOCK
    assert store.ingest(paths) == n
    assert everything(store).equals(before)


def test_a_database_of_an_earlier_version_goes_on(tmp_path, shards):
    database = tmp_path / "scores.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "CREATE TABLE shards (run_id VARCHAR NOT NULL, shard_id VARCHAR NOT NULL, n_rows INTEGER NOT NULL, "
            "n_taken INTEGER NOT NULL, PRIMARY KEY (run_id, shard_id))"
        )
    for _ in range(2):
        with ScoreStore.open(database, "r") as store:
            store.register(candidate_frame(8), example_frame())
            store.ingest(shards(8))
            assert everything(store).height == 9 * SPLITS["selection"]


def test_who_wants_no_wait_has_none_and_a_result_waits_for_minutes(tmp_path, python):
    database = tmp_path / "scores.duckdb"
    ScoreStore.open(database, "r").close()
    holder = python(
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1], read_only=True)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()",
        database,
    )
    assert holder.stdout.readline() == "held\n"
    with no_hang(), pytest.raises(TransientError, match="in use by another process"):
        ScoreStore.open(database, "r", wait_s=0.0)
    holder.communicate()
    assert PATIENCE_S >= 300
    ScoreStore.open(database, "r").close()


def test_missing_shard_is_an_error_and_changes_nothing(store, shards, tmp_path):
    store.register(candidate_frame(2), example_frame())
    with pytest.raises(RunError, match="gone does not exist"):
        store.ingest([*shards(2), tmp_path / "gone"])
    assert everything(store).height == 0


def test_registering_other_content_under_a_known_id_is_refused(store):
    store.register(candidate_frame(3), example_frame())
    with pytest.raises(RunError, match=r"other content for 3 of its candidates.*start a new run"):
        store.register(
            candidate_frame(3).with_columns(sigma=pl.when(pl.col("sigma") > 0).then(0.5).otherwise(0.0)),
            example_frame(),
        )
    with pytest.raises(RunError, match="other content for 10 of its examples"):
        store.register(candidate_frame(3), example_frame().with_columns(answer=pl.lit("changed")))
    with pytest.raises(RunError, match="base is given twice"):
        store.register(pl.concat([candidate_frame(1)] * 2), example_frame())
    with pytest.raises(RunError, match="no column block"):
        store.register(candidate_frame(1), example_frame().drop("block"))
    assert store.query("SELECT count(*) AS n FROM candidates")["n"][0] == 4


def test_register_keeps_frames_for_readers(store, tmp_path):
    store.register(candidate_frame(3), example_frame())
    saved = pl.read_parquet(tmp_path / "run" / "candidates.parquet")
    assert saved["candidate_id"].to_list() == candidate_frame(3)["candidate_id"].to_list()
    assert pl.read_parquet(tmp_path / "run" / "examples.parquet").height == sum(SPLITS.values())


def test_threads_may_share_the_store(store, shards):
    paths = shards(12, size=1)
    store.register(candidate_frame(12), example_frame())
    errors = []

    def work(mine):
        try:
            for path in mine:
                store.ingest([path])
                store.leaderboard()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(paths[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert everything(store).height == 13 * SPLITS["selection"]


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT 1; SELECT 2", "", "DELETE FROM scores", "SELECT * FROM nowhere"])
def test_wrong_sql_is_an_input_error_of_one_line(store, sql):
    with pytest.raises(InputError) as caught:
        store.query(sql)
    assert "\n" not in str(caught.value)
    assert store.query("SELECT 1 AS one")["one"][0] == 1  # and the store goes on


def test_file_that_is_no_database_is_a_run_error(tmp_path):
    (tmp_path / "scores.duckdb").write_text("not a database, but long enough to be read as one\n" * 300)
    with pytest.raises(RunError, match="cannot open"):
        ScoreStore.open(tmp_path / "scores.duckdb", "r")
