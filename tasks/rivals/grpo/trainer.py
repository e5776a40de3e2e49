"""TRL's GRPO trainer with a run's prompts, decoding, stop strings and seeds, and every pass of the model counted."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PrinterCallback
from trl import GRPOTrainer

from thickets.tasks.engines.tokenizer import prompt_ids
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.rivals.grpo.meter import CostMeter
from thickets.tasks.rivals.grpo.questions import rollout_seed
from thickets.tasks.types import Sampling


class CountedTrainer(GRPOTrainer):
    """See `thickets.tasks.rivals.grpo.training.Course`."""

    def __init__(self, *args: Any, meter: CostMeter, sampling: Sampling, rollout_rows: int, **kwargs: Any) -> None:
        """Make the trainer.

        Args:
            *args: TRL's.
            meter: Counts.
            sampling: How samples are drawn; its seed is that of all of them.
            rollout_rows: Most samples that are decoded together.
            **kwargs: TRL's.
        """
        super().__init__(*args, **kwargs)
        self.meter, self._sampling, self._rollout_rows = meter, sampling, rollout_rows
        self.remove_callback(PrinterCallback)  # standard output is for results

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return prompt_ids(self.processing_class, prompts), None, {}

    def _generate(self, prompts: list[str]) -> Any:
        self._rendered = prompts  # `_generate_single_turn` is given their ids alone
        return super()._generate(prompts)

    def _generate_single_turn(self, ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        # Ours come without probabilities: the policy that samples is the one that learns.
        found = super()._generate_single_turn(ids, *args, **kwargs) if self.use_vllm else (self._decode(), None)
        self.meter.generated(map(len, ids), map(len, found[0]))
        return found

    def _decode(self) -> list[list[int]]:
        """Sample as a run does: faster than `generate`, and with draws that depend on seed, step and place alone."""
        seed = rollout_seed(self._sampling.seed, self.state.global_step)
        sampling = Sampling(self._sampling.max_tokens, self._sampling.stop, self._sampling.temperature, seed)
        self.model.eval()
        try:
            engine = TransformersEngine.over(self.model, self.processing_class, self._rollout_rows)
            return [list(row) for row in engine.generate_tokens(self._rendered, sampling).rows]
        finally:
            self.model.train()

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        count = self.meter.trained if torch.is_grad_enabled() else self.meter.scored
        count(int(attention_mask.sum()), len(attention_mask))
        return super()._get_per_token_logps_and_entropies(model, input_ids, attention_mask, *args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log what TRL does, and the cost so far."""
        cost = self.meter.cost
        logs |= {"cost/tokens": cost.n_tokens, "cost/flops": cost.flops, "cost/engine_s": cost.engine_s}
        super().log(logs, start_time)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no card: checkpoints are temporary."""
