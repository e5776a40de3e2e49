"""The vLLM engine, of whichever build is installed: what it holds after a reload is what a fresh engine would hold.

The measure is always a *fresh* engine started on the perturbed checkpoint saved to disk: an engine that has never held
anything else cannot serve what it held before.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import thickets.tasks.engines
from tests.sampling_statistics import LEAST_P, first_token_shares, goodness
from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError, SelfTestError
from thickets.storage.models.base import resolve_model
from thickets.tasks.engines import Engine, EngineSpec, VllmOptions, build_engine, resolve_spec
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.self_test import self_test
from thickets.tasks.engines.vllm import VllmEngine, is_available
from thickets.tasks.export.checkpoint import write_checkpoint
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.types import Average, Candidate, Completion, Sampling

# A build of vLLM serves one kind of device. Flash attention knows no float32.
DEVICE, DTYPE = ("cuda", "bfloat16") if torch.cuda.is_available() else ("cpu", "auto")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here")
cpu_only = pytest.mark.skipif(
    DEVICE != "cpu", reason="about packed weights, or bits that both engines share in float32"
)

ONE, OTHER = Candidate(11, 0.05), Candidate(12, 0.1)
# Long enough to fill blocks of 32 tokens, with a beginning in common: what the prefix cache keeps.
PROMPTS = [f"[user] Say which of these many numbers is the largest one: {n}, {n + 7} or {3 * n}?" for n in range(8)]
SAMPLING = Sampling(12)


DEFAULTS = {"perturbation": Perturbation(), "device": DEVICE, "dtype": DTYPE, "max_length": 256}


@pytest.fixture(scope="module", autouse=True)
def _build_of_this_device() -> None:
    if not is_available(DEVICE):
        pytest.skip(f"the build of vLLM that is installed does not serve {DEVICE}")


def spec(folder: Path, kind: str = "vllm", **changes) -> EngineSpec:
    return EngineSpec(kind, folder, **DEFAULTS | changes)


def answers_of(folder: Path, candidate: Candidate | None = None, **changes) -> list[Completion]:
    """What an engine made for this one question answers."""
    engine = build_engine(spec(folder, **changes))
    try:
        engine.load(candidate)
        return engine.generate(PROMPTS, SAMPLING)
    finally:
        engine.close()


def saved(folder: Path, candidate: Candidate, target: Path, **changes) -> Path:
    target.mkdir()
    write_checkpoint(folder, target, candidate, changes.pop("perturbation", Perturbation()), **changes)
    return target


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tied") / "model", head_dim=32)


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("untied") / "model", head_dim=32, tied=False)


@pytest.fixture(scope="module")
def fresh(tied: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Completion]:
    """What candidate ONE answers, from an engine that never held anything else."""
    return answers_of(saved(tied, ONE, tmp_path_factory.mktemp("fresh") / "one"))


@pytest.fixture(scope="class")
def engine(tied: Path, fresh: list[Completion]) -> Iterator[Engine]:
    """A resident engine; after `fresh`, since a process holds one at a time.

    It starts where other libraries hold odd objects: vLLM looks into every object of every module, and a Flask proxy
    (MLflow's server brings it) answers with an error.
    """
    import flask

    assert flask.current_app is not None
    made = build_engine(spec(tied))
    yield made
    made.close()


def ask(engine: Engine, candidate: Candidate | None) -> list[Completion]:
    engine.load(candidate)
    return engine.generate(PROMPTS, SAMPLING)


class TestTheResidentEngine:
    def test_a_candidate_after_others_answers_as_a_fresh_engine_does(
        self, engine: Engine, fresh: list[Completion]
    ) -> None:
        base = ask(engine, None)
        other = ask(engine, OTHER)
        assert ask(engine, ONE) == fresh
        assert ask(engine, None) == base
        assert ask(engine, OTHER) == other
        assert len({tuple(answers) for answers in (base, other, fresh)}) == 3

    @cpu_only
    def test_without_renewing_the_tied_head_the_answers_are_wrong(
        self, engine: Engine, fresh: list[Completion], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control of the test above: that one does fail where the care is missing."""
        ask(engine, OTHER)
        monkeypatch.setattr(worker_of(engine), "_thickets_tied_heads", [])
        assert ask(engine, ONE) != fresh
        engine.load(OTHER)  # what is held now is not ONE, whatever the engine believes

    def test_without_clearing_the_prefix_cache_the_answers_are_wrong(
        self, engine: Engine, fresh: list[Completion], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask(engine, OTHER)
        monkeypatch.setattr(engine._llm, "reset_prefix_cache", lambda: True)
        assert ask(engine, ONE) != fresh

    def test_samples_of_the_same_prompts_share_what_was_read(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        samples = [Sampling(12, temperature=0.9, seed=seed) for seed in (1, 2, 3)]
        alone = []
        for sampling in samples:
            ask(engine, OTHER)
            engine.load(None)
            alone.append(engine.generate(PROMPTS, sampling))
        ask(engine, OTHER)
        loads, cached = [], []
        generate, rpc = engine._llm.generate, engine._llm.collective_rpc

        def watched(*arguments, **named):
            outputs = generate(*arguments, **named)
            cached.append([output.num_cached_tokens for output in outputs])
            return outputs

        monkeypatch.setattr(engine._llm, "generate", watched)
        monkeypatch.setattr(engine._llm, "collective_rpc", lambda name, **k: (loads.append(name), rpc(name, **k))[1])
        together = []
        for sampling in samples:
            engine.load(None)
            together.append(engine.generate(PROMPTS, sampling))
        assert together == alone
        assert len(set(map(tuple, together))) == 3
        assert loads.count("thickets_load") == 1
        assert len(cached) == 4  # read once, sampled three times
        assert min(cached[1]) >= 32
        assert cached[1] == cached[2] == cached[3]
        # Neither greedy answers nor other prompts find anything of it.
        assert ask(engine, None) == ask(engine, None) != together[0]

    def test_an_engine_that_cannot_clear_its_cache_says_so(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine._llm, "reset_prefix_cache", lambda: False)
        with pytest.raises(RuntimeError, match="prefix cache"):
            ask(engine, ONE)

    def test_weights_made_ahead_are_those_of_the_candidate_they_are_for(
        self, engine: Engine, fresh: list[Completion]
    ) -> None:
        ask(engine, None)
        engine.prepare(ONE)
        assert ask(engine, ONE) == fresh
        engine.prepare(OTHER)
        assert ask(engine, ONE) == fresh  # the hint was wrong
        engine.prepare(ONE)
        base = ask(engine, None)
        assert base != fresh
        assert ask(engine, ONE) == fresh
        both = Average((ONE, OTHER))
        average = ask(engine, both)
        engine.prepare(both)
        assert ask(engine, both) == average
        assert ask(engine, Average((ONE,))) == fresh != average

    def test_a_sampled_unit_is_the_same_again_whatever_was_generated_between(self, engine: Engine) -> None:
        sampled = Sampling(12, temperature=0.9, seed=2**64 - 1)
        base = ask(engine, None)
        engine.load(None)
        first = engine.generate(PROMPTS, sampled)
        ask(engine, OTHER)
        engine.generate(PROMPTS[:3], sampled)
        engine.load(None)
        torch.manual_seed(99)
        assert engine.generate(PROMPTS, sampled) == first != base
        assert engine.generate(PROMPTS, replace(sampled, seed=1)) != first
        assert ask(engine, None) == base

    @cpu_only
    def test_first_tokens_are_distributed_as_the_softmax_says(self, engine: Engine, tied: Path) -> None:
        n, temperature, prompt = 1500, 1.3, PROMPTS[0]
        engine.load(None)
        drawn = engine.generate([prompt] * n, Sampling(1, temperature=temperature, seed=4))
        shares = first_token_shares(tied, prompt, temperature)
        assert goodness(Counter(completion.text for completion in drawn), shares) > LEAST_P

    @cpu_only
    def test_stop_strings_and_token_counts_are_those_of_the_other_engine(self, engine: Engine, tied: Path) -> None:
        sampling = Sampling(24, stop=("1", "e"))
        other = build_engine(spec(tied, kind="transformers"))
        found = []
        for each in (engine, other):
            each.load(OTHER)
            found.append(each.generate(PROMPTS, sampling))
        other.close()
        assert found[0] == found[1]
        assert {completion.finish_reason for completion in found[0]} == {"stop", "length"}

    def test_the_self_test_passes_and_leaves_the_base(self, engine: Engine) -> None:
        base = ask(engine, None)
        proof = self_test(engine)
        assert proof.n_changed == proof.n_tensors >= 20
        assert ask(engine, None) == base

    @pytest.mark.parametrize(
        ("left_out", "fault"),
        [
            ("model.norm.weight", r"keep the base's weights .*\(model\.norm\.weight\)"),
            ("model.layers.1.self_attn.k_proj.weight", r"layers\.1\.self_attn\.k_proj"),
        ],
    )
    def test_a_tensor_that_is_not_reloaded_is_caught(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch, left_out: str, fault: str
    ) -> None:
        engine.load(None)
        source, known = worker_of(engine)._thickets, engine._said
        with monkeypatch.context() as patched:
            patched.setattr(type(source), "changes", dict(source.changes))
            for parameter in source._parameters:
                left = [piece for piece in parameter.pieces if piece.copy.stored != left_out]
                patched.setattr(parameter, "pieces", left)
                patched.setattr(parameter, "_writer", None)  # is made of the pieces
            engine._said = None  # as at the start of an engine
            with pytest.raises(SelfTestError, match=fault):
                self_test(engine)
        engine._said, engine._held = known, None
        engine.load(None)
        self_test(engine)

    @cpu_only
    def test_a_tied_head_that_is_not_renewed_is_caught(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        engine.load(None)
        with monkeypatch.context() as patched:
            patched.setattr(worker_of(engine), "_thickets_tied_heads", [])
            with pytest.raises(SelfTestError, match=r"1 of 21 tensors keep .*\(lm_head\.weight\)"):
                self_test(engine)
        self_test(engine)

    def test_a_prefix_cache_that_is_kept_is_caught(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        engine.load(None)
        with monkeypatch.context() as patched:
            patched.setattr(engine._llm, "reset_prefix_cache", lambda: True)
            with pytest.raises(SelfTestError, match=r"32 tokens of a prompt are still read"):
                self_test(engine)
        engine.load(None)
        self_test(engine)

    def test_a_second_engine_in_the_process_is_refused(self, engine: Engine, tied: Path) -> None:
        with pytest.raises(RuntimeError, match="already"):
            build_engine(spec(tied))
        assert ask(engine, None)

    def test_what_does_not_fit_is_refused(self, engine: Engine) -> None:
        assert engine.generate([], SAMPLING) == []
        with pytest.raises(InputError, match=r"decoding\.max_tokens.* at most 256"):
            engine.generate(PROMPTS, Sampling(250))
        with pytest.raises(InputError, match="no tokens"):
            engine.generate([""], SAMPLING)


@pytest.mark.parametrize("dtype", [pytest.param("bfloat16", marks=pytest.mark.slow), "float32"])
def test_an_untied_head_and_either_dtype(untied: Path, tmp_path: Path, dtype: str) -> None:
    engine = build_engine(spec(untied, dtype=dtype))
    try:
        ask(engine, OTHER)
        found = ask(engine, ONE)
    finally:
        engine.close()
    assert found == answers_of(saved(untied, ONE, tmp_path / "one", dtype=dtype), dtype=dtype)


@cpu_only
@pytest.mark.parametrize(
    "perturbation",
    [
        Perturbation("rademacher", exclude=("*embed*", "*norm*")),
        pytest.param(Perturbation("rademacher"), marks=pytest.mark.slow),
        pytest.param(Perturbation(exclude=("*embed*", "*norm*")), marks=pytest.mark.slow),
    ],
)
def test_both_engines_agree_on_other_noise(tied: Path, perturbation: Perturbation) -> None:
    kinds = ("vllm", "transformers")
    found = [answers_of(tied, ONE, kind=kind, perturbation=perturbation) for kind in kinds]
    assert found[0] == found[1]


def test_both_engines_hold_the_same_bits(tied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With packing off, vLLM's parameters can be read back: each is a tensor of the checkpoint, or several in a row."""
    import vllm._custom_ops
    from vllm.model_executor.layers import utils

    monkeypatch.setattr(vllm._custom_ops, "_supports_onednn", False, raising=False)  # the CUDA build packs nothing
    monkeypatch.setattr(utils, "check_cpu_sgl_kernel", lambda *_: False, raising=False)  # what AMX packs small ones for
    theirs = build_engine(spec(tied, dtype="bfloat16"))
    ours = build_engine(spec(tied, kind="transformers", dtype="bfloat16"))
    try:
        # With nothing packed, each of the checkpoint's tensors is proved by its bits.
        assert self_test(theirs).n_exact == 20
        for weights in (OTHER, ONE, Average((ONE, OTHER)), None):
            theirs.load(weights)
            ours.load(weights)
            expected = dict(ours._model.named_parameters())
            found = dict(worker_of(theirs).model_runner.get_model().named_parameters())
            compared = 0
            for name, value in found.items():
                parts = fused_from(name, expected)
                want = torch.cat([expected[part] for part in parts])
                # Rows that vLLM adds to round the vocabulary up are none of the checkpoint's.
                assert torch.equal(value[: want.shape[0]], want), name
                compared += want.numel()
            assert compared == sum(value.numel() for value in expected.values())
    finally:
        theirs.close()
        ours.close()


def test_an_engine_that_fails_its_test_is_closed(tied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = lambda device, dtypes, family: ["noise is wrong"]  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr("thickets.tasks.engines.vllm_worker.kernel_faults", broken)
        with pytest.raises(SelfTestError, match="self-test failed: noise is wrong; its scores would be"):
            build_engine(spec(tied))
    assert not VllmEngine._is_open


def test_a_failed_start_names_the_field(tied: Path) -> None:
    with pytest.raises(InputError, match=r"noise\.include/exclude"):
        build_engine(spec(tied, perturbation=Perturbation(include=("nothing",))))


def test_a_pair_that_only_the_config_ties_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model", tied=False)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    with pytest.raises(InputError, match=r"engine\.kind: the config ties lm_head\.weight"):
        build_engine(spec(folder))


@cpu_only
def test_settings_that_vllm_refuses_are_one_clear_error(tied: Path) -> None:
    with pytest.raises(InputError, match=r"engine\.kind: vLLM does not take .*block size .*; change engine\.vllm"):
        build_engine(spec(tied, vllm=VllmOptions(block_size=7)))


def test_auto_takes_vllm_where_it_serves_the_device(tied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_spec(spec(tied, kind="auto")).kind == "vllm"
    monkeypatch.setattr("thickets.tasks.engines.vllm.is_available", lambda device_type: False)
    assert resolve_spec(spec(tied, kind="auto")).kind == "transformers"
    with pytest.raises(InputError, match=r"engine\.kind: vllm is not installed"):
        resolve_spec(spec(tied, kind="vllm"))


def test_another_gpu_than_the_first_is_not_for_vllm(tied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr("thickets.tasks.engines.vllm.is_available", lambda device_type: True)
    assert resolve_spec(spec(tied, kind="auto", device="cuda:1")).kind == "transformers"
    assert resolve_spec(spec(tied, kind="auto", device="cuda:0")).kind == "vllm"
    with pytest.raises(InputError, match=r"engine\.device: .* CUDA_VISIBLE_DEVICES=1"):
        resolve_spec(spec(tied, kind="vllm", device="cuda:1"))


@pytest.mark.slow
def test_standard_output_stays_free_for_results(tied: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys; from pathlib import Path; from thickets.tasks.engines import *;"
        "from thickets.tasks.noise import Perturbation;"
        "build_engine(EngineSpec('vllm', Path(sys.argv[1]), Perturbation(), device=sys.argv[2], dtype=sys.argv[3],"
        "max_length=256)).close()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(thickets.tasks.engines.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tied), DEVICE, DTYPE],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


@pytest.mark.parametrize("prefix_caching", [True, False])
@pytest.mark.slow
def test_the_real_model_too(tmp_path: Path, prefix_caching: bool) -> None:
    folder = resolve_model("smollm2-135m-instruct").path
    template, problem = PromptTemplate.from_folder(folder), load_problem(ProblemConfig(name="largest_number"))
    prompts = [template.render(problem.messages(example)) for example in problem.examples(16, seed=0)]
    options = {"vllm": VllmOptions(prefix_caching=prefix_caching)}
    one = Candidate(5, 0.003)

    def ask(engine: Engine, candidate: Candidate | None) -> list[Completion]:
        engine.load(candidate)
        return engine.generate(prompts, SAMPLING)

    engine = build_engine(spec(folder, **options))
    base, _, found = ask(engine, None), ask(engine, Candidate(6, 0.005)), ask(engine, one)
    assert ask(engine, None) == base
    engine.close()
    engine = build_engine(spec(saved(folder, one, tmp_path / "one"), **options))
    assert found == ask(engine, None) != base
    engine.close()


def worker_of(engine: Engine):
    return engine._llm.llm_engine.model_executor.driver_worker.worker


def fused_from(name: str, stored: dict[str, torch.Tensor]) -> list[str]:
    """The checkpoint's names of the tensors that one of vLLM's parameters is made of."""
    for fused, parts in {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}.items():
        if fused in name:
            return [name.replace(fused, part) for part in parts]
    assert name in stored
    return [name]
