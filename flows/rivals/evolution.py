"""Evolution strategies as a rival: rounds of candidates around the model so far, and a step along their noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from thickets.flows.config.rivals_es import EsConfig
from thickets.flows.model_in_place import model_in_place
from thickets.flows.plan import RunPlan
from thickets.flows.rivals.checkpoints import Checkpoints, run_dtype
from thickets.flows.rivals.exam import Exam, ExamEngines, Examiner
from thickets.flows.rivals.methods import Made, OnPoint
from thickets.flows.rivals.plan import RivalPlan
from thickets.flows.runtime.environment import log
from thickets.storage.files import write_text_atomically
from thickets.tasks.results.cost import Cost
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.rival_method import METHOD_NAMES
from thickets.tasks.results.rivals import RivalPoint, chosen_point
from thickets.tasks.rivals.evolution import Round, draw_questions, draw_round, rewards_of
from thickets.tasks.scoring.executors.ray_cluster import RayCluster
from thickets.tasks.scoring.units import candidate_id
from thickets.tasks.statistics import accuracy_of
from thickets.tasks.types import Candidate, Merge


class StepTaken(BaseModel):
    """A step from one round's model to the next one's; all that is needed to take it again.

    Attributes:
        seeds: Of its candidates, as text; empty where all scores were equal, and the model stays as it is.
        coefficients: Of their noise.
        sigma: Of all of them.
        mean: Mean score of the round's models, 0 to 1.
        best: The best of these.
    """

    model_config = ConfigDict(frozen=True)

    seeds: tuple[str, ...]
    coefficients: tuple[float, ...]
    sigma: float
    mean: float
    best: float

    @property
    def merge(self) -> Merge | None:
        """The step as the model after it, around the one before."""
        if not self.seeds:
            return None
        return Merge(tuple(Candidate(int(seed), self.sigma) for seed in self.seeds), self.coefficients)


class EsState(BaseModel):
    """What has been done so far.

    Attributes:
        steps: In their order.
        points: The looks at the validation split, step 0 first.
        spent: On all of this.
        ended: Why it ended; None: it goes on.
    """

    model_config = ConfigDict(frozen=True)

    steps: tuple[StepTaken, ...] = ()
    points: tuple[RivalPoint, ...]
    spent: Cost = Cost()
    ended: str | None = None

    @property
    def merges(self) -> list[Merge | None]:
        """The steps."""
        return [step.merge for step in self.steps]


def evolve(plan: RivalPlan, base: Accuracy, cluster: RayCluster | None, on_point: OnPoint) -> Made:
    """Take rounds until budget, patience or `rivals.es.rounds` end it; see `thickets.flows.rivals.methods.Method`.

    A round's answers lie in shards around its own model, so a killed one scores nothing twice. The seconds of a round
    that was cut off are not counted.
    """
    return _Evolution(plan, cluster, on_point).run(base)


@dataclass(frozen=True, slots=True)
class _Evolution:
    plan: RivalPlan
    cluster: RayCluster | None
    on_point: OnPoint

    def run(self, base: Accuracy) -> Made:
        state = self._load(base)
        checkpoints = Checkpoints(self.plan.run, self.plan.folder.work / "steps")
        with ExamEngines(self.cluster) as engines:
            while state.ended is None:
                written = _last_taken(state.merges)  # the next one is made of it
                state = self._advance(state, checkpoints, engines)
                self._save(state)
                chosen = state.merges[: chosen_point(state.points).step]
                checkpoints.keep({written, _last_taken(chosen)})
        chosen = state.merges[: chosen_point(state.points).step]
        checkpoints.write_model(chosen, self.plan.folder.model, self.plan.card(METHOD_NAMES["es"]))
        checkpoints.keep(())
        return Made(self._label, state.points, state.ended, state.spent)

    def _load(self, base: Accuracy) -> EsState:
        path = self.plan.folder.state
        if path.is_file():
            return EsState.model_validate_json(path.read_text(encoding="utf-8"))
        return EsState(points=(RivalPoint(step=0, cost=Cost(), validation=base),))

    def _save(self, state: EsState) -> None:
        write_text_atomically(self.plan.folder.state, state.model_dump_json(indent=2))

    def _advance(self, state: EsState, checkpoints: Checkpoints, engines: ExamEngines) -> EsState:
        """Look at the validation split where that is due, then take one more round unless that ends it."""
        number = len(state.steps)
        scored = self._round_plan(state, checkpoints)
        with Examiner(self.plan, scored, f"round-{number:04d}", engines) as examiner:
            if self._is_due(state):
                state = self._look(state, examiner.ask("validation", [None], "es-validation"))
                self._save(state)
                if state.ended is not None:
                    return state
            section = self._section
            drawn = draw_round(section.population, self._sigma, section.seed, number, antithetic=section.antithetic)
            found = examiner.ask("selection", drawn.respondents, "es-round")
        step = self._step(drawn, found)
        state = state.model_copy(update={"steps": (*state.steps, step), "spent": state.spent + found.cost})
        log.info(f"  round {number + 1}: mean {100 * step.mean:.1f} %, best {100 * step.best:.1f} %")
        return state

    def _round_plan(self, state: EsState, checkpoints: Checkpoints) -> RunPlan:
        run, section, number = self.plan.run, self._section, len(state.steps)
        model = checkpoints.at(state.merges)
        n = section.questions or run.config.data.selection
        questions = draw_questions(self.plan.questions, n, section.seed, number)
        return model_in_place(run, model, (questions, run.splits.validation), run_dtype(run))

    def _is_due(self, state: EsState) -> bool:
        number = len(state.steps)
        if number == state.points[-1].step:
            return False
        return number % self._section.evaluate_every == 0 or self._is_last(state) is not None

    def _is_last(self, state: EsState) -> str | None:
        if len(state.steps) >= self._section.rounds:
            return f"it had taken {len(state.steps)} rounds (rivals.es.rounds)"
        if self.plan.budget.is_spent(state.spent):
            return f"its budget was spent after round {len(state.steps)}"
        return None

    def _look(self, state: EsState, found: Exam) -> EsState:
        spent = state.spent + found.cost
        point = RivalPoint(step=len(state.steps), cost=spent, validation=accuracy_of(found.answers))
        self.on_point(point)
        state = state.model_copy(update={"points": (*state.points, point), "spent": spent})
        n_idle = sum(each.step > chosen_point(state.points).step for each in state.points)
        ended = self._is_last(state)
        if ended is None and n_idle >= self._section.patience:
            ended = f"{n_idle} looks at the validation split found nothing better (rivals.es.patience)"
        return state.model_copy(update={"ended": ended})

    @property
    def _section(self) -> EsConfig:
        assert isinstance(self.plan.section, EsConfig)
        return self.plan.section

    @property
    def _sigma(self) -> float:
        return self._section.scale(self.plan.run.config.population.sigmas)

    @property
    def _rate(self) -> float:
        return self._section.rate(self.plan.run.config.population.sigmas)

    @property
    def _label(self) -> str:
        section = self._section
        pairs = " in pairs" if section.antithetic else ""
        size = f"{section.population}{pairs} at sigma {self._sigma:g}"
        return f"evolution strategies, {size}, rate {self._rate:g}{self.plan.of_questions}"

    def _step(self, drawn: Round, found: Exam) -> StepTaken:
        rewards = rewards_of(found.answers, [candidate_id(who) for who in drawn.respondents])
        merge = drawn.step(rewards, self._rate, self._section.shaping)
        return StepTaken(
            seeds=tuple(str(member.seed) for member in merge.members) if merge else (),
            coefficients=merge.coefficients if merge else (),
            sigma=self._sigma,
            mean=sum(rewards) / len(rewards) / 1000,
            best=max(rewards) / 1000,
        )


def _last_taken(merges: Sequence[Merge | None]) -> int:
    return max((number for number, merge in enumerate(merges, start=1) if merge is not None), default=0)
