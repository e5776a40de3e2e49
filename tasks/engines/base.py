"""The `Engine` protocol: holds one candidate at a time and answers prompts with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from thickets.tasks.engines.token_answers import TokenAnswers
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Completion, Prompt, Sampling, Weights

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """Settings of the vLLM engine alone.

    Attributes:
        eager: Run without compilation and CUDA graphs; None: on the CPU, where compiling costs more than it saves.
        prefix_caching: Compute the common beginning of a candidate's prompts once.
        block_size: Tokens per block of keys and values; None: 32 on the CPU (vLLM's own 128 is longer than what short
            prompts share), vLLM's choice elsewhere.
        memory_fraction: Share of a GPU's memory that an engine may take in all; for Transformers too.
        tensor_parallel: GPUs one model is divided over.
    """

    eager: bool | None = None
    prefix_caching: bool = True
    block_size: int | None = None
    memory_fraction: float = 0.9
    tensor_parallel: int = 1


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Everything needed to build an engine; equal specs give interchangeable engines.

    Attributes:
        kind: Which engine: ``"transformers"``, ``"vllm"`` or ``"signals"``.
        model_path: Folder of the base checkpoint (config, safetensors, tokenizer).
        perturbation: Which parameters are perturbed, and with which family of noise.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or ``"auto"``.
        card: What the maker calls the GPU, for CUDA in a resolved spec; another card's kernels may answer otherwise.
        dtype: Type of the weights while running; ``"auto"``, in a spec that is not resolved, keeps the checkpoint's.
        batch_size: Most prompts decoded together.
        threads: CPU threads for generation, or None for the library's choice.
        trust_remote_code: Run Python code found in the model folder.
        prefetch: Make the next candidate's weights while this one generates, on the CPU; costs a further copy of the
            weights. None: with Transformers only, where they replace the live ones at no cost; vLLM has to pack them
            anyway, and a thread beside its own slows these down.
        base_copy: Where a CUDA engine keeps the pristine weights: ``"device"``, where they fit beside the model and its
            batches, or ``"host"`` (pinned memory).
        max_length: Most tokens of a prompt and its answer together that are needed; None: the model's maximum.
        memory_share: Share of a GPU's memory that this engine may plan with, where several share a card.
        vllm: Settings of the vLLM engine alone.
    """

    kind: str
    model_path: Path
    perturbation: Perturbation
    device: str = "auto"
    dtype: DtypeName = "auto"
    batch_size: int = 64
    threads: int | None = None
    trust_remote_code: bool = False
    prefetch: bool | None = None
    base_copy: Literal["device", "host"] = "device"
    max_length: int | None = None
    card: str | None = None
    memory_share: float = 1.0
    vllm: VllmOptions = field(default_factory=VllmOptions)


class Engine(Protocol):
    """One resident model that becomes any candidate, exactly (docs/design.md#engines).

    Example:
        >>> from pathlib import Path
        >>> from thickets import Candidate, Engine
        >>> from thickets.tasks.engines import EngineSpec, build_engine
        >>> from thickets.tasks.noise import Perturbation
        >>> from thickets.tasks.types import Sampling
        >>> engine: Engine = build_engine(EngineSpec("transformers", Path("tiny"), Perturbation(), device="cpu"))
        >>> engine.load(Candidate(seed=7, sigma=0.1))
        >>> [completion.n_tokens for completion in engine.generate(["1 + 1 ="], Sampling(max_tokens=4))]
        [4]
        >>> engine.close()
    """

    def load(self, weights: Weights | None) -> None:
        """Hold a candidate, or an average of candidates, from now on; None is the base, bit for bit."""

    def prepare(self, weights: Weights) -> None:
        """Make `weights` while the next `generate` runs, to be loaded after it; only a hint."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """Answer every prompt with the loaded candidate.

        Args:
            prompts: Rendered prompts; special tokens are written out in the text. A model that reads images takes
                some with an image; any other engine refuses these.
            sampling: How to decode.

        Returns:
            One completion per prompt, in order. A pure function of the candidate, the whole list and `sampling`.

        Raises:
            InputError: A prompt is too long, or has an image that cannot be read, or that the model is given none.
        """

    def close(self) -> None:
        """Free the model's memory; the engine cannot be used afterwards."""


@runtime_checkable
class RebasableEngine(Engine, Protocol):
    """An engine that gets another base in less time than it takes to start."""

    def rebase(self, model_path: Path) -> bool:
        """Hold another checkpoint as the base from now on, with everything else as it is.

        Args:
            model_path: Of the same architecture and tokenizer.

        Returns:
            Whether it does; if not, the checkpoint has other tensors, and the engine is good for nothing but `close`.
        """


@runtime_checkable
class TokenEngine(Engine, Protocol):
    """An engine whose answers are tokens first; making their text need not keep its thread."""

    def generate_tokens(self, prompts: Sequence[Prompt], sampling: Sampling) -> TokenAnswers:
        """Answer every prompt as `generate` does, whose completions are those of what this returns."""


@runtime_checkable
class BatchEngine(Engine, Protocol):
    """An engine that can hold many candidates at a time, because its model is small; it is given whole shards."""

    def load_many(self, weights: Sequence[Weights | None]) -> None:
        """Hold all of these from now on, in this order; None is the base. `load` is the case of one."""

    def generate_many(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> list[list[Completion]]:
        """Answer every prompt with every candidate held.

        Args:
            prompts: As in `generate`.
            samplings: How each candidate decodes, in the order of `load_many`.

        Returns:
            For each candidate what `load` and `generate` would give, byte for byte, whatever else is held.
        """
