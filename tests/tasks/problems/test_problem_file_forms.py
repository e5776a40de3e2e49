"""Data in the forms of verl, TRL, the paper and public benchmarks is asked and judged by naming its columns alone."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import polars
import pytest

from thickets.storage.errors import InputError
from thickets.storage.models.manifest import Recipe
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.evaluation.wordings import plan_wordings
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.file import FileProblem, written_out
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.splits import content_sha256, draw_splits
from thickets.tasks.serving import load_recipe_problem
from thickets.tasks.types import Example

RULE = 'Let\'s think step by step and output the final answer after "####".'
VERL = [
    {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "user", "content": f"What is {n} + 2? {RULE}"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(n + 2)},
        "extra_info": {"split": "train", "index": n, "answer": f"{n} + 2 is {n + 2}.\n#### {n + 2}"},
    }
    for n in range(6)
]
BRIEF = {"role": "system", "content": "Be brief."}


def write(folder: Path, rows: list[Any], name: str = "data.jsonl") -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        polars.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def made(path: Path | str, **values: Any) -> FileProblem:
    problem = load_problem(ProblemConfig.model_validate({"name": "file", "path": str(path), **values}))
    assert isinstance(problem, FileProblem)
    return problem


def roles(problem: FileProblem, example: Example) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in problem.messages(example)]


def right(problem: FileProblem, example: Example, reply: str) -> bool:
    [verdict] = Judge(problem).judge([reply], [example])
    return verdict.correct


@pytest.mark.parametrize("name", ["train.parquet", "train.jsonl", "train.json"])
def test_verl_s_form_runs_by_naming_its_columns(tmp_path: Path, name: str) -> None:
    names = {"question_column": "prompt", "answer_column": "reward_model.ground_truth", "id_column": "extra_info.index"}
    problem = made(write(tmp_path, VERL, name), verifier="numeric", **names)
    splits = draw_splits(problem, selection=3, validation=2, test=1, seed=0)
    first, *_ = problem.examples(0, 0)
    assert (first.id, first.answer) == ("0", "2")
    assert roles(problem, first) == [("user", f"What is 0 + 2? {RULE}")]  # as verl asks it, and nothing else
    assert right(problem, first, "0 + 2 is 2.\n#### 2")
    assert not right(problem, first, "#### 3")
    assert len({example.id for split in splits for example in split.examples}) == 6


@pytest.mark.parametrize("column", ["answer", "ground_truth", "solution"])
@pytest.mark.parametrize("chat", [False, True])
def test_trl_s_forms_run_by_naming_their_columns(tmp_path: Path, column: str, chat: bool) -> None:
    question = "What is 2 + 2?"
    rows = [{"prompt": [BRIEF, {"role": "user", "content": question}] if chat else question, column: "$4$"}]
    names = {"question_column": "prompt", "answer_column": column, "verifier": "numeric"}
    problem = made(write(tmp_path, rows), **names)
    [example] = problem.examples(0, 0)
    *system, (_, asked) = roles(problem, example)
    assert system == ([("system", "Be brief.")] if chat else [])
    assert asked.startswith(question)
    assert ("step by step" in asked) is not chat  # text is asked with the verifier's instruction
    assert right(problem, example, "2 + 2 = 4")


def test_a_conversation_that_ends_in_its_answer_runs_by_naming_its_parts(tmp_path: Path) -> None:
    asked = [BRIEF, {"role": "user", "content": "2 + 2?"}]
    path = write(tmp_path, [{"messages": [*asked, {"role": "assistant", "content": "4"}]}])
    problem = made(path, question_column="messages[:-1]", answer_column="messages[-1].content")
    [example] = problem.examples(0, 0)
    assert problem.messages(example) == asked
    assert right(problem, example, "4")


def test_the_paper_s_forms_run_by_naming_their_columns(tmp_path: Path) -> None:
    # Its guide's own file, an array; and the turns that its handlers make.
    guide = made(write(tmp_path, [{"question": "What is 2 + 2?", "answer": "4"}], "data.json"))
    turns = [{"role": "system", "content": "Think first."}, {"role": "user", "content": "Using 2, 2: make 4."}]
    own = made(write(tmp_path, [{"messages": turns, "ground_truth": {"numbers": [2, 2], "target": 4}}]),
               question_column="messages", answer_column="ground_truth.target", verifier="numeric")  # fmt: skip
    for problem in (guide, own):
        assert right(problem, problem.examples(0, 0)[0], "4")
    assert own.messages(own.examples(0, 0)[0]) == turns


def test_benchmarks_with_options_run_by_naming_their_columns(tmp_path: Path) -> None:
    pro = {"question": "Which?", "options": list("qrstuvwxyz"), "answer": "D", "answer_index": 3}
    arc = {"question": "Which?", "choices": {"text": ["q", "t", "z"], "label": ["1", "2", "3"]}, "answerKey": "2"}
    for row, names in (
        (pro, {"choices_column": "options"}),
        (arc, {"choices_column": "choices", "answer_column": "answerKey"}),
    ):
        problem = made(write(tmp_path, [row]), verifier="choice", **names)
        [example] = problem.examples(0, 0)
        letter = example.answer
        assert f"\n{letter}. t\n" in roles(problem, example)[0][1]
        assert right(problem, example, f"The answer is {letter}.")
        assert not right(problem, example, "The answer is A.")


def test_every_accepted_answer_must_be_one_that_the_verifier_reads(tmp_path: Path) -> None:
    path = write(tmp_path, [{"question": "q", "answer": "4", "more": ["4.0", "four"]}])
    with pytest.raises(
        InputError, match=r"line 1: the accepted answer 'four' cannot .* stands in column 'answer' or 'more'"
    ):
        made(path, verifier="numeric", answer_aliases_column="more").examples(0, 0)
    [example] = made(path, answer_aliases_column="more").examples(0, 0)
    assert example.accepted == ("4", "4.0", "four")


def test_a_template_and_a_system_message_go_with_chat_turns(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
    path = write(tmp_path, [{"prompt": [*turns, {"role": "user", "content": "2 + 2?"}], "answer": "4"}])
    problem = made(path, question_column="prompt", instruction="Solve: {question}", system="Be brief.")
    [example] = problem.examples(0, 0)
    assert problem.messages(example) == [BRIEF, *turns, {"role": "user", "content": "Solve: 2 + 2?"}]
    path = write(tmp_path, [{"prompt": [BRIEF, {"role": "user", "content": "2 + 2?"}], "answer": "4"}])
    with pytest.raises(
        InputError, match=r"line 1: column 'prompt' begins with a system turn, and problem.system is set"
    ):
        made(path, question_column="prompt", system="Be kind.").examples(0, 0)


def test_turns_are_part_of_what_splits_are_drawn_and_hashed_by(tmp_path: Path) -> None:
    rows = [
        {"prompt": [{"role": "system", "content": kind}, {"role": "user", "content": f"{n}?"}], "answer": "4"}
        for kind in ("x", "y")
        for n in range(3)
    ]
    problem = made(write(tmp_path, rows), question_column="prompt")
    splits = draw_splits(problem, selection=2, validation=2, test=2, seed=0)
    examples = [example for split in splits for example in split.examples]
    assert len({tuple(roles(problem, example)) for example in examples}) == 6
    one, other = (example for example in examples if example.question == "0?")
    assert content_sha256([one]) != content_sha256([other])


PLAIN = [{"question": f"What is {n} + 2?", "answer": f"It is {n + 2}.\n#### {n + 2}"} for n in range(6)]


@pytest.mark.parametrize("inline", [False, True])
def test_worked_examples_come_before_every_question(tmp_path: Path, inline: bool) -> None:
    shown: Any = PLAIN[:3] if inline else str(write(tmp_path, PLAIN[:3], "shown.jsonl"))
    problem = made(write(tmp_path, PLAIN[3:]), name="gsm8k", examples=shown, n_examples=2, system="Be brief.")
    [example, *_] = problem.examples(0, 0)
    found = roles(problem, example)
    assert [role for role, _ in found] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [text for _, text in found[2::2]] == [PLAIN[0]["answer"], PLAIN[1]["answer"]]
    for (_, text), row in zip(found[1::2], (PLAIN[0], PLAIN[1], PLAIN[3]), strict=True):
        assert text == problem.instruction.replace("{question}", row["question"])
    less = made("data.jsonl", name="gsm8k", examples=shown, n_examples=1)
    assert len({json.dumps(each.identity()) for each in (problem, less, made("data.jsonl", name="gsm8k"))}) == 3
    assert "examples" not in made("data.jsonl").identity()
    assert problem.judgement() == less.judgement()


def test_a_question_is_never_asked_below_its_own_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    everything = write(tmp_path, PLAIN)
    with caplog.at_level(logging.WARNING):
        problem = made(everything, name="gsm8k", examples=str(everything), n_examples=2)
        assert [example.question for example in problem.examples(0, 0)] == [row["question"] for row in PLAIN[2:]]
    assert "left out 2 of 6 rows, which ask one of the worked examples" in caplog.text
    held_out = made(everything, name="gsm8k", test_path=str(everything), examples=PLAIN[3:4])
    with pytest.raises(InputError, match=r"problem.test_path is .*, line 4: it asks one of the worked examples"):
        held_out.test_examples()
    with pytest.raises(InputError, match=r"DATA is .*, line 4: it asks one of the worked examples"):
        held_out.read("DATA", str(everything))


@pytest.mark.parametrize(
    ("rows", "values", "message"),
    [
        (PLAIN, {"n_examples": 7}, r"problem.n_examples is 7, but '.*' of problem.examples has 6; ask for fewer"),
        (
            [{"question": f"{n}", "answer": "1"} for n in range(33)],
            {},
            r"problem.examples is .*: it has 33 rows; set prob",
        ),
        ([{"question": "q"}], {}, r"problem.examples is .*, line 1: no column 'answer'"),
    ],
)
def test_worked_examples_that_cannot_be_shown_are_refused(
    tmp_path: Path, rows: list[Any], values: dict[str, Any], message: str
) -> None:
    problem = made("data.jsonl", name="gsm8k", examples=str(write(tmp_path, rows)), **values)
    with pytest.raises(InputError, match=message):
        problem.messages(Example("id", "question", "answer"))


def test_worked_examples_from_chat_rows_lose_their_system_turn(tmp_path: Path) -> None:
    rows = [{"prompt": [BRIEF, {"role": "user", "content": f"{n}?"}], "answer": "4"} for n in range(2)]
    problem = made(
        write(tmp_path, rows[1:]), question_column="prompt", examples=str(write(tmp_path, rows[:1], "e.jsonl"))
    )
    [example] = problem.examples(0, 0)
    assert roles(problem, example) == [("system", "Be brief."), ("user", "0?"), ("assistant", "4"), ("user", "1?")]
    write(tmp_path, [{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                                 {"role": "user", "content": "c"}], "answer": "4"}], "e.jsonl")  # fmt: skip
    with pytest.raises(
        InputError, match=r"line 1: a worked example has one question and its answer, not several turns"
    ):
        made("x.jsonl", question_column="prompt", examples=str(tmp_path / "e.jsonl")).identity()


@pytest.mark.parametrize("form", ["text", "chat"])
def test_a_recipe_asks_as_the_run_did_without_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    rows: list[dict[str, Any]] = [{"prompt": f"What is {n} + 2?", "answer": str(n + 2)} for n in range(4)]
    if form == "chat":
        rows = [row | {"prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    values = {"question_column": "prompt", "verifier": "numeric", "examples": str(write(tmp_path, rows[:2], "e.jsonl"))}
    problem = made(write(tmp_path, rows[2:]), **values)
    config = written_out(problem, ProblemConfig.model_validate({"name": "file", "path": "moved", **values}))
    kept = json.loads(json.dumps(config.model_dump(mode="json", exclude={"path", "test_path", "label"})))
    recipe = Recipe(problem_config=kept, problem=dict(problem.identity()), prompt_template={}, decoding={}, engine={})
    monkeypatch.chdir(write(tmp_path, [{"question": [{"role": "user", "content": "?"}]}], "questions.jsonl").parent)
    (tmp_path / "e.jsonl").unlink()
    served = load_recipe_problem(recipe)
    example = Example("new", "What is 3 + 4?", "")
    asked = roles(problem, problem.examples(0, 0)[0])[:-1]
    assert [message["content"] for message in served.messages(example)][:-1] == [text for _, text in asked]
    assert (served.messages(example)[-1]["content"] == example.question) is (form == "chat")
    assert len(asked) == 4


def test_other_wordings_are_tried_on_chat_turns_and_worked_examples(tmp_path: Path) -> None:
    rows = [{"prompt": [BRIEF, {"role": "user", "content": f"{n}?"}], "answer": "4"} for n in range(3)]
    config = ProblemConfig(
        name="file",
        path=str(write(tmp_path, rows)),
        question_column="prompt",
        examples=str(write(tmp_path, rows[:1], "e.jsonl")),
    )
    problem = load_problem(config)
    wordings = plan_wordings(problem, config, ())
    assert wordings is not None
    assert wordings.own == "{question}"
    [example, _] = problem.examples(0, 0)
    for text, other in wordings.others.items():
        assert [message["content"] for message in other.messages(example)] == [
            "Be brief.",
            text.replace("{question}", "0?"),
            "4",
            text.replace("{question}", "1?"),
        ]


def test_a_model_without_a_chat_template_reads_turns_as_questions_and_answers(tmp_path: Path, tiny_model: Path) -> None:
    template = PromptTemplate.from_folder(tiny_model)
    template._chat_template = None
    problem = made(write(tmp_path, [{"question": "1?", "answer": "1"}]), instruction="{question}", system="Hi.",
                   examples=[{"question": "0?", "answer": 0}])  # fmt: skip
    [example] = problem.examples(0, 0)
    assert template.render(problem.messages(example)) == "Hi.\n\nQuestion: 0?\nAnswer: 0\n\nQuestion: 1?\nAnswer:"
