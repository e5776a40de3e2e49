"""The page of several problems: complete, self-contained, safe with any name, and honest about what it cannot tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from tests.flows.made_up_group import TASKS, made_up_group
from tests.flows.publishing import published
from tests.flows.test_report import Page, squeezed
from thickets.flows.report.group import collect_group
from thickets.flows.report.render import breakable, write_page
from thickets.flows.results.comparison import Group, Pair
from thickets.flows.results.comparison_text import sentences
from thickets.flows.results.groups import GroupFolder, find_group, group_of, load_group
from thickets.flows.results.task_map_text import headline, least_correlation, map_sentences
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.tasks.results.task_map import TaskMap
from thickets.tasks.results.text import percent, points

HOSTILE = '<img src="https://example.org/x.png"><script>_</script>'


@pytest.fixture(scope="module", autouse=True)
def _with_figures() -> Iterator[None]:
    with published():
        yield


@pytest.fixture(scope="module")
def made() -> tuple[Group, TaskMap]:
    return made_up_group()


@pytest.fixture(scope="module")
def text(made: tuple[Group, TaskMap], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = GroupFolder(tmp_path_factory.mktemp("group"))
    return write_page(collect_group(*made), folder.report).read_text(encoding="utf-8")


def test_it_says_all_there_is_to_say(made: tuple[Group, TaskMap], text: str) -> None:
    group, found = made
    words = squeezed(Page(text).words)
    assert headline(group.comparison) in words
    for sentence in map_sentences(found, group.comparison):
        assert sentence in words
    for run in group.comparison.runs:
        assert run.run_id in words
        assert run.problem in words
        assert points(run.gain) in words
        for row in run.rows:
            assert row.name not in ("base", "best_single", "ensemble") or percent(row.accuracy) in words
    for each, known in zip(found.sigmas, group.comparison.discordance.sigmas, strict=True):
        assert f"Sigma {each.sigma:g}" in words
        assert f"Discordance {known.value:.2f} [{known.low:.2f}, {known.high:.2f}]" in words
        for row in each.candidates:
            assert row.candidate_id in words
        assert each.overlap is not None
        for a in range(len(TASKS)):
            for b in range(len(TASKS)):
                assert a == b or f"{known.correlations[a][b]:+.2f}" in words
                assert a == b or percent(each.overlap.shares[a][b] or 0, 0) in words
    for transfer in found.transfers:
        assert f"{100 * transfer.difference.value:+.1f}" in words
    assert f"thickets report {group.group_id}" in words


def test_every_cell_of_the_map_is_drawn_and_every_sigma_apart(made: tuple[Group, TaskMap], text: str) -> None:
    drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawn) == len(made[1].sigmas) == 2
    for each, svg in zip(made[1].sigmas, drawn, strict=True):
        numbers = re.findall(r">(0|[+-]\d+)(\*?)</", svg)
        cells = [
            (f"{100 * gap:+.0f}" if gap else "0", "*" if differs else "")
            for row in each.candidates
            for gap, differs in zip(row.over_base, row.differs, strict=True)
        ]
        assert numbers == cells


def test_it_needs_nothing_from_elsewhere_and_names_nothing_twice(text: str) -> None:
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "image", "iframe", "object", "embed", "form"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert (attributes.get("href") or "#").startswith("#")
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in page.all("href")} <= set(ids)
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    assert "#fe0" not in text, "a stand-in for a colour of the page was left"


def test_names_are_shown_as_they_are_and_never_carried_out(tmp_path: Path) -> None:
    group, found = made_up_group((HOSTILE, "b"))
    page = Page(write_page(collect_group(group, found), tmp_path / "report.html").read_text(encoding="utf-8"))
    assert HOSTILE in page.words
    assert not {tag for tag, _ in page.tags} & {"script", "img"}


def test_the_same_values_give_the_same_page(made: tuple[Group, TaskMap], text: str, tmp_path: Path) -> None:
    page = write_page(collect_group(*made), tmp_path / "page.html")
    assert page.read_text(encoding="utf-8") == text
    assert not (tmp_path / "report.html").exists()


def test_without_a_map_the_page_has_the_reason_and_the_results(made: tuple[Group, TaskMap], tmp_path: Path) -> None:
    group, reason = made[0], "the runs search around different base models"
    table = group.comparison.discordance.model_copy(update={"reason": reason, "sigmas": ()})
    apart = group.model_copy(
        update={"comparison": group.comparison.model_copy(update={"discordance": table})},
    )
    words = squeezed(Page(write_page(collect_group(apart, reason), tmp_path / "report.html").read_text()).words)
    assert f"The candidates cannot be compared across the tasks: {reason}." in words
    assert "Candidates by tasks" not in words
    assert percent(group.comparison.runs[0].rows[-1].accuracy) in words


def test_few_candidates_are_said_to_be_too_few(tmp_path: Path) -> None:
    group, found = made_up_group(n=5, k=1)
    said = map_sentences(found, group.comparison)
    assert "At sigma 0.004 there are too few candidates for a quarter of them to be compared." in said
    assert "it cannot be told whether the tasks want different candidates" in headline(group.comparison)
    assert write_page(collect_group(group, found), tmp_path / "report.html").is_file()


def test_a_task_that_ranks_nobody_is_left_out_and_named(tmp_path: Path) -> None:
    group, found = made_up_group(names=("a", "b", "c"), flat="b")
    said = map_sentences(found, group.comparison)
    for sigma in (0.004, 0.008):
        assert any(
            line.startswith(f"At sigma {sigma:g}, b is left out of the discordance, since all 16") for line in said
        )
    page = Page(write_page(collect_group(group, found), tmp_path / "report.html").read_text())
    assert squeezed(page.words).count("(?)") + page.words.count("?") >= 2


def test_experts_that_another_task_did_not_ask_are_said_to_be(made: tuple[Group, TaskMap], tmp_path: Path) -> None:
    group, found = made
    fewer = found.model_copy(update={"transfers": found.transfers[2:]})
    words = Page(write_page(collect_group(group, fewer), tmp_path / "report.html").read_text()).words
    assert words.count("not asked") == 2


def test_the_sentences_count_what_the_map_holds(made: tuple[Group, TaskMap]) -> None:
    group, found = made
    said = map_sentences(found, group.comparison)
    for each in found.sigmas:
        cells = [cell for row in each.candidates for cell in zip(row.over_base, row.differs, strict=True)]
        above, below = (sum(told and sign * gap > 0 for gap, told in cells) for sign in (1, -1))
        assert any(
            line.startswith(f"At sigma {each.sigma:g}, {above + below} of 80 cells") and f"{above} above it" in line
            for line in said
        )
    own = [each for each in found.transfers if each.experts_of == each.on]
    better = sum(each.difference.is_clear and each.difference.value > 0 for each in own)
    assert any(f"better than the base in {better}, " in line and "test split" in line for line in said)


def test_a_correlation_that_candidates_can_tell_is_that_of_fisher() -> None:
    assert least_correlation(3) is None
    assert least_correlation(16) == pytest.approx(0.4958, abs=1e-3)
    assert (least_correlation(1000) or 1) < 0.07


def test_what_holds_of_every_pair_is_said_once() -> None:
    found = made_up_group()[0].comparison
    ids = [run.run_id for run in found.runs]

    def said(reasons: dict[tuple[str, str], str | None]) -> list[str]:
        pairs = [
            Pair(ours=ours, theirs=theirs, difference=None, sentence=f"{ours}, {theirs}: {why}.", reason=why)
            for (ours, theirs), why in reasons.items()
        ]
        everything = sentences(found.model_copy(update={"pairs": tuple(pairs)}))
        return [line for line in everything if not line.startswith("Discordance")]

    every = dict.fromkeys(combinations(ids, 2), "they answered other problems")
    assert said(every) == [
        "No two of the ensembles are paired by question: they answered other problems, so no difference is given."
    ]
    first, *rest = every
    assert said({**every, first: "they answered other test questions"}) == [
        f"{first[0]}, {first[1]}: they answered other test questions.",
        "Ensembles that are not paired, so that no difference is given, because they answered other problems: "
        + "; ".join(f"{ours} and {theirs}" for ours, theirs in rest)
        + ".",
    ]
    assert said({first: None}) == [f"{first[0]}, {first[1]}: None."]  # stored by an earlier version


def test_names_break_after_their_joints_and_stay_safe() -> None:
    assert breakable("reasoning_gym:a-b") == "reasoning_<wbr>gym:<wbr>a-<wbr>b"
    assert breakable("<b>_x") == "&lt;b&gt;_<wbr>x"


def test_a_group_is_found_by_its_id_or_the_beginning_of_it(made: tuple[Group, TaskMap], tmp_path: Path) -> None:
    home = Home(tmp_path)
    first, second = (group_of(home, "many", [name, "b"]) for name in "ac")
    assert first.root != second.root
    assert group_of(home, "many", ["a", "b"]) == first
    assert find_group(home, "many") is None
    for folder in (first, second):
        folder.root.mkdir(parents=True)
        folder.comparison.write_text(made[0].model_dump_json())
    assert find_group(home, "many") is None, "two begin so"
    assert find_group(home, first.group_id) == first
    assert find_group(home, second.group_id[:-1]) == second
    assert load_group(first) == made[0]
    first.comparison.write_text("{}")
    with pytest.raises(InputError, match=r"^RUN: .* does not fit this version"):
        load_group(first)


def test_figures_of_very_many_candidates_are_left_to_sql() -> None:
    group, found = made_up_group(names=("a", "b"), n=400)
    report = collect_group(group, found)
    assert not report.is_listed
    assert [plot.caption.partition(":")[0] for plot in report.plots] == ["120 of 400 candidates"] * 2


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_the_preset_of_five_tasks_ends_with_its_page(thickets, tiny_model: Path, tmp_path: Path) -> None:
    """The preset on the tiny model: the page is written, logged, named, and the same when it is written again."""
    import mlflow

    small = {
        "model": str(tiny_model),
        "engine.batch_size": 32,
        "data": "{selection: 6, validation: 4, test: 6}",
        "population": "{size: 8, sigmas: [0.1, 0.3]}",
        "decoding.max_tokens": 4,
        "selection.k_values": "[1]",
    }
    home = tmp_path / "home"
    overrides = [word for name, value in small.items() for word in ("--set", f"{name}={value}")]
    status, out, _ = thickets("run", "thicket-map", *overrides, "--home", str(home))
    assert status == 0
    [folder] = (home / "groups").iterdir()
    group = GroupFolder(folder)
    assert f"report:  {group.report}\n" in out
    page = group.report.read_text(encoding="utf-8")
    words = squeezed(Page(page).words)
    for label in ("largest", "sums", "multiples", "notations", "names"):
        assert label in words
    assert page.count("<svg") == 2
    # Random weights answer nothing right, so nobody is above the base, and the page says that it cannot be told.
    assert "it cannot be told whether the tasks want different candidates" in words

    group.report.unlink()
    status, out, _ = thickets("report", "thicket-map", "--home", str(home))
    assert (status, out) == (0, f"{group.report}\n")
    assert group.report.read_text(encoding="utf-8") == page
    status, out, _ = thickets("report", group.group_id, "--home", str(home), "--out", "page.html")
    assert (status, out) == (0, "page.html\n")

    client = mlflow.MlflowClient(f"sqlite:///{Home(home).mlflow_db.resolve()}")
    [parent] = client.search_runs(["1"], f"tags.`thickets.run_id` = '{group.group_id}'")
    assert {"report.html", "comparison.json"} <= {item.path for item in client.list_artifacts(parent.info.run_id)}
    drawn = {item.path for item in client.list_artifacts(parent.info.run_id, "figures")}
    assert drawn == {"figures/task_map_0.png", "figures/task_map_1.png"}
