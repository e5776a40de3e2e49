"""`thickets materialize` from the command line, on a finished run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.flows.command_line import Result, refused
from tests.tiny_model import make_tiny_model
from thickets.flows.cli import main as cli
from thickets.flows.config.file import parse_config
from thickets.flows.randopt import randopt
from thickets.flows.report.reproduce import reproduction
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import RunFolder
from thickets.storage.models.manifest import EnsembleManifest
from thickets.storage.models.weights import WEIGHTS
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.export.card import AverageFacts, ExpertFacts
from thickets.tasks.noise import Perturbation
from thickets.tasks.serving.opening import open_ensemble
from thickets.tasks.types import Average, Candidate

PERTURBATION = Perturbation(exclude=("*.mlp.*",), scale=(("*norm*", 0.25), ("*q_proj*", 3.7)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> RunSummary:
    """A run of a model of its own, in bfloat16 although the checkpoint is float32, with patterns and factors."""
    folder = tmp_path_factory.mktemp("materialize")
    return randopt(
        parse_config(
            {
                "name": "tiny",
                "model": str(make_tiny_model(folder / "model")),
                "problem": {"name": "largest_number", "options": {"below": 30, "count": 2}},
                "data": {"selection": 12, "validation": 4, "test": 4},
                "population": {"size": 6, "sigmas": [0.1, 0.2], "seed": 2**64 - 1},
                "noise": {"exclude": list(PERTURBATION.exclude), "scale": dict(PERTURBATION.scale)},
                "decoding": {"max_tokens": 8},
                "engine": {"kind": "transformers", "device": "cpu", "dtype": "bfloat16"},
                "selection": {"k_values": [3]},
                "storage": {"home": str(folder / "home")},
            }
        )
    )


@pytest.fixture
def thickets(thickets: Callable[..., Result], capsys: pytest.CaptureFixture[str], run: RunSummary):
    """Call `thickets materialize` on the run's home; gives exit status, standard output and standard error."""
    capsys.readouterr()

    def call(*arguments: str, home: Path = run.folder.parents[1]) -> Result:
        return thickets("materialize", *arguments, "--home", str(home))

    return call


@pytest.fixture
def copy_of(run: RunSummary, tmp_path: Path) -> Callable[[], Path]:
    """A home of the same run that a test may spoil; gives its run folder."""

    def copy() -> Path:
        shutil.copytree(run.folder.parents[1], tmp_path / "copy")
        return tmp_path / "copy" / "runs" / run.run_id

    return copy


