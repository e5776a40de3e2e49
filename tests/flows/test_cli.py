"""What a person at a terminal sees: results on standard output, and every mistake as one line and exit status 2."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.flows.command_line import refused
from thickets.tasks.problems import own_kinds
from thickets.tasks.problems.reasoning_gym import library


def jsonl(path: Path, rows: list) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def rows(n: int) -> list[dict]:
    return [{"id": f"q{i}", "question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(n)]


@pytest.mark.parametrize(
    ("override", "field", "found"),
    [
        ("population.sise=3", "population.sise", "unknown field"),
        ("population.sigmas=[0.001,0]", "population.sigmas[1]", "0"),
        ("population.size=4", "selection.k_values", "K = 5 experts of a population of 4"),
        ("problem.name=gsm9k", "problem", "gsm9k"),
        ("model=no/such-model-here", "model", "no/such-model-here"),
        ("model=nowhere.gguf", "model", "nowhere.gguf"),
        ("data.test=500000", "", "missing"),
    ],
)
@pytest.mark.parametrize("command", ["run", "estimate"])
def test_bad_values_are_one_line(thickets, my_yaml, command: str, override: str, field: str, found: str) -> None:
    message = refused(thickets(command, my_yaml(), "--set", override))
    assert message.startswith(field)
    assert found in message


def test_a_missing_data_file_is_named(thickets, my_yaml) -> None:
    path = my_yaml()
    message = refused(thickets("run", path, "--set", "problem={name: file, path: nowhere.jsonl}"))
    assert message.startswith("problem.path")
    assert "nowhere.jsonl" in message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([*rows(3), '{"question": "x", '], "line 4"),
        ([*rows(3), {"id": "q1", "question": "again?", "answer": "1"}], "q1"),
        (rows(7), "missing"),
        ([{"id": "a", "text": "x", "answer": "1"}], "question"),
        ([], "there are no rows"),
    ],
    ids=["broken line", "duplicate id", "too few rows", "missing column", "empty file"],
)
def test_bad_data_is_one_line(thickets, my_yaml, tmp_path: Path, content: list, found: str) -> None:
    data = jsonl(tmp_path / "data.jsonl", content)
    message = refused(
        thickets("run", my_yaml(), "--set", f"problem={{name: file, path: {data}, id_column: id, verifier: numeric}}")
    )
    assert found in message


def test_an_unwritable_home_is_named(thickets, my_yaml, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    message = refused(thickets("run", my_yaml(storage={"home": str(tmp_path / "taken" / "home")})))
    assert message.startswith("storage.home")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_home_is_named(thickets, my_yaml, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    message = refused(thickets("run", my_yaml(storage={"home": str(tmp_path / "closed" / "home")})))
    assert message.startswith("storage.home")


def test_an_unknown_preset_lists_the_known_ones(thickets) -> None:
    assert "quickstart" in refused(thickets("run", "quickstat"))


@pytest.mark.parametrize("command", [["show", "latest"], ["sql", "x", "select 1"]])
def test_a_run_that_is_not_there_is_named(thickets, command: list[str]) -> None:
    assert refused(thickets(*command)).startswith("RUN: ")


def test_an_unexpected_failure_is_one_line_too(thickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.flows.config.file.load_config", lambda *args: 1 / 0)
    status, out, err = thickets("run", "quickstart")
    assert (status, out) == (1, "")
    assert err == "error: ZeroDivisionError: division by zero (THICKETS_DEBUG=1 shows where)\n"


def test_no_runs_yet_is_said_and_is_an_empty_list_as_json(thickets) -> None:
    assert "thickets run quickstart" in thickets("runs")[2]
    assert json.loads(thickets("runs", "--json")[1]) == []


def test_the_version_is_one_line(thickets) -> None:
    assert thickets("--version") == (0, f"thickets {version('thickets')}\n", "")


@pytest.mark.parametrize("command", ["run", "estimate", "runs", "show", "report", "sql", "distill", "problems"])
def test_every_command_has_help_with_an_example(thickets, command: str) -> None:
    status, out, _ = thickets(command, "--help")
    assert status == 0
    assert "Example: " in out
    assert f"thickets {command}" in out


def test_the_problems_are_listed_a_line_each(thickets) -> None:
    status, out, err = thickets("problems")
    assert status == 0
    own = [kind.name for kind in own_kinds()]
    assert own[0] == "largest_number"
    assert [line.split()[0] for line in out.splitlines()] == [*own, "reasoning_gym:TASK"]
    assert re.search(r" \d\d generated problems; list them: thickets problems reasoning_gym$", out)
    assert "thickets problems NAME" in err
    tasks = thickets("problems", "reasoning_gym")[1].splitlines()
    assert len(tasks) > 80
    assert all(re.match(r"reasoning_gym:\w+ +Generated", line) for line in tasks)
    listed = json.loads(thickets("problems", "--json")[1])
    assert [row["name"] for row in listed] == [*own, *(line.split()[0] for line in tasks)]
    assert all(row["summary"] for row in listed)


def test_one_problem_is_shown_with_options_and_a_sample(thickets) -> None:
    status, out, _ = thickets("problems", "largest_n")  # part of one name alone
    assert status == 0
    assert "problem.options.count (3): " in out
    assert re.search(r"Which is the largest number: \d+, \d+ or \d+\?", out)
    assert "problem.path (required)" in thickets("problems", "file")[1]
    found = json.loads(thickets("problems", "chain_sum", "--json")[1])
    assert found["name"] == "reasoning_gym:chain_sum"
    assert {"name": "problem.options.max_terms", "default": 6, "about": "", "required": False} in found["options"]
    assert "<answer>" in found["sample"]["prompt"]
    assert found["sample"]["answer"].isdigit()


def test_the_sample_of_a_problem_is_printed_or_written_and_said_how_to_ask(thickets, tmp_path: Path) -> None:
    status, out, err = thickets("problems", "--sample", "gsm8k")
    assert (status, err) == (0, "")
    assert all("####" in json.loads(line)["answer"] for line in out.splitlines())
    status, printed, err = thickets("problems", "gsm8k", "--sample", "--to", "mine.jsonl")
    assert (status, printed) == (0, "")
    assert (tmp_path / "mine.jsonl").read_text() == out
    assert "problem: {name: gsm8k, path: mine.jsonl}" in err
    assert "--to is 'mine.jsonl', which exists" in refused(thickets("problems", "gsm8k", "--to", "mine.jsonl"))
    assert "No such file" in refused(thickets("problems", "gsm8k", "--to", "nowhere/mine.jsonl"))
    assert "found none" in refused(thickets("problems", "--sample"))
    assert "found countdown, reasoning_gym:count_bits" in refused(thickets("problems", "--sample", "count"))
    assert "Reach " in json.loads(thickets("problems", "--sample", "countdown")[1].splitlines()[0])["question"]


def test_a_problem_that_is_not_there_is_told_the_nearest(thickets) -> None:
    assert refused(thickets("problems", "no such thing")).startswith("NAME: no problem is called 'no such thing'; `")
    assert "did you mean reasoning_gym:chain_sum?" in refused(thickets("problems", "chian_sum"))
    assert "which is refused: its verifier calls eval()" in refused(thickets("problems", "reasoning_gym:n_queens"))


def test_without_reasoning_gym_its_line_says_how_to_install_it(thickets, monkeypatch: pytest.MonkeyPatch) -> None:
    library.cache_clear()
    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, "reasoning_gym", None)
        status, out, _ = thickets("problems")
        assert status == 0
        assert "install it with: pip install" in out.splitlines()[-1]
        assert len(json.loads(thickets("problems", "--json")[1])) == len(own_kinds())
        assert "cannot be imported" in refused(thickets("problems", "chain_sum"))
    library.cache_clear()


def test_estimate_counts_what_a_run_will_ask(thickets, my_yaml) -> None:
    status, out, _ = thickets("estimate", my_yaml(), "--json")
    found = json.loads(out)
    assert status == 0
    assert found["completions"] == {"selection": 10 * 12, "validation": 10 * 10, "test": 23 * 14}
    assert 0 < found["tokens"] <= found["tokens_at_most"] == 542 * 8
    assert found["seconds"] > 0
    shown = thickets("estimate", my_yaml())[1]
    assert "time" in shown
    assert "not counted" not in shown
    shown = thickets("estimate", my_yaml(), "--set", "distillation={}", "--set", "rivals.grpo={}")[1]
    assert "training the student; GRPO, which rivals.budget limits" in " ".join(shown.split())


def test_the_home_of_the_option_wins_over_the_config_s_and_the_shell_s(
    thickets, my_yaml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home is the first thing that is checked, so a command that refuses one says which it would have used."""
    homes = [Path("null"), tmp_path / "of the config", tmp_path / "of the shell"]  # a name, and not YAML's nothing
    for home in homes:
        home.write_text("a file, not a folder")
    monkeypatch.setenv("THICKETS_HOME", str(homes[2]))
    (tmp_path / "plain.yaml").write_text("problem: largest_number\n")
    for command in ("run", "estimate"):
        config = my_yaml(storage={"home": str(homes[1])})
        assert f"cannot write to {homes[0]}" in refused(thickets(command, config, "--home", str(homes[0])))
        assert f"cannot write to {homes[1]}" in refused(thickets(command, config))
        assert f"cannot write to {homes[2]}" in refused(thickets(command, "plain.yaml"))


