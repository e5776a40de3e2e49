"""The signals engine: many candidates at once, each as if it were alone; and models that are made, not shipped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

import thickets.tasks.engines.base_model
from thickets.storage.errors import InputError
from thickets.storage.models.base import resolve_model
from thickets.storage.shards.folder import LocalShardFolder
from thickets.tasks.engines import BatchEngine, EngineSpec, build_engine, library_versions, resolve_spec
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.engines.noise_scale import settled
from thickets.tasks.engines.prompts import ValuesTemplate
from thickets.tasks.engines.signals import SLOTS, SignalsEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.noise.reference import perturbed
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.units import Shard, UnitReport, make_blocks
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.signals.families import MIX
from thickets.tasks.signals.network import SignalsNetwork, load_network
from thickets.tasks.signals.pretraining import made_model, pretrain
from thickets.tasks.signals.recipe import RECIPES, Pretraining, SignalsConfig, read_config
from thickets.tasks.signals.values import read, to_values, write
from thickets.tasks.types import Attempt, Candidate, Completion, Respondent, Sampling

QUICK = SignalsConfig(pretraining=Pretraining(families=MIX, steps=40))
PROBLEM = load_problem(ProblemConfig(name="signals"))
EXAMPLES = PROBLEM.examples(21, seed=0)
PROMPTS = [example.question for example in EXAMPLES]
GREEDY = PROBLEM.sampling
CANDIDATES = [Candidate(seed, sigma) for seed in range(25) for sigma in (0.01, 0.05, 0.2)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_model("quick", QUICK, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def engine(model: Path) -> SignalsEngine:
    return SignalsEngine(EngineSpec("signals", model, Perturbation(), device="cpu"))


def texts(answers: Sequence[Completion]) -> list[str]:
    return [answer.text for answer in answers]


def alone(engine: SignalsEngine, candidate: Candidate | None, sampling: Sampling = GREEDY) -> list[str]:
    engine.load(candidate)
    return texts(engine.generate(PROMPTS, sampling))


def plainly(model: Path, candidate: Candidate | None) -> list[str]:
    """One perturbed network, by the reference noise, in PyTorch's everyday way."""
    network = load_network(model)
    if candidate is not None:
        for name, parameter in network.named_parameters():
            flat = perturbed(
                parameter.numpy().reshape(-1), dtype="float32", seed=candidate.seed, sigma=candidate.sigma, name=name
            )
            parameter.copy_(torch.from_numpy(flat).view(parameter.shape))
    found = []
    for prompt in PROMPTS:
        levels = read(prompt).tolist()
        for _ in range(GREEDY.max_tokens):
            window = torch.tensor(to_values(levels[-16:]), dtype=torch.float32)[None]
            levels.append(int(network(window)[0].argmax()))
        found.append(write(levels[16:]))
    return found


def test_a_candidate_answers_like_one_perturbed_network_on_its_own(engine: SignalsEngine, model: Path) -> None:
    chosen: list[Candidate | None] = [None, *CANDIDATES[:6]]
    engine.load_many(chosen)
    answers = engine.generate_many(PROMPTS, [GREEDY] * len(chosen))
    assert [texts(each) for each in answers] == [plainly(model, candidate) for candidate in chosen]
    assert len({tuple(texts(each)) for each in answers}) == len(chosen)
    assert all((a.n_tokens, a.finish_reason) == (12, "length") for each in answers for a in each)


