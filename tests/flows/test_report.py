"""The report: complete, self-contained, safe with what a model writes, and the same whenever it is written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import mlflow
import polars as pl
import pytest

from tests.flows.publishing import published
from tests.flows.summaries import a_summary
from tests.flows.tiny_run import ANY_DIGITS
from tests.tiny_model import make_tiny_model
from thickets.flows.cli import main as cli
from thickets.flows.cli.tables_results import print_addresses
from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.report.collect import comparisons, headline
from thickets.flows.report.examples import _said, pick
from thickets.flows.report.look import colors
from thickets.flows.report.render import visible
from thickets.flows.results.rows import result_rows
from thickets.flows.results.runs import load_summary
from thickets.flows.results.sentences import findings
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home, RunFolder
from thickets.storage.shards.file import list_shards
from thickets.tasks.results.text import percent
from thickets.tasks.results.thinking import Thinking, ThinkingCounts

pytestmark = pytest.mark.usefixtures("prefect_server")

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}
HOSTILE = '</pre><script>alert("x")</script><img src="https://example.org/x.png">'
QUESTION = 'Is <b>"{i}"</b> & more than $1$ and {below}?'


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words += data

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.tags if attribute in attributes]


def config(folder: Path, **sections: object) -> RunConfig:
    questions = folder / "questions.jsonl"
    rows = [{"q": QUESTION.format(i=i, below=i % 3), "a": str(i % 3)} for i in range(60)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "name": "tiny",
        "model": str(folder / "model"),
        "problem": {
            "name": "file", "path": str(questions), "question_column": "q", "answer_column": "a", **ANY_DIGITS,
        },
        "data": {"selection": 8, "validation": 6, "test": 30},
        "population": {"size": 6, "sigmas": [0.05, 0.1]},
        "decoding": {"max_tokens": 8},
        "engine": {"kind": "transformers", "device": "cpu"},
        "scoring": {"examples_per_block": 10, "candidates_per_shard": 2},
        "selection": {"k_values": [3]},
        "storage": {"home": str(folder / "home")},
    }  # fmt: skip
    return parse_config(values | sections)


@pytest.fixture(scope="module", autouse=True)
def _with_figures() -> Iterator[None]:
    with published():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    make_tiny_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def run(place: Path, prefect_server: None) -> RunSummary:
    return randopt(config(place))


@pytest.fixture(scope="module")
def text(run: RunSummary) -> str:
    return RunFolder(run.folder).report.read_text(encoding="utf-8")


@pytest.fixture
def copy(run: RunSummary, tmp_path: Path) -> RunFolder:
    """The run's home again, to be spoilt."""
    home = tmp_path / "copy"
    shutil.copytree(run.folder.parents[1], home, ignore=shutil.ignore_patterns("mlflow.db", "mlartifacts"))
    return Home(home).run(run.run_id)


