"""What is told of rounds: table, sentences, page, figure, budget and estimate, from made-up results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.command_line import refused
from tests.flows.publishing import published
from tests.flows.summaries import N_TEST, right
from tests.flows.test_report import Page, squeezed
from thickets.flows.config.file import parse_config
from thickets.flows.config.rounds import RoundsBudgetConfig
from thickets.flows.report.group import draw_group_figures
from thickets.flows.report.render import write_page
from thickets.flows.report.rounds import collect_rounds
from thickets.flows.results.groups import GroupFolder, find_group, group_with, load_rounds
from thickets.flows.results.rounds import Round, Rounds
from thickets.flows.results.rounds_text import rounds_columns, rounds_markdown, rounds_rows, rounds_sentences
from thickets.flows.rounds.budget import why_no_more
from thickets.flows.search.estimate import Estimate, Probe
from thickets.flows.search.estimate_rounds import of_rounds
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.tasks.results.cost import Cost
from thickets.tasks.results.text import amount, percent, points
from thickets.tasks.statistics import accuracy, paired_difference

# As versions without students wrote it.
OLD = """
{"group_id": "mine-0123abcd", "rounds": [{"number": 1, "run_id": "mine-1", "model": "m",
 "base": {"n_correct": 20, "n": 96, "value": 0.2083, "low": 0.139, "high": 0.3},
 "ensemble": {"n_correct": 50, "n": 96, "value": 0.5208, "low": 0.42, "high": 0.62},
 "merge": null, "validation": null, "n_tokens": 1000, "wall_s": 3.5}],
 "last_minus_first": null, "ended": "in round 1 no merge was clearly above its base on the validation split"}