@pytest.mark.parametrize(
    "division", [[75], [SLOTS, SLOTS, 75 - 2 * SLOTS], [1] * 75, [7] * 10 + [5], [SLOTS + 1, 74 - SLOTS]]
)
def test_answers_do_not_depend_on_the_company(engine: SignalsEngine, division: list[int]) -> None:
    """With logits, not texts, so that a difference in the last bit shows; in another order each time."""
    assert sum(division) == len(CANDIDATES)
    windows = torch.from_numpy(to_values([read(prompt) for prompt in PROMPTS])).float().expand(SLOTS, -1, -1)
    windows = windows.contiguous()

    def logits(order: Sequence[Candidate], sizes: Sequence[int]) -> dict[Candidate, torch.Tensor]:
        found, start = {}, 0
        for size in sizes:
            engine.load_many(order[start : start + size])
            for place, stack in enumerate(engine._stacks):
                scored = engine._forward(stack, windows)
                found |= dict(zip(order[start : start + size][place * SLOTS :], scored, strict=False))
            start += size
        return found

    expected = logits(CANDIDATES, [len(CANDIDATES)])
    shuffled = sorted(CANDIDATES, key=lambda c: (c.seed * 7919 + int(1000 * c.sigma)) % 101)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = logits(shuffled, division)
    finally:
        torch.set_num_threads(threads)
    assert found.keys() == expected.keys() == set(CANDIDATES)
    assert all(torch.equal(found[candidate], expected[candidate]) for candidate in CANDIDATES)


def test_nothing_of_a_candidate_is_left_behind(engine: SignalsEngine) -> None:
    before = alone(engine, None)
    assert alone(engine, CANDIDATES[2]) != before
    assert alone(engine, None) == before


def test_samples_are_draws_of_their_seed_alone(engine: SignalsEngine) -> None:
    samplings = [replace(GREEDY, temperature=0.7, seed=seed) for seed in range(40)]
    engine.load_many([None] * 40 + [CANDIDATES[0]])
    together = engine.generate_many(PROMPTS, [*samplings, GREEDY])
    assert len({tuple(texts(answers)) for answers in together}) == 41
    assert texts(together[37]) == alone(engine, None, samplings[37])
    assert texts(together[40]) == alone(engine, CANDIDATES[0])
    assert alone(engine, None, replace(GREEDY, temperature=1e-6, seed=1)) == alone(engine, None)


def test_parameters_have_factors_of_their_own(model: Path) -> None:
    base = {name: tensor.detach().view(-1).numpy() for name, tensor in load_network(model).named_parameters()}
    left, first, *others = base
    ref = resolve_model(str(model))
    asked = Perturbation(scale=((left, 0.0), (first, 0.1)))
    engine = SignalsEngine(EngineSpec("signals", model, settled(asked, None, ref), device="cpu"))
    engine.load_many([None, CANDIDATES[1]])
    for name, before in base.items():
        factor = {left: 0.0, first: 0.1}.get(name, 1.0)
        expected = before
        if factor:
            expected = perturbed(
                before, dtype="float32", seed=CANDIDATES[1].seed, sigma=CANDIDATES[1].sigma * factor, name=name
            )
        assert torch.equal(engine._stacks[0][name][1].view(-1), torch.from_numpy(expected)), name
    assert others
    ruled = settled(asked, "balanced", ref)
    assert ruled.scale[:2] == asked.scale
    assert len(ruled.scale) == len(base)


def test_only_the_chosen_parameters_are_perturbed(model: Path) -> None:
    some = SignalsEngine(EngineSpec("signals", model, Perturbation(include=("layers.0.*",)), device="cpu"))
    some.load(CANDIDATES[0])
    base = dict(load_network(model).named_parameters())
    changed = {name for name, stack in some._stacks[0].items() if not torch.equal(stack[0], base[name])}
    assert changed == {"layers.0.weight", "layers.0.bias"}
    with pytest.raises(InputError, match=r"noise.include/exclude"):
        SignalsEngine(EngineSpec("signals", model, Perturbation(include=("none",)), device="cpu"))


def respondents() -> list[Respondent]:
    return [None, *CANDIDATES[:8], *(Attempt(index, 0.7, 0) for index in range(3))]