def held(folder: Path, candidate: Candidate | None, **changes) -> str:
    engine = TransformersEngine(EngineSpec("transformers", folder, PERTURBATION, **changes))
    engine.load(candidate)
    return engine.weights_sha256()


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_every_rank_is_the_candidate_the_run_scored(thickets, run: RunSummary, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(json_config(run)["model"], base)
    digests = set()
    for rank in range(1, 7):
        status, out, err = thickets("latest", f"rank-{rank}", "--rank", str(rank))
        assert (status, out) == (0, f"rank-{rank}\n")
        assert f"vllm serve rank-{rank}" in err
        facts = ExpertFacts.load(tmp_path / f"rank-{rank}")
        assert facts.selection is not None
        assert (facts.selection.rank, facts.selection.n_candidates, facts.selection.n) == (rank, 6, 12)
        found = held(tmp_path / f"rank-{rank}", None)
        assert found == held(base, Candidate(facts.seed, facts.sigma), dtype="bfloat16")
        digests.add(found)
    assert len(digests) == 6


def test_an_ensemble_opened_from_the_manifest_holds_the_same(run: RunSummary) -> None:
    answerer = open_ensemble(EnsembleManifest.load(run.folder / "manifest.json"), device="cpu")
    try:
        engine = answerer._engine
        assert isinstance(engine, TransformersEngine)
        engine.load(Candidate(5, 0.1))
        expected = held(Path(json_config(run)["model"]), Candidate(5, 0.1), dtype="bfloat16")
        assert engine.weights_sha256() == expected
    finally:
        answerer.close()


def test_the_report_names_the_factors(run: RunSummary) -> None:
    facts = dict(reproduction(RunFolder(run.folder), run).identity)
    assert facts["noise"] == "version 1, gaussian, sigma times *norm* 0.25, *q_proj* 3.7"


def json_config(run: RunSummary) -> dict:
    import yaml

    return yaml.safe_load((run.folder / "config.yaml").read_text())


def test_the_best_expert_is_what_one_gets_without_a_rank(thickets, run: RunSummary, tmp_path: Path) -> None:
    assert thickets(run.run_id, "out")[0] == 0
    facts, best = ExpertFacts.load(tmp_path / "out"), run.experts[0]
    assert (str(facts.seed), facts.sigma) == (best.seed, best.sigma)
    assert facts.selection is not None
    assert (facts.selection.n_correct, facts.selection.n) == (best.n_correct, best.n)
    assert leftovers(tmp_path) == []


def test_the_folder_loads_with_transformers_and_no_more_than_it(thickets, tmp_path: Path) -> None:
    thickets("latest", "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


def test_the_card_and_the_facts_say_where_the_weights_come_from(thickets, run: RunSummary, tmp_path: Path) -> None:
    thickets("latest", "out", "--rank", "2")
    raw = json.loads((tmp_path / "out" / "thickets.json").read_text())
    card = (tmp_path / "out" / "README.md").read_text()
    assert raw["seed"].isdigit()  # text: it does not fit a JavaScript number
    assert raw["base"]["sha256"] == run.model_sha256
    assert raw["noise"] == {
        "version": 1,
        "family": "gaussian",
        "include": ["*"],
        "exclude": ["*.mlp.*"],
        "scale": [["*norm*", 0.25], ["*q_proj*", 3.7]],
    }
    assert (raw["run_id"], raw["fingerprint"], raw["dtype"]) == (run.run_id, run.fingerprint, "bfloat16")
    score = raw["selection"]
    for fact in (
        raw["seed"],
        repr(raw["sigma"]),
        raw["base"]["name"],
        raw["base"]["revision"],
        run.run_id,
        "version 1, gaussian, sigma times a factor for some tensors",
        f"{score['n_correct']}/{score['n']} correct, rank 2 of 6",
        f"thickets materialize {run.run_id} DIR --seed {raw['seed']} --sigma {raw['sigma']!r}",
    ):
        assert fact in card
    assert "base_model:" not in card  # a local folder is no id of the hub


def test_a_candidate_by_seed_and_sigma_is_the_one_of_that_rank(thickets, tmp_path: Path) -> None:
    thickets("latest", "by-rank", "--rank", "3")
    facts = ExpertFacts.load(tmp_path / "by-rank")
    thickets("latest", "by-seed", "--seed", str(facts.seed), "--sigma", repr(facts.sigma))
    assert ExpertFacts.load(tmp_path / "by-seed") == facts
    assert (tmp_path / "by-seed" / WEIGHTS).read_bytes() == (tmp_path / "by-rank" / WEIGHTS).read_bytes()


def test_the_average_is_what_the_engine_holds_for_the_experts(thickets, run: RunSummary, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(json_config(run)["model"], base)
    status, out, err = thickets("latest", "out", "--average")
    assert (status, out) == (0, "out\n")
    k = run.evaluation.k
    assert f"average of the {k} experts of {run.run_id}" in err
    experts = tuple(Candidate(int(row.seed), row.sigma) for row in run.experts)
    facts = AverageFacts.load(tmp_path / "out")
    assert tuple(Candidate(member.seed, member.sigma) for member in facts.members) == experts
    expected = TransformersEngine(EngineSpec("transformers", base, PERTURBATION, dtype="bfloat16"))
    expected.load(Average(experts))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, value in expected._model.state_dict().items():
        assert torch.equal(plain.state_dict()[name], value), name
    card = (tmp_path / "out" / "README.md").read_text()
    for fact in (f"# Average of {k} experts", run.run_id, "DIR --average", *(row.seed for row in run.experts)):
        assert fact in card


@pytest.mark.parametrize(
    ("option", "value"), [("--rank", "2"), ("--seed", "1"), ("--sigma", "0.1")], ids=["rank", "seed", "sigma"]
)
def test_the_average_is_of_all_experts(thickets, option: str, value: str) -> None:
    message = refused(thickets("latest", "out", "--average", option, value))
    assert message.startswith(f"--average: found together with {option} {value}")


def test_a_candidate_that_the_run_never_scored_can_be_written_too(thickets, run: RunSummary, tmp_path: Path) -> None:
    status, _, err = thickets("latest", "out", "--seed", str(2**64 - 1), "--sigma", "0.5")
    facts = ExpertFacts.load(tmp_path / "out")
    assert status == 0
    assert "not scored" in err
    assert (facts.seed, facts.sigma, facts.selection) == (2**64 - 1, 0.5, None)
    assert "not scored in this run" in (tmp_path / "out" / "README.md").read_text()
    base = Path(json_config(run)["model"])
    assert held(tmp_path / "out", None) == held(base, Candidate(2**64 - 1, 0.5), dtype="bfloat16")


@pytest.mark.parametrize("rank", ["0", "7", "-1"])
def test_a_rank_that_there_is_not_names_those_there_are(thickets, run: RunSummary, tmp_path: Path, rank: str) -> None:
    message = refused(thickets("latest", "out", "--rank", rank))
    assert message == f"--rank: found {rank}; the candidates of {run.run_id} have ranks 1 to 6"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rank", "1", "--seed", "5", "--sigma", "0.1"], "--rank: 1 and --seed/--sigma"),
        (["--seed", "5"], "--sigma: missing"),
        (["--sigma", "0.1"], "--seed: missing"),
        (["--seed", "5", "--sigma", "0"], "sigma is 0.0"),
        (["--seed", str(2**64), "--sigma", "0.1"], f"seed is {2**64}"),
    ],
)
def test_options_that_name_no_candidate_are_refused(thickets, arguments: list[str], message: str) -> None:
    assert refused(thickets("latest", "out", *arguments)).startswith(message)


def test_a_folder_with_something_in_it_is_left_alone(thickets, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    assert refused(thickets("latest", "taken")).startswith("DIR: taken is not empty (it holds thesis.txt)")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.txt"]
    assert refused(thickets("latest", "taken/thesis.txt")).startswith("DIR: taken/thesis.txt is a file")


@pytest.mark.parametrize("target", ["empty", "new/deep/folder", "link"])
def test_an_empty_folder_or_none_is_filled(thickets, tmp_path: Path, target: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert thickets("latest", target)[0] == 0
    found = {path.name for path in (tmp_path / target).iterdir()}
    assert {WEIGHTS, "config.json", "tokenizer.json", "README.md", "thickets.json"} <= found
    assert leftovers(tmp_path) == leftovers((tmp_path / target).resolve().parent) == []
    readable = [os.stat(path).st_mode & 0o777 for path in [tmp_path / target, *(tmp_path / target).iterdir()]]
    mask = os.umask(0)
    os.umask(mask)
    assert set(readable) == {0o777 & ~mask, 0o666 & ~mask}  # as any other folder and file of this user


def test_a_failure_half_way_leaves_nothing(thickets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.tasks.export.card.ExpertFacts.save", lambda self, folder: 1 / 0)
    status, _, err = thickets("latest", "out")
    assert status == 1
    assert "ZeroDivisionError" in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_fills_up_meanwhile_is_left_alone(
    thickets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def someone_else(self: ExpertFacts, folder: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").write_text("theirs")

    monkeypatch.setattr("thickets.tasks.export.card.ExpertFacts.save", someone_else)
    assert refused(thickets("latest", "out")).startswith("DIR: ")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["theirs"]
    assert leftovers(tmp_path) == []


def test_a_base_that_is_no_longer_the_same_is_refused_by_both_hashes(thickets, run: RunSummary, tmp_path: Path) -> None:
    weights = Path(json_config(run)["model"]) / WEIGHTS
    original = weights.read_bytes()
    tensors = load_file(weights)
    tensors["model.norm.weight"] += 1
    save_file(tensors, weights, metadata={"format": "pt"})
    try:
        message = refused(thickets("latest", "out"))
    finally:
        weights.write_bytes(original)
    assert message.startswith("model: the weights of ")
    assert run.model_sha256 in message
    assert message.count("SHA-256") == 1
    assert not (tmp_path / "out").exists()


def test_noise_of_another_version_is_refused(thickets, copy_of: Callable[[], Path], tmp_path: Path) -> None:
    manifest = copy_of() / "manifest.json"
    content = json.loads(manifest.read_text())
    content["noise"]["version"] = 2
    manifest.write_text(json.dumps(content))
    assert "has noise version 2" in refused(thickets("latest", "out", home=tmp_path / "copy"))


def test_an_unfinished_run_is_refused(thickets, copy_of: Callable[[], Path], tmp_path: Path) -> None:
    (copy_of() / "manifest.json").unlink()
    message = refused(thickets("latest", "out", home=tmp_path / "copy"))
    assert message.startswith("RUN: ")
    assert "is not finished" in message


def test_a_run_that_is_not_there_is_named(thickets) -> None:
    assert refused(thickets("nonesuch", "out")).startswith("RUN: 'nonesuch' fits no run")


def test_the_command_has_help_with_an_example(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["thickets", "materialize", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Example: " in capsys.readouterr().out
