"""GRPO by TRL's trainer, with the run's own prompts, decoding and verifier."""
