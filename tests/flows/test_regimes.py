"""Several models on one problem: what is said of them, what is refused, and that each is the run it would be alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import mlflow
import pytest

from tests.flows.command_line import refused
from tests.flows.made_up_group import made_up_group
from tests.flows.made_up_regimes import a_regime, made_up_regimes
from tests.flows.publishing import published
from tests.flows.test_report import Page, squeezed
from tests.flows.tiny_run import tiny_sections
from tests.tiny_model import make_tiny_model
from thickets import regimes
from thickets.flows.config.file import dump_config, parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.regimes.floor import floor_model
from thickets.flows.regimes.flow import randopt_regimes
from thickets.flows.regimes.members import check_members, smallest, with_floor
from thickets.flows.report.regimes import collect_regimes
from thickets.flows.report.render import page, write_page
from thickets.flows.results.groups import GroupFolder, find_group, group_with, load_regimes
from thickets.flows.results.regimes_text import (
    COLUMNS,
    course,
    headline,
    regimes_markdown,
    regimes_rows,
    regimes_sentences,
    title,
)
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.tasks.figures.regimes import accuracy_by_size, density_by_size, places
from thickets.tasks.results.regimes import Regimes
from thickets.tasks.results.text import percent, points, short_size
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.statistics import share

HOSTILE = '<img src="https://example.org/x.png"><script>_</script>'
SIGNALS = ["signals-thicket", "signals-plateau"]


@pytest.fixture(scope="module", autouse=True)
def _with_figures() -> Iterator[None]:
    with published():
        yield


@pytest.fixture(scope="module")
def made() -> Regimes:
    return made_up_regimes()


@pytest.fixture(scope="module")
def text(made: Regimes, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = GroupFolder(tmp_path_factory.mktemp("group"))
    return write_page(collect_regimes(made), folder.report).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two models of different size."""
    folder = tmp_path_factory.mktemp("models")
    return [str(make_tiny_model(folder / f"tiny-{width}", head_dim=width)) for width in (16, 8)]


def a_config(home: Path, **sections: object) -> RunConfig:
    values = {**tiny_sections(Path("unused")), "name": "sizes", "storage": {"home": str(home)}}
    return parse_config(values | sections)


# What is said.


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((1, 30, 70, 99), "rises"),
        ((99, 70, 30, 1), "falls"),
        ((10, 12, 50, 55), "higher"),
        ((55, 50, 12, 10), "lower"),
        ((10, 90, 90, 12), "unclear"),
        ((10, 12, 14, 16), "unclear"),
    ],
)
def test_a_course_is_one_only_where_intervals_lie_apart(counts: tuple[int, ...], said: str) -> None:
    assert course([share(count, 100) for count in counts]) == said


def test_no_trend_is_claimed_where_the_ends_overlap(made: Regimes) -> None:
    assert headline(made).startswith("No trend of the solution density at 5 points with the number of parameters: 9 %")


def test_with_four_models_a_trend_is_claimed_from_neighbour_to_neighbour() -> None:
    spreads = {100: 0.1, 1_000: 2, 10_000: 4, 100_000: 30}
    models = [a_regime(f"m{n}", n, base=128, spread=spread, n=400) for n, spread in spreads.items()]
    densities = [each.density(5) for each in models]
    assert course(densities) == "rises", [each.value for each in densities]
    assert "From model to model the solution density at 5 points rises" in headline(made_up_regimes(models))
    few = made_up_regimes(models[1:])
    assert headline(few).startswith("The thicket around m100000 is denser than that around m1000: ")
    assert "With 3 models no trend with size is claimed" in regimes_sentences(few)[0]


def test_of_models_whose_intervals_overlap_none_is_called_denser() -> None:
    models = [a_regime("a", 100, n=9), a_regime("b", 200, n=9)]
    assert headline(made_up_regimes(models)) == (
        "Which of the 2 models has the denser thicket cannot be told: the intervals overlap."
    )