def test_estimate_says_what_a_budget_pays_for(thickets, my_yaml) -> None:
    small, large = (
        json.loads(thickets("estimate", my_yaml(), "--set", f"scoring.budget.tokens={tokens}", "--json")[1])
        for tokens in (100, 100_000)
    )
    assert (small["n_paid_for"], large["n_paid_for"]) == (0, 9)
    shown = thickets("estimate", my_yaml(), "--set", "scoring.budget.minutes=60")[1]
    assert "about 9 of 9" in shown


def test_estimate_says_what_racing_may_save_at_most(thickets, my_yaml) -> None:
    """9 candidates, 5 of whom are needed, and 12 questions in blocks of 5."""
    racing = ["--set", "scoring.racing.z=1"]
    status, out, _ = thickets("estimate", my_yaml(), *racing, "--json")
    assert status == 0
    assert json.loads(out)["completions"]["selection"] == 10 * 12
    assert json.loads(out)["racing_saves_at_most"] == 4 * 7
    assert json.loads(out)["probe"]["load_s"] > 1e-4, "a candidate that is there already takes a microsecond"
    assert 0 < json.loads(out)["racing"]["raced_at_best_s"] <= json.loads(out)["racing"]["raced_s"]
    shown = thickets("estimate", my_yaml(), *racing)[1]
    assert "at most 28" in shown
    assert "racing, at a guess of who is dropped" in shown
    assert json.loads(thickets("estimate", my_yaml(), "--json")[1])["racing_saves_at_most"] == 0
    # A pilot is asked everything; the questions of the run are no more for it.
    pilot = ["--set", "population.size=12", "--set", "population.pilot.candidates=9"]
    found = json.loads(thickets("estimate", my_yaml(), *racing, *pilot, "--json")[1])
    assert (found["completions"]["selection"], found["racing_saves_at_most"]) == (13 * 12, 3 * 7)


