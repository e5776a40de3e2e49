"""The vLLM engine: one resident `vllm.LLM`, given one candidate after another (docs/design.md#engines)."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import logging
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from transformers import AutoConfig, GenerationConfig

from thickets.storage.errors import InputError
from thickets.tasks.engines import vllm_workarounds as workarounds
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.engines.card_memory import vllm_memory
from thickets.tasks.engines.checkpoint import inspect_checkpoint
from thickets.tasks.engines.images import MODEL_TYPES, ImageReader
from thickets.tasks.engines.labels import Likelihood, choose, label_rows
from thickets.tasks.engines.prompt_reader import PromptReader
from thickets.tasks.engines.stops import StopChecker
from thickets.tasks.engines.token_answers import TokenAnswers
from thickets.tasks.engines.tokenizer import load_tokenizer
from thickets.tasks.engines.vllm_images import OPTIONS, Pictures, let_vllm_see
from thickets.tasks.engines.vllm_labels import vllm_likelihoods
from thickets.tasks.types import Candidate, Completion, Image, ImagePrompt, Labels, Merge, Prompt, Sampling, Weights

T = TypeVar("T")
logger = logging.getLogger(__name__)

_WORKER = "thickets.tasks.engines.vllm_worker.CandidateWorker"
_LARGEST_BLOCK = 256  # tokens; vLLM's own choice of a block is smaller for all but hybrid models
_LONGEST_REASON = 200  # characters; vLLM lists every architecture it knows


class VllmEngine:
    """Holds one vLLM engine; `load` has its worker write a candidate's weights, see `CandidateWorker`.

    One at a time in a process: vLLM keeps its process groups in module globals, and closing one engine takes them away
    from every other.
    """

    _is_open = False

    def __init__(self, spec: EngineSpec) -> None:
        if VllmEngine._is_open:
            raise RuntimeError("there is a vLLM engine in this process already; close it first")
        self._llm: Any = None
        try:
            self._open(spec)
        except BaseException:
            self.close()
            raise

    def _open(self, spec: EngineSpec) -> None:
        VllmEngine._is_open = True
        self._held: tuple[Weights | None] | None = None  # what was loaded, if anything was
        self._said: Counter[str] | None = None  # what vLLM says of every load
        self._read: list[list[int]] | None = None  # the prompts whose keys and values are cached
        self._batch_size = spec.batch_size
        self._shares_reads = spec.vllm.prefix_caching
        workarounds.set_environment()
        from vllm import LLM

        workarounds.search_only_vllm_modules()

        checkpoint = inspect_checkpoint(spec.model_path, spec.dtype, trust_remote_code=spec.trust_remote_code)
        if checkpoint.held_apart:
            raise InputError(
                f"engine.kind: the config ties {checkpoint.held_apart[0]}, yet the checkpoint holds other weights for "
                "it; vLLM would not load them, so set engine.kind to transformers"
            )
        self.n_perturbed = checkpoint.n_perturbed(spec.perturbation)
        dtype = checkpoint.dtype
        on_cpu = self._on_cpu = spec.device == "cpu"
        config = AutoConfig.from_pretrained(
            spec.model_path, trust_remote_code=spec.trust_remote_code, local_files_only=True
        )
        self._max_length = min(spec.max_length or _positions(config), _positions(config))
        options: dict[str, Any] = {
            "enforce_eager": on_cpu if spec.vllm.eager is None else spec.vllm.eager,
            "enable_prefix_caching": spec.vllm.prefix_caching,
            "tensor_parallel_size": spec.vllm.tensor_parallel,
        }
        block_size = spec.vllm.block_size or (workarounds.CPU_BLOCK if on_cpu else None)
        if block_size is not None:
            options["block_size"] = block_size
        self._probe_length = (block_size or _LARGEST_BLOCK) + 1  # fills a block of the prefix cache
        memory = vllm_memory(spec, config, dtype, self._max_length)
        options |= memory.options
        self._pictures: Pictures | None = None  # made at the first prompt with an image
        self._sees = config.model_type in MODEL_TYPES
        if self._sees:
            let_vllm_see(spec.model_path, self._max_length)
            options |= OPTIONS
        try:
            with workarounds.quiet_start(spec.threads):
                self._llm = LLM(
                    model=str(spec.model_path),
                    dtype=str(dtype).removeprefix("torch."),
                    max_model_len=self._max_length,
                    max_num_seqs=spec.batch_size,
                    trust_remote_code=spec.trust_remote_code,
                    generation_config="vllm",
                    worker_extension_cls=_WORKER,
                    use_tqdm_on_load=False,
                    disable_log_stats=True,
                    seed=0,
                    **options,
                )
        except ValueError as error:  # vLLM's way to refuse a model or a setting
            raise InputError(
                f"engine.kind: vLLM does not take this model or these settings: {_reason(error)}; "
                "change engine.vllm, or set engine.kind to transformers"
            ) from None
        noise, self._reading = spec.perturbation, (spec.dtype, spec.trust_remote_code)
        adopted: list[tuple[str, str]] = self._llm.collective_rpc(
            "thickets_adopt",
            args=(
                str(spec.model_path),
                spec.dtype,
                (noise.family, noise.include, noise.exclude, noise.scale),
                memory.base_copy,
                bool(spec.prefetch),
                spec.trust_remote_code,
            ),
        )
        reason, problem = next((found for found in adopted if any(found)), ("", ""))
        if problem:
            raise InputError(problem)
        if reason:
            logger.info("vLLM reloads every candidate itself, which takes longer than writing its weights: %s", reason)
        self._tokenizer = load_tokenizer(spec.model_path, trust_remote_code=spec.trust_remote_code)
        self._reader = PromptReader(self._tokenizer, images=lambda: ImageReader(spec.model_path))
        self._eos_ids = _eos_ids(spec.model_path, config, self._tokenizer)

    def rebase(self, model_path: Path) -> bool:
        """Read another base; see `thickets.tasks.engines.base.RebasableEngine.rebase`."""
        self._held = self._read = self._pictures = None
        done = self._llm.collective_rpc("thickets_rebase", args=(str(model_path), *self._reading))
        self._reader = PromptReader(self._tokenizer, images=lambda: ImageReader(model_path))
        return all(done)

    def load(self, weights: Weights | None) -> None:
        """Put these weights (or the base's, for None) into the engine; see `_prepare_cache` for what it has cached."""
        if self._held == (weights,):
            return
        self._held = None
        of_workers = self._llm.collective_rpc("thickets_load", args=(_plain(weights),))
        self._read = None  # so that what is cached of the previous weights is forgotten before the next answer
        said = Counter(line for lines in of_workers for line in lines)
        # The first load is the self-test's, which sees by checksums that what vLLM says of it is harmless.
        self._said = said if self._said is None else self._said
        if unheard_of := said - self._said:
            raise RuntimeError(f"vLLM has not loaded all of a candidate's weights: {'; '.join(unheard_of)}")
        self._held = (weights,)

    def prepare(self, weights: Weights) -> None:
        """Make these weights in the background; see `thickets.tasks.engines.base.Engine.prepare`."""
        self._llm.collective_rpc("thickets_prepare", args=(_plain(weights),))

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """Answer the prompts; see `thickets.tasks.engines.base.Engine.generate`."""
        if sampling.labels is not None:
            return choose(self, prompts, sampling)
        return self.generate_tokens(prompts, sampling).completions()

    def likelihoods(self, prompts: Sequence[Prompt], labels: Labels) -> list[tuple[Likelihood, ...]]:
        """Compare labels; see `thickets.tasks.engines.labels.LabelEngine.likelihoods`."""
        rows = label_rows(self._reader, prompts, labels)
        for row in rows:
            self._check_lengths([row.context], max(map(len, row.labels)))
        self._forget()
        return vllm_likelihoods(self._llm, rows)

    def generate_tokens(self, prompts: Sequence[Prompt], sampling: Sampling) -> TokenAnswers:
        """Answer the prompts in tokens; see `thickets.tasks.engines.base.TokenEngine.generate_tokens`."""
        checker = StopChecker(self._tokenizer, self._eos_ids, sampling.stop)
        if not prompts:
            return TokenAnswers([], checker)
        rows = self._reader.ids(prompts)
        self._check_lengths(rows, sampling.max_tokens)
        images = [prompt.image if isinstance(prompt, ImagePrompt) else None for prompt in prompts]
        outputs = self._answer(rows, sampling, images if any(images) else None)
        return TokenAnswers([list(output.outputs[0].token_ids) for output in outputs], checker)

    def _answer(self, rows: list[list[int]], sampling: Sampling, images: list[Image | None] | None = None) -> list[Any]:
        if images is None:
            requests: list[dict[str, Any]] = [{"prompt_token_ids": row} for row in rows]
        else:
            pictures = self._pictures = self._pictures or Pictures(self._reader.images)
            requests = [pictures.request(row, image) for row, image in zip(rows, images, strict=True)]
        self._prepare_cache(rows, requests, sampling)
        params = self._params(sampling, len(rows))
        outputs: list[Any] = self._llm.generate(requests, params, use_tqdm=False)
        return outputs

    def _prepare_cache(self, rows: list[list[int]], requests: list[dict[str, Any]], sampling: Sampling) -> None:
        """Make the prefix cache's content a function of these prompts alone: what is cached decides how vLLM computes.

        Samples of the same prompts find what the first of them read. So that the first computes like the others, the
        prompts are read before they are sampled.
        """
        is_sampled = sampling.temperature > 0 and self._shares_reads and len(rows) <= self._batch_size
        # Tokens of different images are the same tokens; these are read anew for every sample.
        is_sampled &= not any("multi_modal_data" in request for request in requests)
        if is_sampled and self._read == rows:
            return
        self._forget()
        if is_sampled:
            from vllm import SamplingParams

            once = SamplingParams(temperature=0, max_tokens=1, detokenize=False)
            self._llm.generate(requests, once, use_tqdm=False)
            self._read = rows

    def _forget(self) -> None:
        workarounds.clear_prefix_cache(self._llm)
        if self._sees:
            # Of images too: they may be the previous weights', and were computed beside others than the next will be.
            self._llm.llm_engine.reset_encoder_cache()
        self._read = None

    def checksums(self) -> dict[str, int]:
        """See `thickets.tasks.engines.self_test.Testable.checksums`; of several workers, by rank."""
        return _by_rank(self._llm.collective_rpc("thickets_checksums"))

    def changes(self) -> dict[str, bool]:
        """See `thickets.tasks.engines.self_test.Testable.changes`."""
        return _by_rank(self._llm.collective_rpc("thickets_changes"))

    def expected(self, weights: Weights | None) -> dict[str, int]:
        """See `thickets.tasks.engines.self_test.Testable.expected`."""
        return _by_rank(self._llm.collective_rpc("thickets_expected", args=(_plain(weights),)))

    def kernel_faults(self) -> list[str]:
        """See `thickets.tasks.engines.self_test.Testable.kernel_faults`."""
        return [fault for faults in self._llm.collective_rpc("thickets_kernel_faults") for fault in faults]

    def probe(self) -> int:
        """See `thickets.tasks.engines.self_test.Testable.probe`."""
        row = [next(iter(sorted(self._eos_ids)), 0)] * min(self._probe_length, self._max_length - 1)
        return int(self._answer([row], Sampling(1))[0].num_cached_tokens or 0)

    def _params(self, sampling: Sampling, n_rows: int) -> Any:
        from vllm import SamplingParams

        options: dict[str, Any] = {
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "stop": list(sampling.stop),
            "stop_token_ids": sorted(self._eos_ids),
            "detokenize": bool(sampling.stop),  # only vLLM's own search for stop strings needs the text
        }
        if sampling.temperature == 0:
            return SamplingParams(**options)
        if workarounds.seeds_all_requests_at_once(on_cpu=self._on_cpu):
            self._llm.collective_rpc("thickets_seed", args=(sampling.seed,))
            return SamplingParams(**options)
        return [SamplingParams(**options, seed=_row_seed(sampling.seed, row)) for row in range(n_rows)]

    def _check_lengths(self, rows: list[list[int]], max_tokens: int) -> None:
        shortest, longest = min(len(row) for row in rows), max(len(row) for row in rows)
        if shortest == 0:
            raise InputError("problem: a prompt has no tokens; every question must have text")
        if longest + max_tokens > self._max_length:
            raise InputError(
                f"decoding.max_tokens: the longest prompt has {longest} tokens and {max_tokens} more are asked for; "
                f"this model holds at most {self._max_length}"
            )

    def close(self) -> None:
        """Shut vLLM down and free its memory."""
        llm, self._llm = self._llm, None
        VllmEngine._is_open = False
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()
            del llm
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


@cache
def is_available(device_type: str) -> bool:
    """Return whether vLLM is installed and its build serves this type of device."""
    if importlib.util.find_spec("vllm") is None:
        return False
    workarounds.set_environment()
    from vllm.platforms import current_platform

    return str(current_platform.device_type) == device_type


def _plain(weights: Weights | None) -> list[tuple[int, float] | tuple[int, float, float]]:
    """Return seed and sigma of every member, of a merge its coefficient too, which any process can unpickle."""
    if weights is None:
        return []
    members = (weights,) if isinstance(weights, Candidate) else weights.members
    pairs = [(member.seed, member.sigma) for member in members]
    if isinstance(weights, Merge):
        return [(*pair, coefficient) for pair, coefficient in zip(pairs, weights.coefficients, strict=True)]
    return list(pairs)


def _by_rank(found: list[dict[str, T]]) -> dict[str, T]:
    """Merge what the workers of a divided model return."""
    if len(found) == 1:
        return found[0]
    return {f"rank {rank}: {name}": value for rank, each in enumerate(found) for name, value in each.items()}


def _row_seed(seed: int, row: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=8).digest(), "little") >> 1


def _reason(error: ValueError) -> str:
    text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[:_LONGEST_REASON] + "..."


def _positions(config: Any) -> int:
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or 1 << 20)


def _eos_ids(folder: Path, config: Any, tokenizer: Any) -> frozenset[int]:
    try:
        generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:  # no generation_config.json: Transformers reads the model's config then
        generation = GenerationConfig.from_model_config(config)
    configured = generation.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*ids, tokenizer.eos_token_id] if token is not None)