def score(model: Path, folder: Path, division: Sequence[int]) -> tuple[pl.DataFrame, list[UnitReport]]:
    """The rows that a worker writes for the respondents, in shards of these sizes."""
    splits = draw_splits(PROBLEM, selection=20, validation=1, test=1, seed=0)
    blocks = make_blocks(splits.selection, PROBLEM, ValuesTemplate(), 12)
    told: list[UnitReport] = []
    worker = ScoringWorker(
        lambda: build_engine(EngineSpec("signals", model, Perturbation(), device="cpu")),
        Judge(PROBLEM),
        blocks,
        GREEDY,
        LocalShardFolder(folder),
        LocalShardFolder(folder).verdicts("0" * 64),
        on_unit=told.append,
    )
    left = respondents()
    for size in division:
        for block in blocks:
            worker.score(Shard("selection", block.index, tuple(left[:size])))
        left = left[size:]
    worker.close()
    frames = pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    return frames.sort("candidate_id", "block", "example_id"), told


def test_any_division_into_shards_writes_the_same_rows(model: Path, tmp_path: Path) -> None:
    whole, told = score(model, tmp_path / "whole", [12])
    assert whole.height == 12 * 20
    assert whole["candidate_id"].n_unique() == 12
    assert whole["completion"].n_unique() > 100
    for number, division in enumerate(([1] * 12, [5, 5, 2], [3, 9])):
        rows, _ = score(model, tmp_path / str(number), division)
        assert rows.equals(whole)
    assert len(told) == 24
    building, *rest = (report.start_s for report in told)
    assert building > 10 * max(rest)
    assert len({report.generate_s for report in told[:12]}) == 1
    assert all(report.n_tokens == report.n * 12 for report in told)


def test_a_shard_that_fails_gets_a_fresh_engine(model: Path, tmp_path: Path) -> None:
    built: list[Any] = []

    class Failing(SignalsEngine):
        def generate_many(self, prompts: Sequence[str], samplings: Sequence[Sampling]) -> list[list[Completion]]:
            raise RuntimeError("planted")

    def build() -> SignalsEngine:
        kind = SignalsEngine if built else Failing
        built.append(kind(EngineSpec("signals", model, Perturbation(), device="cpu")))
        return built[-1]

    blocks = make_blocks(
        draw_splits(PROBLEM, selection=4, validation=1, test=1, seed=0).selection, PROBLEM, ValuesTemplate(), 4
    )
    worker = ScoringWorker(
        build, Judge(PROBLEM), blocks, GREEDY, LocalShardFolder(tmp_path), LocalShardFolder(tmp_path).verdicts("0" * 64)
    )
    shard = Shard("selection", 0, (None, CANDIDATES[0]))
    with pytest.raises(RuntimeError, match="planted"):
        worker.score(shard)
    assert list(tmp_path.glob("*.parquet")) == []
    assert len(worker.score(shard).units) == 2
    worker.close()
    assert len(built) >= 2


def test_a_model_is_made_once_and_is_the_same_every_time(model: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in model.iterdir()}
    assert {path.name for path in files} == {"config.json", "model.safetensors"}
    assert made_model("quick", QUICK, model.parents[1]) == model
    assert {path: path.stat().st_mtime_ns for path in model.iterdir()} == files
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = pretrain(QUICK).state_dict()
    finally:
        torch.set_num_threads(threads)
    weights = load_file(model / "model.safetensors")
    assert weights.keys() == again.keys() == dict(SignalsNetwork(QUICK.architecture).named_parameters()).keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert read_config(model) == QUICK
    other = pretrain(QUICK.model_copy(update={"pretraining": Pretraining(families=MIX, steps=40, seed=1)}))
    assert not torch.equal(other.state_dict()["layers.0.weight"], again["layers.0.weight"])


def test_pretraining_teaches_something() -> None:
    def accuracy(config: SignalsConfig) -> float:
        network = pretrain(config)
        levels = torch.stack([torch.from_numpy(read(f"{e.question} {e.answer}"))[:17] for e in EXAMPLES])
        windows = torch.from_numpy(to_values(levels[:, :16].numpy())).float()
        return float(((network(windows).argmax(dim=1) - levels[:, 16]).abs() <= 4).double().mean())

    untaught = QUICK.model_copy(update={"pretraining": Pretraining(families=(), steps=0)})
    assert accuracy(QUICK) > accuracy(untaught) + 0.3