@pytest.fixture
def thickets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["thickets", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return call


Call = Callable[..., tuple[int, str, str]]


def home_of(folder: RunFolder) -> str:
    return str(folder.root.parents[1])


def squeezed(words: str) -> str:
    return " ".join(words.split())


def test_it_says_all_there_is_to_say(run: RunSummary, text: str) -> None:
    words = squeezed(Page(text).words)
    rivals = [rival for rival in comparisons(run) if rival.rival != "the best single expert"]
    assert headline(run, rivals) in words
    for sentence in findings(run):
        assert sentence in words
    for row in result_rows(run.evaluation):
        assert row.label in words
        assert percent(row.accuracy) in words
        assert f"{row.n_tokens:,}" in words
    for expert in run.experts:
        assert expert.seed in words
    for fact in (
        run.run_id,
        run.model_sha256,
        run.fingerprint,
        "transformers ",
        "config.yaml",
        run.tracking.mlflow_run_id,
    ):
        assert fact in words
    identity = json.loads((run.folder / "identity.json").read_text())
    for sha256 in identity["questions"].values():
        assert sha256 in words
    for name in ("score_by_sigma", "density_curve", "k_curve", "agreement_map", "cost_accuracy", "gains_bar"):
        assert f'id="{name}-figure_1"' in text
    first, _, rest = words.partition("The numbers")
    assert "The ensemble of 3 experts is" in first
    assert "The ensemble of 3 experts is" not in rest


def test_it_needs_nothing_from_elsewhere_and_names_nothing_twice(text: str) -> None:
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "image", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert "src" not in attributes
        target = attributes.get("href") or "#"
        assert target.startswith("#") or (tag == "a" and target.startswith(("http://", "https://")))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    targets = {target for target in page.all("href") if target.startswith("#")}
    targets |= {f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", text)}
    targets |= {f"#{name}" for name in page.all("aria-labelledby")}
    assert targets
    assert {target[1:] for target in targets} <= set(ids)
    assert "#fe0" not in text, "a stand-in for a colour of the page was left"


def test_it_can_be_read_without_seeing_it(text: str) -> None:
    page = Page(text)
    assert ("html", {"lang": "en"}) in page.tags
    assert [tag for tag, _ in page.tags].count("h1") == 1
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(figures) == 6
    assert all(figure["role"] == "img" and len(figure["aria-label"] or "") > 40 for figure in figures)
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_questions_and_completions_are_shown_as_they_are_and_never_carried_out(
    copy: RunFolder, run: RunSummary, thickets: Call
) -> None:
    [shards] = (copy.root.parents[1] / "shards").iterdir()
    for path in list_shards(shards):
        frame = pl.read_parquet(path)
        frame.with_columns(completion=pl.lit(f"{HOSTILE} \u202e\x00") + pl.col("completion")).write_parquet(path)
    status, out, _ = thickets("report", "latest", "--home", home_of(copy))
    assert (status, out) == (0, f"{copy.report}\n")
    page = Page(copy.report.read_text(encoding="utf-8"))
    assert HOSTILE in page.words
    assert "\ufffd␀" in page.words
    assert '<b>"' in page.words
    assert not {tag for tag, _ in page.tags} & {"script", "img", "b"}


def test_examples_are_those_of_the_scores(run: RunSummary, text: str) -> None:
    assert run.thicket is not None
    gains = run.thicket.gains
    n_fixed = gains.format_fixed + gains.reasoning_fixed + gains.unclear_fixed
    assert len(run.thicket.changed) == n_fixed + gains.regressed > 0
    shown = text.count('class="example"')
    assert shown == min(10, n_fixed + gains.regressed) or min(n_fixed, gains.regressed) > 0
    assert text.count("▼</span> regressed") == min(gains.regressed, max(3, 10 - n_fixed))


def test_examples_are_picked_in_turn_and_in_order() -> None:
    kinds = ["reasoning_fixed", "regressed", "format_fixed", "reasoning_fixed", "retained"]
    fates = {f"q{i}": kinds[i % 5] for i in range(40)}
    assert pick(fates, 10) == ["q0", "q2", "q3", "q7", "q5", "q12", "q8", "q1", "q6", "q11"]
    assert pick({"a": "regressed", "b": "regressed"}, 10) == ["a", "b"]
    assert pick({"a": "fixed", "b": "regressed"}, 10) == ["a", "b"]


@pytest.mark.slow
def test_a_run_that_was_stopped_and_went_on_has_the_same_report(place: Path, run: RunSummary, text: str) -> None:
    other = config(place, storage={"home": str(place / "other")}, scoring={"examples_per_block": 10})
    shutil.copytree(place / "home" / "shards", place / "other" / "shards")
    [shards] = (place / "other" / "shards").iterdir()
    for path in list_shards(shards)[::2]:
        path.unlink()
    resumed = randopt(other)

    def plain(page: str, summary: RunSummary) -> str:
        for varying in (
            summary.tracking.mlflow_run_id,
            summary.tracking.prefect_flow_run_id,
            str(summary.folder.parents[1]),
        ):
            assert varying in page
            page = page.replace(str(varying), "...")
        page = re.sub(r"\d+ (min \d+ )?s of engines", "", page)  # measured
        return re.sub(r"candidates_per_shard: \d", "", page)

    assert plain(RunFolder(resumed.folder).report.read_text(), resumed) == plain(text, run)


def test_writing_it_again_gives_the_same_bytes(run: RunSummary, text: str, thickets: Call, tmp_path: Path) -> None:
    home = str(run.folder.parents[1])
    status, out, _ = thickets("report", run.run_id, "--home", home, "--out", "page.html")
    assert (status, out) == (0, "page.html\n")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text


def test_a_run_whose_files_are_gone_gets_what_there_is(copy: RunFolder, thickets: Call) -> None:
    summary = load_summary(copy)
    copy.identity.unlink()
    copy.scores.unlink()
    copy.manifest.unlink()
    assert thickets("report", "latest", "--home", home_of(copy))[0] == 0
    words = squeezed(Page(copy.report.read_text()).words)
    assert findings(summary)[0] in words
    assert "Where the vote changed the answer" not in words
    assert "Score by sigma" not in words
    assert "Accuracy against K" in words


def test_completions_that_are_gone_are_said_to_be(copy: RunFolder, thickets: Call) -> None:
    shutil.rmtree(copy.root.parents[1] / "shards")
    assert thickets("report", "latest", "--home", home_of(copy))[0] == 0
    assert "The completion is no longer kept." in Page(copy.report.read_text()).words


def test_mistakes_are_one_line(copy: RunFolder, thickets: Call, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        status, out, err = thickets("report", *arguments, "--home", home_of(copy))
        assert (status, out) == (2, "")
        [line] = err.splitlines()
        return line.removeprefix("error: ")

    assert refused("nowhere").startswith("RUN: 'nowhere' fits no run")
    assert refused("latest", "--out", "no/such/page.html").startswith("--out: there is no folder no/such")
    assert refused("latest", "--out", str(tmp_path)).startswith(f"--out: {tmp_path} is a folder")
    copy.summary.unlink()
    assert "is not finished" in refused("latest")


def test_it_is_found_in_mlflow_in_prefect_and_at_the_end_of_the_run(
    run: RunSummary, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
    from rich.console import Console

    client = mlflow.MlflowClient(run.tracking.mlflow_uri)
    logged = client.download_artifacts(run.tracking.mlflow_run_id, "report.html", str(tmp_path))
    assert Path(logged).read_text(encoding="utf-8") == text
    names = {path.name for path in (run.folder / "figures").iterdir()}
    assert {"k_curve.png", "density_curve.png", "cost_accuracy.png", "gains_bar.png", "agreement_map.png"} <= names
    drawn = {Path(item.path).name for item in client.list_artifacts(run.tracking.mlflow_run_id, "figures")}
    assert drawn == names
    with get_client(sync_client=True) as prefect:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.tracking.prefect_flow_run_id]))
        artifacts = {artifact.key: artifact for artifact in prefect.read_artifacts(artifact_filter=mine)}
    assert str(artifacts["result"].data).startswith(findings(run)[0])
    assert "report.html" in str(artifacts["result"].data)
    print_addresses(run, Console(width=160))
    assert f"report:  {run.folder / 'report.html'}" in capsys.readouterr().out


def test_hidden_characters_become_visible() -> None:
    assert visible("a\r\nb\tc\x00\x1b\u202e\u2066\ud800é") == "a\nb\tc␀␛\ufffd\ufffd\ufffdé"


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_and_so_do_lines(scheme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", colors(), re.DOTALL)[scheme]
    known = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))

    def contrast(front: str, back: str) -> float:
        pair = sorted((luminance(known[front]), luminance(known[back])))
        return (pair[1] + 0.05) / (pair[0] + 0.05)

    texts = [(front, back) for front in ("ink", "muted", "good", "bad", "series-0") for back in ("paper", "raised")]
    texts += [("good", "good-back"), ("bad", "bad-back"), ("even", "even-back"), ("ink", "marked")]
    assert {pair: contrast(*pair) for pair in texts if contrast(*pair) < 4.5} == {}
    lines = [(f"series-{index}", "paper") for index in range(6)]
    assert {pair: contrast(*pair) for pair in lines if contrast(*pair) < 3} == {}


def test_a_reply_is_shown_without_its_thoughts() -> None:
    counts = ThinkingCounts(n=1, n_thought=1, n_unfinished=0, n_tokens=9, n_thinking_tokens=5)
    thinking = Thinking(tags=("<think>", "</think>"), is_open=False, base=counts, experts=counts)
    plain = a_summary()
    thoughtful = plain.model_copy(update={"thinking": thinking})
    opened = plain.model_copy(update={"thinking": thinking.model_copy(update={"is_open": True})})
    assert _said("<think>pages</think> 12", thoughtful) == "12"
    assert _said("<think>pages", thoughtful) == _said("pages", opened) == "(a thought that is not finished)"
    assert _said("<think>pages", plain) == "<think>pages"