def test_racing_that_cannot_be_is_refused_in_one_line(thickets, my_yaml) -> None:
    one_block = refused(thickets("run", my_yaml(), "--set", "scoring={racing: {}, examples_per_block: 12}"))
    assert one_block.startswith("scoring.racing")
    assert "data.selection 12" in one_block


def test_a_run_from_start_to_sql(thickets, my_yaml, tmp_path: Path, prefect_server: None) -> None:
    home = str(tmp_path / "home")
    status, out, err = thickets("run", my_yaml())
    assert status == 0
    labels = ("chance", "base", "self-consistency, ", "random experts, ", "best single expert", "ensemble")
    for words in (*labels, "95 %"):
        assert words in out
    last = out.splitlines()[-1]
    assert last.startswith("Report: ")
    assert Path(last.removeprefix("Report: ").partition(" (")[0]).is_file()
    assert len(out.partition("last session")[2].splitlines()) <= 1 + 5
    for words in ("selection: 30 units", "validation: ", "test: ", "chosen on the validation split"):
        assert words in err
    [run] = json.loads(thickets("runs", "--home", home, "--json")[1])
    assert run["state"] == "completed"
    assert run["run_id"] in thickets("runs", "--home", home)[1]
    shown = json.loads(thickets("show", run["run_id"][:7], "--home", home, "--json")[1])
    assert shown["evaluation"]["ensemble"]["value"] == run["ensemble_accuracy"]
    assert thickets("show", "latest", "--home", home)[1] == out
    everything = thickets("show", "latest", "--all", "--home", home)[1]
    for words in ("expert 1", "folder:", "report:", "MLflow:", "Prefect:", "as good as the base"):
        assert words in everything
    board = json.loads(thickets("sql", "latest", "from leaderboard", "--home", home, "--json")[1])
    assert len(board) == 9
    assert board[0]["n_correct"] >= board[-1]["n_correct"]
    for statement in ("delete from scores", "selec 1", "select 1; select 2", "copy scores to 'x.csv'"):
        refused(thickets("sql", "latest", statement, "--home", home))
    assert not (tmp_path / "x.csv").exists()