def test_models_of_one_size_say_nothing_about_size() -> None:
    models = [a_regime(name, 100, spread=spread) for name, spread in (("a", 1), ("b", 2), ("c", 4), ("d", 9))]
    found = made_up_regimes(models)
    assert "nothing here is about size" in regimes_sentences(found)[0]
    assert "number of parameters" not in headline(found)


def test_a_base_without_room_a_floor_and_other_prompts_are_told_of() -> None:
    models = [
        a_regime("random weights", 100, base=2, vote=4, best=3, is_floor=True),
        a_regime("weak", 100, base=3, vote=6, best=5, prompt_form="plain"),
        a_regime("full", 200, base=256, vote=256, best=256, tokenizer="own"),
    ]
    said = " ".join(regimes_sentences(made_up_regimes(models)))
    assert "Nothing can be 5 points above the base of full, so a density of 0 there says nothing." in said
    assert "these differ: 0.0 % (the floor) to 100.0 % (full)" in said or "(weak) to 100.0 % (full)" in said
    assert "The vote's accuracy is above the floor's around full" in said
    assert "The vote's accuracy around weak is not told from the floor's, or below it." in said
    assert "The models have 2 forms of prompt (chat templates): weak; full." in said
    assert "The models have 2 tokenizers: weak; full." in said
    alone = " ".join(regimes_sentences(made_up_regimes([a_regime("a", 100), a_regime("b", 200)])))
    assert "floor" not in alone
    assert "tokenizers" not in alone


def test_sizes_are_short() -> None:
    assert [short_size(n) for n in (17, 14_608, 134_515_008, 7_615_616_512)] == ["17", "14.6K", "135M", "7.62B"]


# What is drawn.


def test_the_page_says_all_there_is_to_say(made: Regimes, text: str) -> None:
    words = squeezed(Page(text).words)
    assert headline(made) in words
    for sentence in regimes_sentences(made):
        assert sentence in words
    for each in made.models:
        assert title(each) in words
        assert f"{short_size(each.n_parameters)} parameters, K = 5" in words
        for score in (each.base, each.best_single, each.vote):
            assert percent(score) in words
        assert points(each.vote_minus_base) in words
        assert all(value in words for value in (each.run_id, each.model_sha256, f"{each.n_parameters:,}"))
        for row in each.sigmas:
            assert percent(each.density(20, row.sigma).value) in words
    assert f"thickets report {made.group_id}" in words
    assert text.count("<svg") == 2


def test_it_needs_nothing_from_elsewhere_and_names_nothing_twice(text: str) -> None:
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "image", "iframe", "object", "embed", "form"}
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in page.all("href")} <= set(ids)
    assert "#fe0" not in text, "a stand-in for a colour of the page was left"


def test_names_are_shown_as_they_are_and_never_carried_out(tmp_path: Path) -> None:
    found = made_up_regimes([a_regime(HOSTILE, 100), a_regime("_$b$", 200)])
    page = Page(write_page(collect_regimes(found), tmp_path / "report.html").read_text(encoding="utf-8"))
    assert HOSTILE in page.words
    assert not {tag for tag, _ in page.tags} & {"script", "img"}


def test_the_floor_stands_apart_and_models_of_one_size_side_by_side() -> None:
    floor = a_regime("random weights", 1000, is_floor=True)
    xs, width = places(made_up_regimes([floor, a_regime("a", 1000), a_regime("b", 1000), a_regime("c", 1_000_000)]))
    assert xs == sorted(xs)
    assert all(right - left > 0.1 * width for left, right in pairwise(xs))
    assert sum(xs[1:3]) / 2 == pytest.approx(3)
    assert xs[3] == pytest.approx(6)
    assert len(places(made_up_regimes([a_regime("a", 10), a_regime("b", 100)]))[0]) == 2


def test_every_density_and_accuracy_is_a_point_of_the_figures(made: Regimes) -> None:
    def heights(figure) -> list[float]:  # type: ignore[no-untyped-def]
        axes = figure.axes[0]
        return sorted(float(y) for bar in axes.containers for y in bar.lines[0].get_ydata())

    drawn = [each.density(5, row.sigma).value for each in made.models for row in each.sigmas]
    assert heights(density_by_size(made)) == sorted(drawn)
    scores = [score.value for each in made.models for score in (each.base, each.best_single, each.vote)]
    assert heights(accuracy_by_size(made)) == sorted(scores)