"""


@pytest.fixture(scope="module", autouse=True)
def _with_figures() -> Iterator[None]:
    with published():
        yield


def a_round(number: int, base: int, ensemble: int, made: int | None) -> Round:
    return Round(
        number=number,
        run_id=f"mine-{number}",
        model="<b>m</b>" if number == 1 else f"models/mine-{number - 1}",
        base=accuracy(base, N_TEST),
        ensemble=accuracy(ensemble, N_TEST),
        merge=None,
        validation=None,
        student=None if made is None else accuracy(made, N_TEST),
        student_over_base=paired_difference(right(150), right(100)),
        n_tokens=1000 * number,
        wall_s=10.0 * number,
        get=None if made is None else Cost(n_generated=900 * number, n_read=100 * number),
    )


def made_up(n_last: int | None = None) -> Rounds:
    """Three rounds of students, the last without one unless it is given."""
    return Rounds(
        group_id="mine-0123abcd",
        by="distill",
        rounds=(a_round(1, 80, 140, 150), a_round(2, 150, 170, 165), a_round(3, 165, 175, n_last)),
        last_minus_first=paired_difference(right(165), right(80)),
        last_minus_ensemble=paired_difference(right(165), right(170)),
        ended="in round 3 no student was clearly above its base on the validation split",
    )


def test_a_line_per_round_and_the_last_model_beside_the_vote_of_its_own_round() -> None:
    found = made_up()
    assert found.last_made is found.rounds[1]
    assert rounds_columns(found)[4:6] == ("student", "student over its base, validation")
    first, beside, ended = rounds_sentences(found)
    assert f"{percent(found.rounds[0].base)} before, {percent(accuracy(165, N_TEST))} after round 2" in first
    assert beside.startswith("With one answer it stays below the vote of the experts of round 2, ")
    assert points(paired_difference(right(165), right(170))) in beside
    assert ended.startswith("In round 3 no student")
    even = found.model_copy(update={"last_minus_ensemble": paired_difference(right(165), right(165))})
    assert "it is not distinguishable from the vote" in rounds_sentences(even)[1]
    assert rounds_markdown(found).count("\n| ") == 4
    rows = rounds_rows(found)
    assert {len(row) for row in rows} == {len(rounds_columns(found))}
    assert [row[-1] for row in rows] == [amount(1000), amount(3000), ""], (
        "of a round and those before it; none where none was made"
    )


def test_a_result_of_an_earlier_version_is_read_and_told(tmp_path: Path) -> None:
    old = Rounds.model_validate_json(OLD)
    assert old.by == "merge"
    assert len(rounds_sentences(old)) == 2
    folder = GroupFolder(tmp_path / "groups" / old.group_id)
    folder.root.mkdir(parents=True)
    folder.rounds.write_text(OLD)
    assert find_group(Home(tmp_path), "mine") == group_with(Home(tmp_path), "mine-1") == folder
    assert group_with(Home(tmp_path), "mine-2") is None
    assert load_rounds(folder) == old
    assert "No round made a model" in squeezed(Page(write_page(collect_rounds(old), folder.report).read_text()).words)
    folder.rounds.write_text("{}")
    with pytest.raises(InputError, match=r"^RUN: .*rounds\.json cannot be read or does not fit this version"):
        load_rounds(folder)


def test_the_page_says_what_there_is_to_say_and_carries_nothing_out(tmp_path: Path) -> None:
    found = made_up()
    text = write_page(collect_rounds(found), tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    words = squeezed(page.words)
    for sentence in rounds_sentences(found):
        assert sentence in words
    for each, tokens in zip(found.rounds, ("1,000", "3,000", "6,000"), strict=True):
        for part in (percent(each.base), percent(each.ensemble), each.run_id, tokens):
            assert part in words
    assert "<b>m</b>" in page.words
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "b"}
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in page.all("href")} <= set(ids)
    assert text.count("<svg") == 1
    assert "#fe0" not in text, "a stand-in for a colour of the page was left"
    assert "thickets report mine-0123abcd" in words


def test_the_curve_says_in_words_what_it_draws_and_is_a_file_for_mlflow(tmp_path: Path) -> None:
    plot = collect_rounds(made_up()).plot
    assert "round 2: one model 64.5 %, vote 66.4 %, 3,000 tokens so far; round 3: one model none" in plot.alt
    [path] = draw_group_figures(GroupFolder(tmp_path), [plot])
    assert path == tmp_path / "figures" / "rounds.png"
    assert path.stat().st_size > 5000


def test_the_command_writes_the_page_of_rounds_again(thickets, tmp_path: Path) -> None:
    folder = GroupFolder(tmp_path / "home" / "groups" / "mine-0123abcd")
    folder.root.mkdir(parents=True)
    folder.rounds.write_text(made_up().model_dump_json())
    status, out, _ = thickets("report", "mine", "--home", str(tmp_path / "home"))
    assert (status, out) == (0, f"{folder.report}\n")
    assert "In round 3 no student" in folder.report.read_text()
    assert "RUN: " in refused(thickets("report", "yours", "--home", str(tmp_path / "home")))


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (None, None),
        ({"tokens": 9000}, None),
        ({"tokens": 8999}, "2,999 of 8,999 tokens are left, and the last one took 3,000"),
        ({"tokens": 100}, "0 of 100 tokens are left"),
        ({"seconds": 90.0}, None),
        ({"seconds": 89.0}, "29 s of 1 min 29 s are left, and the last one took 30 s"),
    ],
)
def test_no_round_is_begun_that_would_not_fit_if_it_cost_what_the_last_one_did(
    budget: dict[str, float] | None, reason: str | None
) -> None:
    said = why_no_more(None if budget is None else RoundsBudgetConfig.model_validate(budget), made_up().rounds)
    if reason is None:
        assert said is None
    else:
        assert said is not None
        assert said.startswith("a further round does not fit into rounds.budget: ")
        assert reason in said


@pytest.mark.parametrize(
    ("sections", "write_s", "n_models", "n_paid_for"),
    [
        ({"merge": {"directions": ["best"]}, "rounds": {"most": 3}}, 5 * 0.5, 2, None),
        ({"merge": {"directions": ["best", "rank"]}, "rounds": {"most": 3}}, 40 * 0.5, 2, None),
        ({"merge": {"k": [2]}, "rounds": {"most": 3, "budget": {"tokens": 2500}}}, 40 * 0.5, 2, 2),
        ({"merge": {}, "rounds": {"most": 3, "budget": {"seconds": 10}}}, 40 * 0.5, 2, 1),
        ({"distillation": {}, "rounds": {"most": 3, "by": "distill"}}, 0.0, 9, None),
    ],
)
def test_an_estimate_of_rounds_adds_starts_and_models(
    sections: dict[str, object], write_s: float, n_models: int, n_paid_for: int | None
) -> None:
    config = parse_config(
        {"problem": "largest_number", "population": {"size": 40}, "selection": {"k_values": [5]}, **sections}
    )
    probe = Probe(
        n_examples=4, start_s=7.0, load_s=0.5, generate_s=1.0, tokens_per_completion=3, bytes_per_completion=9
    )
    one = Estimate.model_construct(
        completions={"selection": 100}, tokens=1000, tokens_at_most=4000, seconds=60.0, disk_bytes=10, probe=probe
    )
    found = of_rounds(config, one, 1_000_000)
    assert (found.completions, found.tokens, found.tokens_at_most) == ({"selection": 300}, 3000, 12000)
    assert found.write_s == write_s
    assert found.seconds == pytest.approx(3 * 67 + 2 * write_s)
    assert found.disk_bytes == 30 + n_models * 1_000_000
    assert found.n_paid_for == n_paid_for


def test_estimate_tells_the_cost_of_all_rounds_and_check_takes_them_too(thickets, my_yaml) -> None:
    path = my_yaml(merge={}, rounds={"most": 3, "budget": {"tokens": 1}})
    status, out, _ = thickets("estimate", path)
    assert status == 0
    assert "all 3, at most" in out
    assert "the budget pays for about 1" in out
    found = json.loads(thickets("estimate", path, "--json")[1])
    assert found["tokens"] == 3 * found["one"]["tokens"]
    assert found["start_s"] > 0
    assert thickets("check", path, "--n", "0")[0] == 0
