"""The `rivals.grpo` section of a run's configuration."""

from __future__ import annotations

from thickets.flows.config.section import Section


class GrpoConfig(Section):
    """GRPO: policy gradients from groups of sampled answers, with the verifier's score as reward."""
