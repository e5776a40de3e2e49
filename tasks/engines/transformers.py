"""The Transformers engine: any causal language model, on CPU or CUDA, perturbed in place from a pristine copy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from thickets.storage.errors import InputError
from thickets.tasks.engines.ahead import Ahead
from thickets.tasks.engines.attention import group_heads
from thickets.tasks.engines.auto_class import auto_class
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.engines.candidate_weights import copy_base, noise_dtype
from thickets.tasks.engines.card_memory import transformers_base_copy
from thickets.tasks.engines.checksums import checksums
from thickets.tasks.engines.decoding import Prefill, Prefix, common_prefix, compute_prefix, decode, prefill
from thickets.tasks.engines.devices import pick_device
from thickets.tasks.engines.image_features import ImageFeatures, embed
from thickets.tasks.engines.images import ImageReader
from thickets.tasks.engines.kernel_check import kernel_faults
from thickets.tasks.engines.label_reading import label_batches, read_labels
from thickets.tasks.engines.labels import Likelihood, choose, label_rows
from thickets.tasks.engines.model_files import broken_files
from thickets.tasks.engines.prompt_reader import PromptReader
from thickets.tasks.engines.sampling import TokenChooser
from thickets.tasks.engines.stops import StopChecker
from thickets.tasks.engines.stored_names import stored_names
from thickets.tasks.engines.token_answers import TokenAnswers
from thickets.tasks.engines.tokenizer import load_tokenizer
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Completion, Image, ImagePrompt, Labels, Prompt, Sampling, Weights

_PROBE_LEN = 8  # tokens
# Keys and values of prompts that are sampled again and again; beyond this, every sample reads them anew.
_MOST_KEPT_BYTES = 1 << 30


@dataclass(slots=True)
class _Weight:
    """One perturbed parameter: name of its noise, its factor on sigma, live tensor, base copy, and a flat spare.

    The spare is for weights made ahead.
    """

    name: str
    factor: float
    parameter: torch.nn.Parameter
    base: torch.Tensor
    spare: torch.Tensor | None = None

    @property
    def live(self) -> torch.Tensor:
        return self.parameter.data.view(-1)

    def swap(self) -> None:
        """Exchange the live tensor and the spare."""
        assert self.spare is not None
        live, self.parameter.data = self.live, self.spare.view(self.parameter.shape)
        self.spare = live


class TransformersEngine:
    """Holds one model; `load` rewrites every selected weight from the base copy, so nothing ever accumulates."""

    def __init__(self, spec: EngineSpec) -> None:
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)
        self._family = spec.perturbation.family
        device = pick_device(spec.device)
        base_copy = transformers_base_copy(spec, device)
        with broken_files("its tokenizer", spec.model_path, passing=(OSError,)):
            tokenizer = load_tokenizer(spec.model_path, trust_remote_code=spec.trust_remote_code)
        with broken_files("its weights", spec.model_path, passing=(OSError,)):
            loader = auto_class(spec.model_path, trust_remote_code=spec.trust_remote_code)
            model: Any = loader.from_pretrained(
                spec.model_path,
                dtype="auto" if spec.dtype == "auto" else getattr(torch, spec.dtype),
                trust_remote_code=spec.trust_remote_code,
                use_safetensors=True,
                local_files_only=True,
                # Straight to a GPU: by way of the host, several engines at once would fill its memory.
                device_map={"": device} if device.type == "cuda" else None,
            )
        model.eval().requires_grad_(False).to(device)
        noise_names = stored_names(model, spec.model_path).perturbed(spec.perturbation)
        group_heads(model)
        self._adopt(model, tokenizer, spec.batch_size, spec.model_path)
        self._weights = list(_perturbed_weights(model, noise_names, spec.perturbation, base_copy))
        self._perturbed = frozenset(noise_names)
        self._perturbs_vision = any(not Perturbation().selects(name) for name in noise_names)
        if not self._weights:
            raise InputError("noise.include/exclude: the patterns leave no parameter of this model to perturb")
        self._prefetch = spec.prefetch is not False and device.type == "cpu"

    @classmethod
    def over(cls, model: Any, tokenizer: Any, batch_size: int) -> TransformersEngine:
        """Make an engine around a live model, which answers with its weights as they are and has no candidates.

        Args:
            model: In evaluation mode; call ``load(None)`` after its weights have changed.
            tokenizer: Its tokenizer.
            batch_size: Most prompts decoded together.
        """
        engine = cls.__new__(cls)
        engine._adopt(model, tokenizer, batch_size)
        engine._weights, engine._prefetch = [], False
        return engine

    def _adopt(self, model: Any, tokenizer: Any, batch_size: int, folder: Path | None = None) -> None:
        self._model, self._tokenizer, self._batch_size = model, tokenizer, batch_size
        self._reader = PromptReader(tokenizer, images=None if folder is None else lambda: ImageReader(folder))
        self._features: ImageFeatures | None = None  # made at the first prompt with an image
        self._eos_ids = _eos_ids(model, tokenizer)
        self._pad_id = next(iter(sorted(self._eos_ids)), 0)
        self._held: Weights | None = None  # the live weights; None is the base
        self._prefix: Prefix | None = None
        self._kept: list[Prefill] = []  # of prompts that were sampled, for the next sample of them
        self._prefix_works = True
        self._ahead = Ahead()

    @property
    def model(self) -> Any:
        """The live model with the weights that were loaded last; to be read, never changed."""
        return self._model

    @property
    def n_perturbed(self) -> int:
        """Count the weights that a candidate changes."""
        return sum(weight.base.numel() for weight in self._weights)

    def load(self, weights: Weights | None) -> None:
        """Put a candidate's or an average's weights (or the base's, for None) in place of the live ones."""
        if self._weights and weights == self._held:
            return
        self._prefix, self._kept = None, []  # their keys and values belong to the previous weights
        if self._features is not None and self._perturbs_vision:
            self._features.forget()
        ready = self._ahead.take(weights)
        for weight in self._weights:
            if ready:
                weight.swap()
            elif weights is None:
                weight.live.copy_(weight.base, non_blocking=True)
            else:
                self._write(weight.live, weight, weights)
        self._held = weights

    def prepare(self, weights: Weights) -> None:
        """Make these weights on another thread (on the CPU, with `EngineSpec.prefetch`)."""
        if self._prefetch and weights != self._held:
            self._ahead.start(weights, self._make_spares)

    def _make_spares(self, weights: Weights) -> None:
        for weight in self._weights:
            if weight.spare is None:
                weight.spare = torch.empty_like(weight.base)
            self._write(weight.spare, weight, weights)

    def _write(self, target: torch.Tensor, weight: _Weight, weights: Weights) -> None:
        write_weights(target, weight.base, name=weight.name, weights=weights, family=self._family, factor=weight.factor)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """Answer the prompts; see `thickets.tasks.engines.base.Engine.generate`."""
        if sampling.labels is not None:
            return choose(self, prompts, sampling)
        return self.generate_tokens(prompts, sampling).completions()

    def likelihoods(self, prompts: Sequence[Prompt], labels: Labels) -> list[tuple[Likelihood, ...]]:
        """Compare labels; see `thickets.tasks.engines.labels.LabelEngine.likelihoods`."""
        rows = label_rows(self._reader, prompts, labels)
        if not rows:
            return []
        self._kept = []
        for row in rows:
            self._check_lengths([row.context], max(map(len, row.labels)))
        prefix = self._shared_prefix([row.context for row in rows])
        found: dict[tuple[int, int], float] = {}
        for batch in label_batches(rows, self._batch_size):
            found |= read_labels(self._model, rows, batch, prefix, self._pad_id)
        return [
            tuple(Likelihood(found[place, number], len(tokens)) for number, tokens in enumerate(row.labels))
            for place, row in enumerate(rows)
        ]

    def generate_tokens(self, prompts: Sequence[Prompt], sampling: Sampling) -> TokenAnswers:
        """Answer the prompts in tokens; see `thickets.tasks.engines.base.TokenEngine.generate_tokens`."""
        checker = StopChecker(self._tokenizer, self._eos_ids, sampling.stop)
        if not prompts:
            return TokenAnswers([], checker)
        rows = self._reader.ids(prompts)
        self._check_lengths(rows, sampling.max_tokens)
        images = [prompt.image if isinstance(prompt, ImagePrompt) else None for prompt in prompts]
        has_images = any(images)
        # Tokens of different images are the same tokens: what stands before them is little, and none of it is shared.
        prefix = None if has_images else self._shared_prefix(rows)
        found: list[list[int]] = [[] for _ in rows]
        by_length = sorted(range(len(rows)), key=lambda index: (len(rows[index]), index))
        batches = [by_length[start : start + self._batch_size] for start in range(0, len(rows), self._batch_size)]
        prompts_of = [[rows[index] for index in batch] for batch in batches]
        self._kept = [each for each in self._kept if self._is_of_use(each, prompts_of, sampling)]
        for batch, batch_prompts in zip(batches, prompts_of, strict=True):
            if has_images:
                start = self._look(batch_prompts, [images[index] for index in batch], sampling)
            else:
                start = self._read(batch_prompts, prefix, sampling)
            answers = decode(self._model, start, checker, TokenChooser(sampling, batch))
            for index, tokens in zip(batch, answers, strict=True):
                found[index] = tokens
        return TokenAnswers(found, checker)

    def _read(self, prompts: list[list[int]], prefix: Prefix | None, sampling: Sampling) -> Prefill:
        """Let the model read a batch of prompts, unless it did so for the sample before."""
        for kept in self._kept:
            if kept.serves(prompts, sampling.max_tokens):
                return kept
        read = prefill(self._model, prompts, prefix, sampling.max_tokens, self._pad_id)
        # Greedy answers are asked for once.
        if sampling.temperature > 0 and sum(each.n_bytes for each in (*self._kept, read)) <= _MOST_KEPT_BYTES:
            self._kept.append(read)
        return read

    def _look(self, prompts: list[list[int]], images: list[Image | None], sampling: Sampling) -> Prefill:
        """Let the model read a batch of prompts with their images."""
        features = self._features = self._features or ImageFeatures(self._model, self._reader.images)

        def look(inputs: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return embed(features, self._model, inputs, mask, images)

        return prefill(self._model, prompts, None, sampling.max_tokens, self._pad_id, look)

    @staticmethod
    def _is_of_use(kept: Prefill, batches: list[list[list[int]]], sampling: Sampling) -> bool:
        return sampling.temperature > 0 and any(kept.serves(prompts, sampling.max_tokens) for prompts in batches)

    def _shared_prefix(self, rows: list[list[int]]) -> Prefix | None:
        """Return keys and values of the prompts' common prefix; kept until other weights are loaded."""
        length = common_prefix(rows) if self._prefix_works else 0
        if length == 0:
            return None
        tokens = tuple(rows[0][:length])
        if self._prefix is None or self._prefix.tokens != tokens:
            self._prefix = compute_prefix(self._model, tokens)
            self._prefix_works = self._prefix is not None
        return self._prefix

    def _check_lengths(self, rows: list[list[int]], max_tokens: int) -> None:
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        shortest, longest = min(len(row) for row in rows), max(len(row) for row in rows)
        if shortest == 0:
            raise InputError("problem: a prompt has no tokens; every question must have text")
        if limit is not None and longest + max_tokens > limit:
            raise InputError(
                f"decoding.max_tokens: the longest prompt has {longest} tokens and {max_tokens} more are asked for; "
                f"this model holds at most {limit}"
            )

    def weights_sha256(self) -> str:
        """Hash every live parameter and buffer, to prove what the model holds."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def checksums(self) -> dict[str, int]:
        """See `thickets.tasks.engines.self_test.Testable.checksums`; a tied tensor has one, as long as it is one."""
        named: dict[int, tuple[str, torch.Tensor]] = {}
        for name, parameter in self._model.named_parameters(remove_duplicate=False):
            named.setdefault(parameter.data_ptr(), (name, parameter.data))
        return checksums(named.values())

    def changes(self) -> dict[str, bool]:
        """See `thickets.tasks.engines.self_test.Testable.changes`."""
        return {name: name in self._perturbed for name, _ in self._model.named_parameters()}

    def expected(self, weights: Weights | None) -> dict[str, int]:
        """See `thickets.tasks.engines.self_test.Testable.expected`; they are made in place."""
        return {}

    def kernel_faults(self) -> list[str]:
        """See `thickets.tasks.engines.self_test.Testable.kernel_faults`."""
        dtypes = sorted({weight.base.dtype for weight in self._weights}, key=str)
        return kernel_faults(self._model.device, dtypes, self._family)

    def probe(self) -> int:
        """See `thickets.tasks.engines.self_test.Testable.probe`."""
        stale = sum(each.n_bytes > 0 for each in self._kept) + (len(self._prefix.tokens) if self._prefix else 0)
        self._shared_prefix([[self._pad_id] * _PROBE_LEN] * 2)
        return stale

    def close(self) -> None:
        """Drop the model and its base copy."""
        self._ahead.close()
        self._weights = []
        self._prefix, self._kept, self._features = None, [], None
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _perturbed_weights(
    model: Any, noise_names: dict[str, str], perturbation: Perturbation, base_copy: Literal["device", "host"]
) -> Iterator[_Weight]:
    for name, parameter in model.named_parameters():  # a tied one once
        if name not in noise_names:
            continue
        noise_dtype(parameter, name)
        if not parameter.data.is_contiguous():
            parameter.data = parameter.data.contiguous()
        noise_name = noise_names[name]
        yield _Weight(noise_name, perturbation.factor(noise_name), parameter, copy_base(parameter.data, base_copy))


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*ids, tokenizer.eos_token_id] if token is not None)
