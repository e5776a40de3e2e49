"""The ready queries and the tables behind them, on made runs of every kind: counted, closest text, by likelihood."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from benchmarks.synthetic_run import RUN, make_run
from tests.flows.command_line import refused
from tests.flows.run_table_checks import check_tables
from thickets.flows.api.runs import open_run
from thickets.flows.results.ready_queries import ready_queries, ready_query
from thickets.flows.results.runs import open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.scores.reader import ScoreReader

K, SIZES = 5, (40, 20, 60)
KINDS = {
    "counted": {"rule": "majority"},
    "weighted": {"rule": "weighted", "seed": 1},
    "texts": {"rule": "weighted", "metric": "rougeL"},
    "likelihood": {"rule": "majority", "by_likelihood": True},
}
NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "flows/results/queries").glob("*.sql"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Home, RunSummary]]:
    """A finished run of every kind, each in a home of its own."""
    root = tmp_path_factory.mktemp("made")
    return {
        kind: (Home(root / kind), make_run(root / kind, 30, SIZES, K, **options))  # type: ignore[arg-type]
        for kind, options in KINDS.items()
    }


@pytest.fixture
def home(made: dict[str, tuple[Home, RunSummary]]) -> str:
    return str(made["counted"][0].root)


@pytest.fixture
def scores(made: dict[str, tuple[Home, RunSummary]]) -> Iterator[ScoreReader]:
    where, _ = made["counted"]
    with open_scores(where, where.run(RUN)) as reader:
        yield reader


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_say_what_the_evaluation_says(made: dict[str, tuple[Home, RunSummary]], kind: str) -> None:
    where, summary = made[kind]
    assert summary.thicket.changed
    with open_scores(where, where.run(RUN)) as reader:
        check_tables(reader, summary)


def test_agreement_is_the_share_of_questions_with_the_answer_of_the_vote(scores: ScoreReader) -> None:
    expected = scores.query(
        """
        SELECT e.rank, coalesce(count_if(s.answer = v.answer), 0) / count(*) AS agreement
        FROM experts AS e
        JOIN scores AS s USING (run_id, candidate_id)
        JOIN votes AS v USING (run_id, split, example_id)
        WHERE split = 'test' AND v.wins
        GROUP BY e.rank ORDER BY e.rank
        """
    )
    assert scores.query("SELECT rank, agreement FROM experts ORDER BY rank").equals(expected)
    assert expected["agreement"].n_unique() > 1


def test_texts_agree_with_the_vote_as_far_as_they_are_similar(made: dict[str, tuple[Home, RunSummary]]) -> None:
    where, _ = made["texts"]
    with open_scores(where, where.run(RUN)) as reader:
        found = reader.query("SELECT agreement, share_abstained FROM experts")
        alike = reader.query(
            "SELECT count_if(s.answer = v.answer) / count(*) AS n FROM experts AS e "
            "JOIN scores AS s USING (run_id, candidate_id) JOIN votes AS v USING (run_id, split, example_id) "
            "WHERE split = 'test' AND v.wins GROUP BY e.rank ORDER BY e.rank"
        )["n"]
    assert (found["agreement"] > alike).all()
    assert (found["agreement"] <= 1 - found["share_abstained"]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_query_answers_or_says_why_not(made: dict[str, tuple[Home, RunSummary]], kind: str, name: str) -> None:
    where, _ = made[kind]
    folder = where.run(RUN)
    if kind in ready_queries()[name].not_for:
        with pytest.raises(InputError, match=f"^--named: {name} says nothing about {RUN}: "):
            ready_query(name, folder)
        return
    with open_scores(where, folder) as reader:
        rows = reader.query(ready_query(name, folder).sql)
    assert rows.height > 0
    assert rows.width <= 11
    assert all(len(str(cell)) <= 60 for row in rows.iter_rows() for cell in row)


def test_there_are_twelve_each_with_a_question_of_one_line() -> None:
    found = ready_queries()
    assert [*found] == NAMES
    assert len(found) == 12
    assert all("?" in query.question and len(query.question) <= 120 for query in found.values())
    assert {kind for query in found.values() for kind in query.not_for} == {"likelihood", "texts"}


def test_fixed_broken_and_never_right_are_those_that_counting_by_hand_gives(scores: ScoreReader) -> None:
    right = dict(scores.query("SELECT example_id, correct FROM votes WHERE wins AND split = 'test'").iter_rows())
    base = dict(scores.answers("test", ["base"]).select("example_id", "correct").iter_rows())
    experts = scores.answers("test", scores.query("FROM experts")["candidate_id"].to_list())
    anybody = dict(experts.group_by("example_id").agg(pl.col("correct").any()).iter_rows())
    ids = scores.questions("test")["example_id"].to_list()
    expected = {
        "fixed": {n for n, each in enumerate(ids) if right[each] and not base[each]},
        "broken": {n for n, each in enumerate(ids) if base[each] and not right[each]},
        "never_right": {n for n, each in enumerate(ids) if not base[each] and not anybody[each]},
    }
    for name, positions in expected.items():
        assert positions
        assert {*scores.query(ready_queries()[name].sql)["position"]} == positions


def test_agreement_of_pairs_is_that_of_the_summary(
    scores: ScoreReader, made: dict[str, tuple[Home, RunSummary]]
) -> None:
    found = made["counted"][1].thicket.agreement
    rows = scores.query(ready_queries()["agreement"].sql)
    assert rows.height == K * (K - 1) // 2
    for a, b, n_same, n in rows.select("rank_a", "rank_b", "n_same", "n_questions").iter_rows():
        assert (n_same, n) == (found.n_same[a - 1][b - 1], found.n)


def test_a_reply_loops_if_its_end_is_there_four_times(scores: ScoreReader) -> None:
    texts = scores.query("SELECT completion FROM completions WHERE split = 'test'")["completion"].to_list()
    n_looping = sum(text.count(text[-20:]) >= 4 for text in texts)
    rows = scores.query(ready_queries()["looping"].sql)
    assert rows["n_looping"].sum() == n_looping > 0
    assert rows["who"].to_list() == ["base", *(f"expert {rank}" for rank in range(1, K + 1))]
    assert rows["n_replies"].to_list() == [SIZES[2]] * (K + 1)


def test_the_shift_adds_up(scores: ScoreReader, made: dict[str, tuple[Home, RunSummary]]) -> None:
    rows = scores.query(ready_queries()["answer_shift"].sql)
    found = made["counted"][1].evaluation
    assert (rows["n_base"].sum(), rows["n_vote"].sum(), rows["shift"].sum()) == (SIZES[2], SIZES[2], 0)
    assert (rows["base_right"].sum(), rows["vote_right"].sum()) == (found.base.n_correct, found.ensemble.n_correct)


# The page

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")


def test_the_page_has_every_table_with_every_column_and_its_type(scores: ScoreReader) -> None:
    tables = re.findall(r"^\| (\w+) \| type \| meaning \|\n\|[-|]+\|\n((?:\|.*\n?)+)", PAGE, re.M)
    said = {name: re.findall(r"^\| `(\w+)` \| (\w+) \| \S.* \|$", rows, re.M) for name, rows in tables}
    names = scores.query("SHOW TABLES")["name"].to_list()
    found = {name: scores.query(f"DESCRIBE {name}").select("column_name", "column_type").rows() for name in names}
    assert len(tables) == len(names)
    assert said == found


def test_the_page_has_every_query_with_its_question() -> None:
    said = dict(re.findall(r"^\| `(\w+)` \| (.*\?.*) \|$", PAGE, re.M))
    assert said == {name: query.question for name, query in ready_queries().items()}


# The command


def test_the_command_lists_them(thickets, home: str, made: dict[str, tuple[Home, RunSummary]]) -> None:
    status, out, _ = thickets("sql", "latest", "--list", "--home", home)
    assert status == 0
    assert all(name in out for name in NAMES)
    assert "Not of this run" not in out
    rows = json.loads(thickets("sql", "latest", "--list", "--json", "--home", home)[1])
    assert [row["name"] for row in rows] == NAMES
    assert rows[0]["sql"] == ready_queries()[NAMES[0]].sql
    by_likelihood = str(made["likelihood"][0].root)
    assert "Not of this run: the likeliest label is" in thickets("sql", "latest", "--list", "--home", by_likelihood)[1]


def test_the_command_runs_one(thickets, home: str, tmp_path: Path) -> None:
    every = json.loads(thickets("sql", "latest", "--named", "fixed", "--json", "--home", home)[1])
    assert len(every) > 2
    first = json.loads(thickets("sql", "latest", "--named", "fixed", "--limit", "2", "--json", "--home", home)[1])
    assert first == every[:2]
    for name in ("fixed.csv", "fixed.parquet"):
        target = tmp_path / name
        status, _, err = thickets(
            "sql", "latest", "--named", "fixed", "--limit", "2", "--out", str(target), "--home", home
        )
        assert (status, f"2 rows in {target}" in err) == (0, True)
    assert pl.read_parquet(tmp_path / "fixed.parquet").to_dicts() == first
    assert pl.read_csv(tmp_path / "fixed.csv")["position"].to_list() == [row["position"] for row in first]
    status, out, err = thickets("sql", "latest", "from range(5)", "--limit", "0", "--home", home)
    assert (status, out, err) == (0, "", "no rows\n")
    assert open_run(RUN, home).sql(named="fixed").to_dicts() == every


def test_what_cannot_be_asked_is_one_line(thickets, home: str, made: dict[str, tuple[Home, RunSummary]]) -> None:
    where = ("--home", home)
    message = refused(thickets("sql", "latest", "--named", "fixd", *where))
    assert message == f"--named: found 'fixd'; the ready queries are {', '.join(NAMES)}"
    for odd in ((), ("select 1", "--named", "fixed"), ("--list", "--named", "fixed")):
        assert refused(thickets("sql", "latest", *odd, *where)).startswith("SQL: give a statement, or --named")
    with pytest.raises(InputError, match="one of them alone"):
        open_run(RUN, home).sql()
    texts = str(made["texts"][0].root)
    message = refused(thickets("sql", "latest", "--named", "answer_shift", "--home", texts))
    assert message.startswith(f"--named: answer_shift says nothing about {RUN}: hardly two answers are equal")
    late = "select case when range > 50000 then error('planted') else 1 end from range(90000)"
    out = ("--out", "x.csv", "--limit", "80000")
    assert refused(thickets("sql", "latest", late, *out, *where)) == "SQL: Invalid Input Error: planted"


def test_an_unfinished_run_is_asked_what_it_can_answer(thickets, tmp_path: Path) -> None:
    summary = make_run(tmp_path / "home", 8, (12, 6, 6), 3)
    (summary.folder / "summary.json").unlink()
    where = ("--home", str(tmp_path / "home"))
    for name in ("by_sigma", "hardest", "cut_off", "tokens"):
        assert json.loads(thickets("sql", "latest", "--named", name, "--json", *where)[1])
    for name in ("fixed", "experts", "looping"):
        message = refused(thickets("sql", "latest", "--named", name, *where))
        assert f"run {RUN} is not finished, and who votes is chosen at its end" in message
    config = summary.folder / "config.yaml"
    config.write_text(config.read_text().replace("name: file", "name: file, scoring: loglikelihood"))
    assert "the likeliest label is chosen" in refused(thickets("sql", "latest", "--named", "tokens", *where))


def test_text_of_any_origin_moves_no_cursor(thickets, home: str) -> None:
    odd = "select 'a' || chr(27) || '[2J' || chr(8238) || 'b' as answer, 'c' || chr(10) || 'd' as lines"
    status, out, _ = thickets("sql", "latest", odd, "--home", home)
    assert status == 0
    assert r"a\x1b[2J\u202eb" in out
    assert "\x1b" not in out
