"""Uses what a run leaves: asks, evaluates, writes and registers its models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from thickets.flows.api.homes import find, home_at

if TYPE_CHECKING:
    from thickets.flows.models.promotion import Promotion
    from thickets.flows.models.reevaluation import Reevaluation
    from thickets.storage.tracking.models import ModelKind
    from thickets.tasks.export.card import AverageFacts, ExpertFacts, MergeFacts
    from thickets.tasks.serving import Answer


def ask(
    model: str,
    question: str,
    *,
    k: int = 0,
    temperature: float = 0.0,
    every: bool = False,
    like: str | None = None,
    merge: bool = False,
    home: Path | str | None = None,
) -> Answer:
    """Ask a model one question; the experts of an ensemble answer, the best first, until the vote is decided.

    Args:
        model: A run, an MLflow address (``models:/...``, ``runs:/...``), a checkpoint folder or a hub id.
        question: As the problem's data has it, without the prompt around it.
        k: How many experts vote; 0: all.
        temperature: Of each expert's answer; 0: greedy.
        every: Ask every expert, even when the vote is decided.
        like: For a checkpoint or a hub id: the run whose prompt and verdict are used.
        merge: Of a run, its merge instead of its ensemble.
        home: As for `list_runs`.

    Raises:
        InputError: There is no such model.

    Example:
        >>> from thickets import ask
        >>> answer = ask("latest", "Which is the largest number: 790, 311 or 392?", every=True)
        >>> len(answer.ballots) == answer.n_asked
        True
    """
    from thickets.flows.models.open import find_model

    answerer = find_model(home_at(home), model, like, merge=merge).open()
    try:
        return answerer.ask([question], k=k, temperature=temperature, every=every).rows[0]
    finally:
        answerer.close()


def evaluate(
    model: str,
    data: Path | str,
    *,
    k: int = 0,
    base: bool = False,
    like: str | None = None,
    merge: bool = False,
    home: Path | str | None = None,
    **columns: str,
) -> Reevaluation:
    """Evaluate a model on a file of new questions, judged as its run did, and log an MLflow run.

    Args:
        model: As for `ask`.
        data: Questions and gold answers, in any form that `problem.path` takes.
        k: How many experts vote; 0: all.
        base: Ask the base too, and give the paired difference.
        like: As for `ask`.
        merge: As for `ask`.
        home: As for `list_runs`.
        columns: `question_column`, `answer_column` and `id_column`, where the run's problem calls them otherwise.

    Raises:
        InputError: There is no such model, or the file cannot be used.

    Example:
        >>> from pathlib import Path
        >>> from thickets import evaluate
        >>> row = '{"question": "Which is the largest number: 7 or 3?", "answer": "7"}'
        >>> _ = Path("new.jsonl").write_text(row)
        >>> found = evaluate("latest", "new.jsonl", question_column="question", answer_column="answer")
        >>> found.accuracy.n
        1
    """
    from thickets.flows.models.open import find_model
    from thickets.flows.models.reevaluation import reevaluate

    where = home_at(home)
    named = find_model(where, model, like, merge=merge)
    return reevaluate(where, named, Path(data), columns, k=k, with_base=base)


def materialize(
    run: str,
    target: Path | str,
    *,
    rank: int | None = None,
    seed: int | None = None,
    sigma: float | None = None,
    average: bool = False,
    merge: bool = False,
    home: Path | str | None = None,
) -> ExpertFacts | AverageFacts | MergeFacts:
    """Write one expert, any candidate, the weight average of the experts or the merge as an ordinary checkpoint folder.

    Args:
        run: A finished run.
        target: A new or an empty folder; it appears whole or not at all.
        rank: Place on the selection split; None without `seed`, `average` and `merge`: 1, the best.
        seed: Of any candidate, with `sigma`, instead of a rank.
        sigma: Noise scale of that candidate.
        average: Take the mean of the weights of all K experts.
        merge: Take the run's merge.
        home: As for `list_runs`.

    Raises:
        InputError: There is no such run or candidate, or `target` is taken.

    Example:
        >>> from thickets import materialize
        >>> materialize("latest", "my-expert").selection.rank
        1
    """
    from thickets.flows.models import materialize as models

    where, folder = find(run, home)
    whole = models.pick_whole(average=average, merge=merge)
    return models.materialize(where, folder, models.pick_candidate(rank, seed, sigma, whole), Path(target))


def promote(
    run: str,
    kind: ModelKind = "ensemble",
    name: str | None = None,
    *,
    force: bool = False,
    home: Path | str | None = None,
) -> Promotion:
    """Register a run's model in MLflow; it becomes `champion` if it beats chance and excludes a loss.

    A loss is excluded on the test questions that the present champion answered. A model that is not better than chance
    is not registered.

    Args:
        run: A finished run.
        kind: Its ensemble, student, merge, or what a rival has made (``es``, ``grpo``).
        name: Of the registered model; None: problem and base.
        force: Make it champion whatever the comparisons say; the version is marked.
        home: As for `list_runs`.

    Raises:
        InputError: The run has no such model, it is not better than chance, or the name cannot be one.

    Example:
        >>> from thickets import promote
        >>> promote("latest", name="my-model", force=True).is_champion
        True
    """
    from thickets.flows.models.promotion import promote as register

    return register(find(run, home)[1], kind, name, force=force)