def test_models_by_name_are_made_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THICKETS_CACHE", str(tmp_path))
    found = find_base_model("Signals-Needle")
    assert (found.name, found.revision) == ("Signals-Needle", "made here")
    assert found.path.parent == tmp_path / "models"
    assert kind_of(found.path).only_engine == "signals"
    assert found.n_parameters == sum(p.numel() for p in load_network(found.path).parameters()) == 14_608
    assert find_base_model(str(found.path)).sha256 == found.sha256  # a copy of the folder is the same model
    assert set(RECIPES) == {"signals-needle", "signals-thicket", "signals-plateau"}
    with pytest.raises(InputError, match=r"there is no 'signals-neddle'; signals models are signals-needle, "):
        find_base_model("signals-neddle")
    with pytest.raises(InputError, match=r"revision is 'main', but 'signals-needle' is made here"):
        find_base_model("signals-needle", "main")
    (tmp_path / "file").touch()
    monkeypatch.setattr(thickets.tasks.engines.base_model, "model_cache", lambda: tmp_path / "file")
    with pytest.raises(InputError, match=r"model: cannot make signals-needle"):
        find_base_model("signals-needle")


def test_auto_takes_the_signals_engine_for_its_models_and_for_no_other(model: Path, tiny_model: Path) -> None:
    def resolve(kind: str, folder: Path, device: str = "auto") -> EngineSpec:
        return resolve_spec(EngineSpec(kind, folder, Perturbation(), device=device))

    assert (resolve("auto", model).kind, resolve("signals", model).device) == ("signals", "cpu")
    assert isinstance(build_engine(resolve("auto", model)), BatchEngine)
    assert resolve("auto", tiny_model, "cpu").kind in ("transformers", "vllm")
    for kind in ("transformers", "vllm"):
        with pytest.raises(InputError, match=rf"engine.kind: found '{kind}', but the model is a signals network"):
            resolve(kind, model)
    with pytest.raises(InputError, match=r"engine.kind: 'signals' runs signals networks only"):
        resolve("signals", tiny_model)
    with pytest.raises(InputError, match=r"engine.device: found 'cuda'; the signals engine runs on the CPU"):
        resolve("auto", model, "cuda")
    assert set(library_versions("signals")) == {"torch"}
    templates = [kind_of(folder).prompt_template(folder).identity() for folder in (model, tiny_model)]
    assert templates[0] != templates[1]
    assert [kind_of(folder).is_language_model for folder in (model, tiny_model)] == [False, True]


@pytest.mark.parametrize("prompt", ["Which is the largest?", "0.35 0.40", "0.35 " * 17, ""])
def test_a_prompt_that_is_no_signal_is_refused(engine: SignalsEngine, prompt: str) -> None:
    with pytest.raises(InputError, match=r"problem: a signals model reads prompts of 16 values"):
        engine.generate([PROMPTS[0], prompt], GREEDY)


def test_settings_without_a_meaning_are_refused(engine: SignalsEngine, model: Path) -> None:
    with pytest.raises(InputError, match=r"decoding.stop: found \['x'\]"):
        engine.generate(PROMPTS, replace(GREEDY, stop=("x",)))
    with pytest.raises(InputError, match=r"engine.dtype: found 'bfloat16'; a signals model runs in float32"):
        SignalsEngine(EngineSpec("signals", model, Perturbation(), device="cpu", dtype="bfloat16"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": {"width": 128}}, r"parameter layers.0.weight is torch.float32 \[128, 16\] by config.json"),
        ({"architecture": {"width": 20}}, r"config.json: architecture.width: .*multiple of 16"),
        ({"architecture": {"depth": 5}}, r"parameter layers.3.weight is .* but the weights in .* have "),
    ],
)
def test_a_broken_model_folder_is_told(model: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    config = json.loads((model / "config.json").read_text())
    for section, values in change.items():
        config[section] |= values
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match=message):
        load_network(tmp_path)
