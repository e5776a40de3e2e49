"""`thickets check`: what a run will ask and how it will judge, single replies, and the project's own cases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.command_line import refused
from thickets.flows.check.cases import check_cases
from thickets.flows.check.replies import check
from thickets.flows.check.verdict import check_reply
from thickets.flows.cli.tables_check import prompt_lines, reply_lines
from thickets.flows.config.run import RunConfig
from thickets.storage.errors import InputError
from thickets.tasks.engines import Engine, EngineSpec
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import Candidate, Completion, Example, Sampling
from thickets.tasks.verifiers import NUMERIC

CASES = sorted((Path(__file__).parents[1] / "cases" / "verdicts").glob("*.jsonl"))
GOOD = {"verifier": "numeric", "gold": "18", "reply": "The answer is 18.", "allowed": ["right"], "why": ""}


# Cases


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_projects_own_cases_are_judged_as_allowed(thickets, path: Path) -> None:
    status, out, err = thickets("check", "--cases", str(path))
    assert (status, err) == (0, ""), out
    assert f"{len(path.read_text().splitlines())} verdicts, all as allowed" in out


def test_there_are_cases_of_every_kind() -> None:
    rows = [json.loads(line) for path in CASES for line in path.read_text().splitlines()]
    assert {row["verifier"] for row in rows} >= {"numeric", "math", "choice", "exact", "molecule"}


def test_a_case_that_is_judged_otherwise_is_shown_and_the_status_is_1(thickets, tmp_path: Path) -> None:
    wrong = {**GOOD, "reply": "It is\n17", "why": "planted"}
    (tmp_path / "cases.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in (GOOD, wrong)))
    status, out, _ = thickets("check", "--cases", "cases.jsonl")
    assert status == 1
    assert "line 2: numeric, gold '18', reply 'It is\\n17'" in out
    assert "wrong (read '17'); allowed: right; planted" in out
    assert "1 of 2 verdicts not as allowed" in out
    status, out, _ = thickets("check", "--cases", "cases.jsonl", "--json")
    assert status == 1
    [failure] = json.loads(out)["failures"]
    assert (failure["line"], failure["verdict"], failure["extracted"], failure["score"]) == (2, "wrong", "17", 0.0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "not JSON"),
        ("[]", "the row: "),
        (json.dumps({**GOOD, "allowed": []}), "allowed: "),
        (json.dumps({**GOOD, "allowed": ["correct"]}), "allowed.0: "),
        (json.dumps({**GOOD, "reply": 3}), "reply: "),
        (json.dumps({**GOOD, "verifier": "numerical"}), "problem.verifier is 'numerical'; allowed are"),
    ],
)
def test_a_row_that_is_none_is_one_line_that_names_it(thickets, tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "cases.jsonl").write_text(f"{json.dumps(GOOD)}\n\n{row}\n")
    line = refused(thickets("check", "--cases", "cases.jsonl"))
    assert line.startswith("--cases: cases.jsonl, line 3: ")
    assert said in line


def test_a_file_without_a_row_or_that_is_not_there_is_refused(thickets, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    assert "holds no row" in refused(thickets("check", "--cases", "empty.jsonl"))
    assert "cannot be read" in refused(thickets("check", "--cases", "absent.jsonl"))


def test_a_question_may_have_its_options(tmp_path: Path) -> None:
    row = {**GOOD, "verifier": "choice", "gold": "B", "reply": "B", "question": "Which?", "options": ["no", "yes"]}
    (tmp_path / "cases.jsonl").write_text(json.dumps(row))
    assert check_cases(tmp_path / "cases.jsonl").n == 1


def test_a_gold_answer_may_be_a_number_or_several_answers(tmp_path: Path) -> None:
    rows = [{**GOOD, "gold": 18}, {**GOOD, "gold": ["18", "many"], "allowed": ["gold refused"]}]
    (tmp_path / "cases.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert check_cases(tmp_path / "cases.jsonl").failures == ()


# One reply


@pytest.mark.parametrize(
    ("verifier", "gold", "reply", "found"),
    [
        ("numeric", "18", "It is 18", {"extracted": "18", "score": 1.0, "verdict": "right"}),
        ("numeric", "18", "It is 1,700", {"extracted": "1700", "score": 0.0, "verdict": "wrong"}),
        ("numeric", "18", "No idea", {"extracted": None, "score": 0.0, "verdict": "abstains"}),
        ("numeric", "18", "<think>18", {"extracted": None, "score": 0.0, "verdict": "abstains"}),
        ("numeric", "many", "18", {"extracted": None, "score": 0.0, "verdict": "gold refused"}),
        ("gsm8k", "#### 18", "#### 18", {"extracted": "18", "score": 1.0, "verdict": "right"}),
    ],
)
def test_a_reply_is_judged_without_a_configuration(
    thickets, verifier: str, gold: str, reply: str, found: dict[str, object]
) -> None:
    status, out, err = thickets("check", "--verifier", verifier, "--gold", gold, "--reply", reply, "--json")
    assert (status, json.loads(out), err) == (0, found, "")


def test_the_reason_is_one_line_and_a_pattern_can_be_tried(thickets) -> None:
    arguments = ("check", "--verifier", "regex", "--pattern", r"A: (\d+)", "--gold", "A: 7", "--reply")
    assert thickets(*arguments, "A: 8")[1] == "wrong: read 8, gold is 7\n"
    assert thickets(*arguments, "8")[1] == "abstains: no match of problem.pattern\n"
    assert thickets("check", "--verifier", "choice", "--gold", "two", "--reply", "B")[1].startswith("gold refused: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "check: found none of these; give CONFIG, or --cases FILE, or"),
        (("quickstart", "--cases", "c.jsonl"), "check: found CONFIG and --cases"),
        (("--verifier", "numeric", "--reply", "3"), "--gold: is missing"),
        (("--verifier", "numeric", "--gold", "3"), "--reply: is missing"),
        (("--verifier", "numeric", "--gold", "3", "--reply", "3", "--row", "1"), "--row: goes with CONFIG"),
        (("quickstart", "--gold", "3"), "--gold: goes with --verifier"),
        (("--verifier", "sum", "--gold", "3", "--reply", "3"), "problem.verifier is 'sum'; allowed are"),
    ],
)
def test_options_that_do_not_go_together_are_refused(thickets, arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(thickets("check", *arguments))


def test_a_reply_to_a_question_of_the_run_needs_no_model(thickets, my_yaml) -> None:
    path = my_yaml(model="/there/is/none")
    found = json.loads(thickets("check", path, "--reply", "It is 29", "--json")[1])
    status, out, _ = thickets("check", path, "--reply", f"It is {found['gold']['read']}", "--row", found["example_id"])
    assert status == 0
    assert out.startswith(f"right: {found['gold']['read']} = gold {found['gold']['read']}\n")
    assert f"⟦{found['gold']['read']}⟧" in out
    line = refused(thickets("check", path, "--reply", "3", "--row", "none"))
    assert "--row: no row has the id or question 'none'" in line


# A configuration


class Scripted:
    """An engine that replies as it is told."""

    def __init__(self, replies: Sequence[Completion]) -> None:
        self._replies = replies
        self.asked: list[str] = []

    def load(self, candidate: Candidate | None) -> None:
        assert candidate is None

    def prepare(self, candidate: Candidate) -> None: ...

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        self.asked += prompts
        return list(self._replies[: len(prompts)])

    def close(self) -> None: ...


def replies(*texts: str, cut_off: int = 0) -> list[Completion]:
    return [Completion(text, 8, "length" if place < cut_off else "stop") for place, text in enumerate(texts)]


def test_the_tiny_models_replies_are_shown_and_nothing_is_written(thickets, my_yaml, tmp_path: Path) -> None:
    path = my_yaml(scoring={"examples_per_block": 2})
    status, out, err = thickets("check", path, "--n", "3")
    assert (status, err) == (0, "loading the model\n")
    assert "the first prompt, example " in out
    assert "  [assistant] \n" in out
    assert "no BOS (<s>) at its beginning" in out
    assert "first tokens: 88 '['  34 'u'  32 's'  18 'e'" in out
    assert out.count("question: Which is the largest number") == 3
    assert "3 replies of the base: " in out
    assert {each.name for each in tmp_path.iterdir()} == {"my.yaml"}, "no home, no shards, no MLflow"


def test_without_replies_no_engine_is_started(config, thickets, my_yaml) -> None:
    def build(spec: EngineSpec) -> Engine:
        pytest.fail("an engine was built")

    found = check(config(), n=0, build=build)
    assert found.replies == ()
    assert found.prompt.n_tokens == len(found.prompt.text)  # a token per character
    shown = json.loads(thickets("check", my_yaml(), "--n", "0", "--json")[1])
    assert shown == json.loads(found.model_dump_json())
    assert check(config(engine={"kind": "transformers", "device": "cuda"}), n=0).prompt == found.prompt


def test_of_several_problems_each_is_shown(thickets, my_yaml) -> None:
    problems = [{"name": "largest_number", "options": {"below": 30, "count": count}} for count in (2, 3)]
    path = my_yaml(problem=None, problems=problems)
    found = json.loads(thickets("check", path, "--n", "0", "--json")[1])
    assert len({one["prompt"]["text"] for one in found}) == 2
    assert "problems: found 2 where one is wanted" in refused(thickets("check", path, "--reply", "3"))


def test_two_tokens_that_begin_a_sequence_are_one_too_many(config, tiny_model: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "two")
    template = model / "chat_template.jinja"
    template.write_text("{{ bos_token }}{{ bos_token }}" + template.read_text())
    found = check(config(model=str(model)), n=0)
    assert found.prompt.n_bos == 2
    assert found.warnings == ("the prompt begins with 2 tokens <s>: the chat template writes one too many",)
    assert "two BOS (<s>) at its beginning" in prompt_lines(found.prompt).plain


def test_the_prompt_of_another_row_can_be_shown(config) -> None:
    other = _checked(config(), replies("1", "2")).replies[1]
    shown = check(config(), n=0, row=other.example_id).prompt
    assert other.question in shown.text
    assert shown.gold == other.gold
    with pytest.raises(InputError, match="--row: no question of the run has the id or text 'none'; its first ones"):
        check(config(), n=0, row="none")


def test_verdicts_are_counted_and_a_fifth_of_cut_off_replies_is_no_reason_to_warn(config) -> None:
    run: RunConfig = config()
    gold = [reply.gold.read for reply in _checked(run, replies(*["-1"] * 10)).replies]
    found = _checked(run, replies(f"{gold[0]}", "none", *["-1"] * 8, cut_off=2))
    assert (found.n_right, found.n_wrong, found.n_abstained, found.n_cut_off) == (1, 8, 1, 2)
    assert found.replies[0].why == f"right: {gold[0]} = gold {gold[0]}; cut off at 8 tokens"
    assert found.replies[1].why == "abstains: no match of problem.pattern; cut off at 8 tokens"
    assert found.warnings == ()


def _checked(run: RunConfig, scripted: list[Completion]):
    return check(run, n=len(scripted), build=lambda spec: Scripted(scripted))


@pytest.mark.parametrize(
    ("scripted", "said"),
    [
        (replies(*["5"] * 5, cut_off=2), "2 of 5 replies cut off: raise decoding.max_tokens (now 8)"),
        (
            replies("?", "", "5", "5", "5"),
            "2 of 5 replies without an answer that can be read: say in problem.instr",
        ),
        (
            replies(*["<think>5"] * 2, "5", "5", "5"),
            "2 of 5 replies in the middle of a thought: raise decoding.max_tokens",
        ),
    ],
)
def test_a_warning_names_the_setting_that_helps(config, scripted: list[Completion], said: str) -> None:
    [warning] = _checked(config(), scripted).warnings
    assert warning.startswith(said)


def test_replies_that_are_all_wrong_or_all_right_are_a_warning(config) -> None:
    run: RunConfig = config()
    gold = [str(reply.gold.read) for reply in _checked(run, replies(*["-1"] * 10)).replies]
    [warning] = _checked(run, replies(*["-1"] * 10)).warnings
    assert warning.startswith("none of 10 replies is right, so there may be nothing to select by: ")
    assert warning.endswith("else take a larger model")  # questions that are made have no worked examples
    [warning] = _checked(run, replies(*gold)).warnings
    assert warning.startswith("all 10 replies are right, so little is left to gain")
    assert _checked(run, replies(*["-1"] * 9)).warnings == ()
    assert _checked(run, replies(gold[0], *["-1"] * 9)).warnings == ()


def test_the_replies_are_to_the_runs_own_prompts(config) -> None:
    engine = Scripted(replies("1", "2", "3"))
    found = check(config(scoring={"examples_per_block": 2}), n=3, build=lambda spec: engine)
    assert engine.asked[0] == found.prompt.text
    assert [reply.question in prompt for reply, prompt in zip(found.replies, engine.asked, strict=True)] == [True] * 3


# Words and marks


@pytest.mark.parametrize(
    ("reply", "why", "marked"),
    [
        ("<think>17</think>It is 18.", "right: 18 = gold 18", "⟦18⟧."),
        ("It is 17 apples", "wrong: read 17, gold is 18", "⟦17⟧ apples"),
        ("", "abstains: empty reply", "reply:"),
        ("<think>18", "abstains: unfinished thought", "<think>18"),
        ("no", "abstains: no number", "no"),
        ("1e99999999", "abstains: no number that is surely the answer", "1e99999999"),
    ],
)
def test_a_verdict_has_its_reason_and_the_answer_its_mark(reply: str, why: str, marked: str) -> None:
    problem = load_problem(ProblemConfig(name="file", path="x.jsonl", verifier="numeric"))
    found = check_reply(Judge(problem), "numeric", Example("1", "How many?", "18"), reply)
    assert found.why == why
    assert marked in reply_lines(found).plain


def test_answers_of_several_words_stand_in_quotes_and_long_ones_are_shortened() -> None:
    problem = load_problem(ProblemConfig(name="file", path="x.jsonl"))
    found = check_reply(Judge(problem), "exact", Example("1", "Where?", "San Francisco"), "word " * 50)
    words = " ".join(["word"] * 6)
    assert found.why == f'wrong: read "{words} ... {words}", gold is "san francisco"'


def test_the_place_that_a_verifier_names_is_marked_behind_a_thought() -> None:
    verifier = replace(NUMERIC, span=lambda text, example: (0, len("eighteen")), extract=lambda text, example: "18")
    problem = FileProblem(ProblemConfig(name="file", path="x.jsonl"), verifier)
    found = check_reply(Judge(problem), "numeric", Example("1", "?", "18"), "<think>18</think>eighteen, that is 18")
    assert "</think>⟦eighteen⟧, that is 18" in reply_lines(found).plain


def test_a_reply_cannot_write_to_the_terminal() -> None:
    problem = load_problem(ProblemConfig(name="file", path="x.jsonl", verifier="numeric"))
    found = check_reply(Judge(problem), "numeric", Example("1", "?", "18"), "It is \x1b[J\u202eso 18")
    assert "It is \\x1b[J\\u202eso ⟦18⟧" in reply_lines(found).plain


def test_an_estimate_begins_with_the_first_prompt(thickets, my_yaml) -> None:
    status, out, _ = thickets("estimate", my_yaml())
    assert status == 0
    assert out.startswith("the first prompt, example ")
    assert out.index("gold answer: ") < out.index("estimate")
