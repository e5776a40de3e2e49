"""Commands that write a run's model as a checkpoint, register it, ask it, and evaluate it on new questions."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thickets.flows.cli.options import (
    AsJson,
    ExpertCount,
    HomeFolder,
    LikeRun,
    ModelName,
    OfMerge,
    RunName,
    home_of,
    render,
    say,
)
from thickets.storage.errors import InputError
from thickets.tasks.results.rival_method import RivalMethod

if TYPE_CHECKING:
    from thickets.storage.tracking.models import ModelKind


def materialize(
    name: RunName,
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; a new or an empty folder.")],
    rank: Annotated[
        int | None, typer.Option(help="Place on the selection split; 1, the best, if nothing else is said.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of a rank: any candidate, with --sigma.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Noise scale of the candidate with this --seed.")] = None,
    average: Annotated[
        bool, typer.Option("--average", help="Instead of one: the mean of the weights of all K experts.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Instead of one: the run's merge, the base and a weighted sum of noise.")
    ] = False,
    home: HomeFolder = None,
) -> None:
    """Write one expert of a run as an ordinary checkpoint, for vLLM, Transformers and whatever reads their format."""
    from thickets.flows.models.materialize import materialize as write_expert
    from thickets.flows.models.materialize import pick_candidate, pick_whole
    from thickets.flows.results.runs import find_run

    which = pick_candidate(rank, seed, sigma, pick_whole(average=average, merge=merge))
    facts = write_expert(home_of(home), find_run(home_of(home), name), which, target)
    say(f"{facts.title()} of {facts.run_id}, {facts.dtype}; see README.md there")
    say(f"serve it: vllm serve {shlex.quote(str(target))}")
    typer.echo(target)


def promote(
    run: RunName,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="The run's ensemble; what is taken if none is said.")
    ] = False,
    student: Annotated[
        bool, typer.Option("--student", help="The run's distilled student, the latest if there are several.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="The run's merge: one model made of the noise of many.")
    ] = False,
    rival: Annotated[
        RivalMethod | None,
        typer.Option(help="The model that this rival has made, the latest if there are several."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the registered model (default: problem and base model).")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make it champion whatever the comparisons say; the version is marked.")
    ] = False,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Register a run's model in MLflow; it becomes `champion` if it beats chance and a loss is excluded."""
    from thickets.flows.models.promotion import KIND_TITLES
    from thickets.flows.models.promotion import promote as register
    from thickets.flows.results.runs import find_run

    kinds: dict[ModelKind, bool] = {"ensemble": ensemble, "student": student, "merge": merge}
    chosen = [kind for kind, is_said in kinds.items() if is_said]
    chosen = [*chosen, *([rival] if rival else [])] or ["ensemble"]
    if len(chosen) > 1:
        first, second = ("rival" if kind == rival else kind for kind in chosen[:2])
        raise InputError(f"--{first}: and --{second} exclude each other; promote one at a time")
    found = register(find_run(home_of(home), run), chosen[0], name, force=force)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    how = "registered" if found.is_new else "registered before"
    say(f"{how}: {KIND_TITLES[found.kind]} of {found.run_id} as {found.uri}")
    say(f"champion: {'yes' if found.is_champion else 'no'}, {found.reason}")
    typer.echo(f"models:/{found.name}@champion" if found.is_champion else found.uri)


def ask(
    model: ModelName,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="As the problem's data puts it.")],
    k: ExpertCount = 0,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Of each expert's answer; 0: greedy.")] = 0.0,
    votes: Annotated[bool, typer.Option("--votes", help="Ask every expert and show what each answered.")] = False,
    like: LikeRun = None,
    merge: OfMerge = False,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Ask one question; experts answer, the best first, until their vote cannot change any more."""
    from thickets.flows.models.open import find_model

    named = find_model(home_of(home), model, like, merge=merge)
    say("loading the model")
    answerer = named.open()
    found = answerer.ask([question], k=k, temperature=temperature, every=votes)
    answerer.close()
    from thickets.flows.cli.tables_models import answer_json, answer_table

    if as_json:
        typer.echo(json.dumps(answer_json(found), indent=2))
    else:
        typer.echo("no expert gave an answer" if found.rows[0].answer is None else found.rows[0].answer)
        render(answer_table(found, votes=votes))


def evaluate(
    model: ModelName,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Questions and answers, as problem.path takes them.")],
    question_column: Annotated[str | None, typer.Option(help="Column with the question.")] = None,
    answer_column: Annotated[str | None, typer.Option(help="Column with the gold answer.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column with a unique id.")] = None,
    k: ExpertCount = 0,
    base: Annotated[bool, typer.Option("--base", help="Ask the base as well, and compare.")] = False,
    like: LikeRun = None,
    merge: OfMerge = False,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a new file of questions, judged as its run did; keep its accuracy as an MLflow run."""
    from thickets.flows.models.open import find_model
    from thickets.flows.models.reevaluation import reevaluate

    columns = {"question_column": question_column, "answer_column": answer_column, "id_column": id_column}
    named = find_model(home_of(home), model, like, merge=merge)
    say("loading the model")
    chosen = {name: value for name, value in columns.items() if value is not None}
    found = reevaluate(home_of(home), named, data, chosen, k=k, with_base=base)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    from thickets.flows.cli.tables_models import reevaluation_table

    render(reevaluation_table(found))
    if found.mlflow_address:
        say(f"MLflow: {found.mlflow_address}")
