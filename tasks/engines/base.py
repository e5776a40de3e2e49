"""What an engine is: something that holds one candidate at a time and answers prompts with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tasks.noise import Perturbation
from tasks.types import Candidate, Completion, Sampling

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Everything needed to build an engine; equal specs give interchangeable engines.

    Attributes:
        kind: Which engine: ``"transformers"`` or ``"vllm"``.
        model_path: Folder of the base checkpoint (config, safetensors, tokenizer).
        perturbation: Which parameters are perturbed, and with which family of noise.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``.
        dtype: Type of the weights while running; ``"auto"`` keeps the checkpoint's.
        batch_size: Most prompts decoded together.
        threads: CPU threads for generation, or None for the library's choice.
        trust_remote_code: Run Python code found in the model folder.
    """

    kind: str
    model_path: Path
    perturbation: Perturbation
    device: str = "auto"
    dtype: DtypeName = "auto"
    batch_size: int = 64
    threads: int | None = None
    trust_remote_code: bool = False


class Engine(Protocol):
    """One resident model that becomes any candidate, exactly (DESIGN.md section 5)."""

    def load(self, candidate: Candidate | None) -> None:
        """Hold `candidate` from now on; None is the base, bit for bit."""

    def prepare(self, candidate: Candidate) -> None:
        """Make ready for `candidate`, which is loaded after the next `generate`, while that one runs; only a hint."""

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """Answer every prompt with the loaded candidate.

        Args:
            prompts: Rendered prompts; special tokens are written out in the text.
            sampling: How to decode.

        Returns:
            One completion per prompt, in order. A pure function of the candidate and the whole list.
        """

    def close(self) -> None:
        """Free the model's memory; the engine cannot be used afterwards."""