# What is found again.


def test_the_last_group_of_a_run_is_found_whatever_its_kind(made: Regimes, tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert group_with(home, "made-up-0") is None
    group, _ = made_up_group()
    several = GroupFolder(tmp_path / "groups" / "several")
    several.root.mkdir(parents=True)
    several.comparison.write_text(group.model_dump_json())
    sizes = GroupFolder(tmp_path / "groups" / "sizes")
    sizes.root.mkdir()
    sizes.regimes.write_text(made.model_dump_json())
    assert group_with(home, group.run_ids[1]) == several
    assert group_with(home, made.models[2].run_id) == sizes == find_group(home, "siz")
    assert group_with(home, "made-up") is None
    sizes.regimes.write_text("{}")
    assert group_with(home, made.models[2].run_id) is None
    with pytest.raises(InputError, match=r"^RUN: .* does not fit this version"):
        load_regimes(sizes)


def test_the_latest_run_says_that_it_is_one_of_several(
    finished: RunSummary, config: Callable[..., RunConfig], thickets: Callable[..., tuple[int, str, str]]
) -> None:
    home = str(config().storage.home)
    assert "several" not in thickets("report", "latest", "--home", home)[2]
    found = made_up_regimes([a_regime("a", 1).model_copy(update={"run_id": finished.run_id}), a_regime("b", 2)])
    folder = GroupFolder(Path(home) / "groups" / found.group_id)
    folder.root.mkdir(parents=True)
    folder.regimes.write_text(found.model_dump_json())
    status, out, said = thickets("report", "latest", "--home", home)
    assert (status, out) == (0, f"{finished.folder / 'report.html'}\n")
    assert f"this is one run of several; their page: thickets report {found.group_id} --home {home}\n" in said
    assert "several" not in thickets("report", finished.run_id, "--home", home)[2]


# What is refused, before anything is scored or written.


def test_models_that_cannot_be_compared_are_refused(models: list[str], tmp_path: Path) -> None:
    config = a_config(tmp_path / "home")
    (tmp_path / "again").symlink_to(models[0])
    cases = {
        (): "models: found 0; a comparison takes two models or more",
        (models[0],): rf"models: found 1 \({models[0]}\); a comparison takes two",
        (models[0], models[1], models[0]): r"models\[2\] repeats models\[0\]",
        (models[0], str(tmp_path / "again")): r"models\[1\] .* has the weights of models\[0\]",
        (models[0], "nowhere"): r"models\[1\]: model: there is no 'nowhere'",
    }
    for named, message in cases.items():
        with pytest.raises(InputError, match=message):
            check_members(config, named)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problem": None, "problems": ["signals", "largest_number"]}, "problems: found 2"),
        ({"revision": "main"}, "revision is 'main', but several models are named"),
        ({"merge": {}, "rounds": {"most": 2}}, "rounds: several models are compared by a single search"),
    ],
)
def test_settings_for_something_else_are_named(change: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        check_members(a_config(tmp_path, **change), ["a", "b"])


def test_the_command_takes_the_models_behind_one_option_and_refuses_one_alone(
    thickets: Callable[..., tuple[int, str, str]], models: list[str], tmp_path: Path
) -> None:
    (tmp_path / "my.yaml").write_text(dump_config(a_config(tmp_path / "home")))
    assert "models: found 1" in refused(thickets("regimes", "my.yaml", "--models", models[0]))
    said = refused(thickets("regimes", "my.yaml", "--models", models[0], models[1], "nowhere"))
    assert said.startswith("models[2]: model: there is no 'nowhere'")
    assert not (tmp_path / "home").exists()


# The floor.


def test_the_floor_is_written_once_with_the_smallest_models_tokenizer(models: list[str], tmp_path: Path) -> None:
    config, home = a_config(tmp_path), Home(tmp_path)
    members = check_members(config, models)
    least = smallest(members)
    assert least.config.model == models[1]
    folder = floor_model(home, least.base)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert floor_model(home, least.base) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    *others, floor = with_floor(config, members, folder)
    assert others == list(members)
    assert (floor.is_floor, floor.name, floor.base.n_parameters) == (True, "random weights", least.base.n_parameters)
    assert (floor.tokenizer, floor.prompt_form) == (least.tokenizer, least.prompt_form)


def test_a_model_that_has_learnt_nothing_is_the_floor_itself(tmp_path: Path) -> None:
    config = a_config(tmp_path, problem="signals", engine={}, decoding={})
    members = check_members(config, ["signals-needle", *SIGNALS])
    folder = floor_model(Home(tmp_path), smallest(members).base)
    found = with_floor(config, members, folder)
    assert [(each.name, each.is_floor) for each in found] == [
        (SIGNALS[0], False),
        (SIGNALS[1], False),
        ("signals-needle", True),
    ]
    with pytest.raises(InputError, match="models: found 1 beside signals-needle, whose weights are random"):
        with_floor(config, members[:2], folder)


# The flow.


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_each_model_is_the_run_it_would_be_alone_and_none_is_scored_again(
    models: list[str], tmp_path: Path, thickets: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = a_config(tmp_path / "home", population={"size": 6, "sigmas": [0.05, 0.1]}, selection={"k_values": [1, 3]})
    alone = randopt(config.model_copy(update={"model": models[1]}))
    found = regimes(config, models)
    assert [each.model for each in found.trained] == [models[1], models[0]]
    assert found.trained[0].run_id == alone.run_id
    assert found.floor is not None
    assert found.models[0] == found.floor
    assert len({each.model_sha256 for each in found.models}) == 3

    home = Home(tmp_path / "home")
    [kept] = (home.root / "groups").iterdir()
    group = find_group(home, "sizes")
    assert group is not None
    assert group.root == kept
    assert load_regimes(group) == found
    page = group.report.read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert headline(found) in squeezed(Page(page).words)

    client = mlflow.MlflowClient(f"sqlite:///{home.mlflow_db.resolve()}")
    [parent] = client.search_runs(["1"], f"tags.`thickets.run_id` = '{found.group_id}'")
    assert parent.data.params["model"] == ", ".join(each.model for each in found.models)
    assert parent.data.tags["mlflow.note.content"] == regimes_markdown(found)
    assert parent.data.metrics["floor.vote"] == pytest.approx(found.floor.vote.value)
    below = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.data.tags["thickets.run_id"] for run in below} == {each.run_id for each in found.models}
    assert {"regimes.json", "report.html"} <= {item.path for item in client.list_artifacts(parent.info.run_id)}
    drawn = {item.path for item in client.list_artifacts(parent.info.run_id, "figures")}
    assert drawn == {"figures/density_by_size.png", "figures/accuracy_by_size.png"}

    monkeypatch.setattr(ScoringWorker, "score", lambda self, shard: pytest.fail(f"{shard.id} was scored again"))
    assert randopt_regimes(config, models) == found
    fewer = randopt_regimes(config, models, floor=False)
    assert fewer.models == found.trained
    group.report.unlink()
    assert thickets("report", found.group_id, "--home", str(home.root))[:2] == (0, f"{group.report}\n")
    assert group.report.read_text(encoding="utf-8") == page
    (tmp_path / "my.yaml").write_text(dump_config(config))
    status, out, _ = thickets("regimes", "my.yaml", "--models", *models, "--json")
    assert status == 0
    assert Regimes.model_validate(json.loads(out)) == found


def test_the_cost_of_the_vote_stands_beside_it() -> None:
    counted = a_regime("A", 10**6)
    found = made_up_regimes([counted, a_regime("B", 10**7).model_copy(update={"cost": None})])
    first, second = regimes_rows(found)
    assert dict(zip(COLUMNS, first, strict=True))["tokens to get"] == "1.20 M"
    assert dict(zip(COLUMNS, first, strict=True))["tokens to use"] == "5.0×"
    assert second[-2:] == ("", "")
    text = page(collect_regimes(found))
    assert text.count("1.20 M to get, 5.0× to use") == 1
