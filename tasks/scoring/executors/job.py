"""The description of a run's scoring that an engine in another process gets, on this machine or another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from thickets.storage.errors import InputError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.shards.folder import open_shard_folder
from thickets.tasks.engines import EngineSpec, build_engine
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.units import Block, UnitReport
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.types import Sampling
from thickets.tasks.verifiers.thought import Thoughts


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """The scoring of one run, for a process anywhere.

    Attributes:
        model: A hub id, a built-in name or an absolute path, the same on every machine.
        revision: Commit of a hub id; None for others.
        sha256: Content hash that the model must have there.
        trust_remote_code: Also fetch Python code that comes with the model.
        engine: How the engine is built; its `model_path` is replaced by the machine's own.
        problem: The problem's configuration.
        blocks: The examples with their prompts.
        sampling: Decoding.
        shards: Where shards go, as `thickets.storage.shards.folder.shard_location` gives it.
        identity: What the fingerprint is the hash of; the machine's own libraries and perturbation must match.
        reasoning: What begins and what ends a thought, for the judge.
        judgement: What the verdicts' fingerprint is the hash of; the machine's own judge must match.
    """

    model: str
    revision: str | None
    sha256: str
    trust_remote_code: bool
    engine: EngineSpec
    problem: ProblemConfig
    blocks: tuple[Block, ...]
    sampling: Sampling
    shards: str
    identity: Mapping[str, Any]
    reasoning: Thoughts | None
    judgement: Mapping[str, Any]

    def open_worker(
        self,
        host: str,
        name: str,
        on_unit: Callable[[UnitReport], None] = lambda report: None,
        on_generated: Callable[[], None] = lambda: None,
    ) -> ScoringWorker:
        """Make this machine's worker; its engine is built at the first shard.

        Args:
            host: This machine, for messages.
            name: The worker, for reports.
            on_unit: As for `ScoringWorker`.
            on_generated: As for `ScoringWorker`.

        Raises:
            InputError: The model or the problem is not here, or this machine would give other answers.
        """
        try:
            self._check_libraries()
            self._check_card()
            base = find_base_model(self.model, self.revision, trust_remote_code=self.trust_remote_code)
            if base.sha256 != self.sha256:
                raise InputError(
                    f"model: {self.model} has the content hash {base.sha256} here, but the run is about "
                    f"{self.sha256}; put the same files there"
                )
            judge = Judge(load_problem(self.problem), self.reasoning)
            self._check_same("judge", judge.identity(), self.judgement["judge"])
            self._check_same("perturbation", self.engine.perturbation.identity(), self.identity["perturbation"])
            folder = open_shard_folder(self.shards)
        except InputError as error:
            raise InputError(f"on {host}: {error}") from None
        spec = replace(self.engine, model_path=base.path)
        return ScoringWorker(
            lambda: build_engine(spec),
            judge,
            self.blocks,
            self.sampling,
            folder,
            folder.verdicts(fingerprint(dict(self.judgement))),
            name=name,
            on_unit=on_unit,
            on_generated=on_generated,
        )

    def _check_libraries(self) -> None:
        for library, expected in self.identity["engine"]["libraries"].items():
            try:
                found = version(library)
            except PackageNotFoundError:
                found = "not installed"
            if found != expected:
                raise InputError(
                    f"engine.executor: {library} is {found} here and {expected} where the run was started, and "
                    "answers may differ; install the same version on every machine"
                )

    def _check_card(self) -> None:
        expected = self.identity["engine"].get("card")
        if expected is None:
            return
        from thickets.tasks.engines.devices import device_name

        if (found := device_name("cuda")) != expected:
            raise InputError(
                f"engine.executor: the GPU is {found} here and {expected} where the run was planned, and answers may "
                "differ; use machines with one kind of GPU"
            )

    def _check_same(self, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            raise InputError(
                f"engine.executor: the {what} is {found} here and {expected} where the run was started; "
                "install the same version of thickets (and of your own verifier) on every machine"
            )
