"""The `controls` section: what the ensemble is compared with."""

from __future__ import annotations

from pydantic import Field, field_validator

from thickets.flows.config.section import Section


class ControlsConfig(Section):
    """Controls of the ensemble on the test split; none of them changes which experts are selected."""

    self_consistency: bool = Field(
        True, description="Sample the base K times and let it vote: the rival that costs as many answers."
    )
    # At least 0.01: vLLM takes less for 0.01, and it would be greedy decoding in all but name.
    temperature: float = Field(0.7, ge=0.01, le=2, description="Temperature of these samples.")
    random_experts: bool = Field(
        True, description="Let K candidates vote that were drawn from the population without looking at their scores."
    )
    weight_average: bool = Field(
        True, description="Answer with one model whose weights are the mean of the K experts': it costs one answer."
    )
    best_prompt: bool = Field(
        True,
        description="Ask the base in a few other wordings, choose the best on the validation split, and let it answer "
        "the test split: greedily, and sampled K times if self_consistency is on.",
    )
    prompts: tuple[str, ...] = Field(
        (),
        description="These wordings, each with {question} where the question goes; empty: some made from the "
        "problem's own instruction.",
    )
    chance: bool = Field(
        True, description="Report what guessing reaches, where questions have options or answers come back."
    )
    seed: int = Field(0, ge=0, lt=2**64, description="Seed of the samples and of the random candidates.")

    @field_validator("prompts")
    @classmethod
    def _usable_prompts(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for place, prompt in enumerate(prompts):
            if (found := prompt.count("{question}")) != 1:
                raise ValueError(
                    f"[{place}] contains {{question}} {found} times: {prompt!r}; write {{question}} exactly once, "
                    "where the question goes"
                )
            if prompt in prompts[:place]:
                raise ValueError(f"[{place}] is {prompt!r} once more; each wording may stand once")
        return prompts
