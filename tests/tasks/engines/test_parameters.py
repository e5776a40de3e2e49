"""Parameters of a checkpoint: tied ones once, and of a mixture those that a token passes through."""

from __future__ import annotations

from pathlib import Path

from transformers import LlamaConfig, MixtralConfig

from thickets.tasks.engines.parameters import Parameters, count_parameters, parameters_of

SHAPES = {"model.embed_tokens.weight": (100, 8), "model.layers.0.mlp.up_proj.weight": (16, 8)}
HEAD = {"lm_head.weight": (100, 8)}


def test_an_output_that_is_the_embedding_counts_once_stored_or_not() -> None:
    tied, untied = LlamaConfig(tie_word_embeddings=True), LlamaConfig(tie_word_embeddings=False)
    assert parameters_of(tied, SHAPES) == parameters_of(tied, SHAPES | HEAD) == Parameters(928, 928)
    assert parameters_of(untied, SHAPES | HEAD) == Parameters(1728, 1728)


def test_of_a_mixture_only_the_experts_of_a_token_are_active() -> None:
    config = MixtralConfig(num_local_experts=8, num_experts_per_tok=2, tie_word_embeddings=False)
    experts = {f"model.layers.0.block_sparse_moe.experts.{place}.w1.weight": (16, 8) for place in range(8)}
    shared = {"model.layers.0.mlp.shared_experts.up_proj.weight": (16, 8)}
    assert parameters_of(config, SHAPES | experts | shared) == Parameters(928 + 8 * 128 + 128, 928 + 2 * 128 + 128)
    # Stored as one tensor for all of them.
    stacked = {"model.layers.0.mlp.experts.gate_up_proj": (8, 16, 8)}
    assert parameters_of(config, SHAPES | stacked) == Parameters(928 + 8 * 128, 928 + 2 * 128)


def test_a_checkpoint_is_counted_as_pytorch_counts_it(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    n = sum(each.numel() for each in model.parameters())
    assert count_parameters(tiny_model) == Parameters(n, n)
