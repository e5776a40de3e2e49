"""The command line. Results go to standard output; progress, messages and errors go to standard error."""

from __future__ import annotations

import json
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from flows.environment import set_command_line_defaults
from storage.errors import InputError, ThicketsError

if TYPE_CHECKING:
    from flows.config import RunConfig
    from storage.layout import Home

# Commands import what they need when they run: `thickets --help` must not wait for PyTorch and Prefect.

app = typer.Typer(
    name="thickets",
    help="Search the neighbourhood of a language model for experts of a task, and let them vote.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

Source = Annotated[str, typer.Argument(metavar="CONFIG", help="A preset's name, or a path to a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field, e.g. population.size=500. Repeatable."),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run id, a unique prefix of one, or `latest`.")]
HomeFolder = Annotated[
    Path | None, typer.Option("--home", help="Folder of the runs (default: $THICKETS_HOME, else thickets-data).")
]
ModelName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A run, an MLflow address (models:/..., runs:/...), a checkpoint, a hub id."),
]
ExpertCount = Annotated[int, typer.Option("--k", min=0, help="How many experts vote, the best first; 0: all.")]
LikeRun = Annotated[
    str | None, typer.Option("--like", metavar="RUN", help="For a checkpoint or a hub id: the run it is asked like.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else there.")]


@app.command(epilog="Example: `thickets run quickstart --set population.size=96`")
def run(
    config: Source,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; what is there is moved aside.")] = False,
) -> None:
    """Run a search, or go on with an interrupted one: the same config continues where it stopped."""
    from flows.config_file import load_config
    from flows.interrupt import ends_soon
    from flows.preflight import check_inputs

    run_config = load_config(config, overrides or [])
    check_inputs(run_config)
    _say("starting Prefect (about ten seconds unless a server is running)")
    from flows.display import console, show_summary
    from flows.randopt import randopt

    if run_config.problems:
        from flows.display_comparison import show_comparison
        from flows.randopt_many import randopt_many

        with ends_soon():
            comparison = randopt_many(run_config, fresh=fresh)
        show_comparison(comparison, console())
        _show_students(run_config, [each.run_id for each in comparison.runs])
        _say("each problem is a run of its own: thickets show RUN")
        return
    with ends_soon():
        summary = randopt(run_config, fresh=fresh)
    show_summary(summary, console())
    _show_students(run_config, [summary.run_id])
    _say("three test questions with the experts' votes: thickets show latest")


@app.command(epilog="Example: `thickets estimate my.yaml --set population.size=5000`")
def estimate(config: Source, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Candidates, completions, tokens, time and disk of a run, before anything is spent."""
    from flows.config_file import load_config
    from flows.preflight import check_inputs

    run_config = load_config(config, overrides or [])
    check_inputs(run_config)
    _say("loading the model for a short probe")
    from flows.display import estimate_table, estimates_table
    from flows.estimate import Estimate, estimate_many
    from flows.estimate import estimate as estimate_run

    result = estimate_many(run_config) if run_config.problems else estimate_run(run_config)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        _print(estimate_table(result) if isinstance(result, Estimate) else estimates_table(result))


@app.command(epilog="Example: `thickets runs --json`")
def runs(home: HomeFolder = None, as_json: AsJson = False) -> None:
    """What has run here, the latest first."""
    from flows.display import runs_table
    from flows.history import list_runs

    rows = list_runs(_home(home))
    if as_json:
        typer.echo(json.dumps([row.model_dump() for row in rows], indent=2))
    elif rows:
        _print(runs_table(rows))
    else:
        _say(f"no runs in {_home(home).root}; start one with `thickets run quickstart`")


@app.command(epilog="Example: `thickets show latest`")
def show(name: RunName, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """The result of a finished run, with three test questions and the experts' votes on them."""
    from flows.history import find_run, load_summary

    folder = find_run(_home(home), name)
    summary = load_summary(folder)
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    from flows.display import console, show_summary
    from flows.history import example_votes, open_scores

    with open_scores(_home(home), folder) as reader:
        votes = example_votes(reader, summary)
    show_summary(summary, console(), votes)


@app.command(epilog="Example: `thickets compare quickstart-d45c6075 latest`")
def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Two runs or more: ids, unique prefixes, or `latest`.")
    ],
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Finished runs side by side: results, paired differences, discordance of their problems, what differs."""
    from flows.compare import compare as compare_runs

    comparison = compare_runs(_home(home), names)
    if as_json:
        typer.echo(comparison.model_dump_json(indent=2))
        return
    from flows.display import console
    from flows.display_comparison import show_comparison

    show_comparison(comparison, console())


@app.command(epilog="Example: `thickets report latest --out result.html`")
def report(
    name: RunName,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to; report.html in the run's folder otherwise.")
    ] = None,
    home: HomeFolder = None,
) -> None:
    """Write a finished run's report again: one HTML file with verdict, figures, plots and examples; prints its path."""
    from flows.history import find_run
    from flows.report import report_again

    typer.echo(report_again(_home(home), find_run(_home(home), name), out))


@app.command(epilog='Example: `thickets sql latest "select * from leaderboard limit 5"`')
def sql(
    name: RunName,
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT; see `show tables`.")],
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Read-only SQL on a run's scores: tables, views and completions."""
    from flows.display import frame_table
    from flows.history import find_run, open_scores

    folder = find_run(_home(home), name)
    with open_scores(_home(home), folder) as reader:
        frame = reader.query(statement)
    if as_json:
        typer.echo(json.dumps(frame.to_dicts(), indent=2, default=str))
    else:
        _print(frame_table(frame))


@app.command(epilog="Example: `thickets materialize latest my-expert --rank 1`")
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
    home: HomeFolder = None,
) -> None:
    """Write one expert of a run as an ordinary checkpoint, for vLLM, Transformers and whatever reads theirs."""
    from flows.history import find_run
    from flows.materialize import materialize as write_expert
    from flows.materialize import pick_candidate

    which = pick_candidate(rank, seed, sigma, average=average)
    facts = write_expert(_home(home), find_run(_home(home), name), which, target)
    _say(f"{facts.title()} of {facts.run_id}, {facts.dtype}; see README.md there")
    _say(f"serve it: vllm serve {shlex.quote(str(target))}")
    typer.echo(target)


@app.command(epilog="Example: `thickets distill latest --set distillation.examples=200`")
def distill(name: RunName, overrides: Overrides = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Train one model on the answers of a finished run's experts, and compare it with them."""
    from flows.distill_plan import distill_config
    from flows.history import find_run
    from flows.interrupt import ends_soon
    from flows.preflight import check_inputs

    run_config = distill_config(_home(home), find_run(_home(home), name), overrides or [])
    check_inputs(run_config)
    _say("starting Prefect (about ten seconds unless a server is running)")
    from flows.display import console
    from flows.distill import distill as distill_run
    from flows.distill_display import show_distillation

    with ends_soon():
        summary = distill_run(run_config)
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
    else:
        show_distillation(summary, console())


@app.command(epilog="Example: `thickets promote latest --name gsm8k-champion`")
def promote(
    run: RunName,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="The run's ensemble; what is taken if none is said.")
    ] = False,
    student: Annotated[bool, typer.Option("--student", help="The run's distilled student.")] = False,
    name: Annotated[str | None, typer.Option(help="Of the registered model (default: problem and base model).")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make it champion whatever the comparison says; the version is marked.")
    ] = False,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Register a run's model in MLflow; it becomes `champion` if, on the same test questions, a loss is excluded."""
    from flows.history import find_run
    from flows.registry import promote as register

    if ensemble and student:
        raise InputError("--ensemble: and --student exclude each other; promote one at a time")
    found = register(find_run(_home(home), run), "student" if student else "ensemble", name, force=force)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    _say(f"{'registered' if found.is_new else 'registered before'}: {found.kind} of {found.run_id} as {found.uri}")
    _say(f"champion: {'yes' if found.is_champion else 'no'}, {found.reason}")
    typer.echo(f"models:/{found.name}@champion" if found.is_champion else found.uri)


@app.command(epilog='Example: `thickets ask latest "Which is the largest number: 790, 311 or 392?"`')
def ask(
    model: ModelName,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="As the problem's data puts it.")],
    k: ExpertCount = 0,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Of each expert's answer; 0: greedy.")] = 0.0,
    votes: Annotated[bool, typer.Option("--votes", help="Ask every expert and show what each answered.")] = False,
    like: LikeRun = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Ask one question; experts are asked, the best first, until their vote cannot change any more."""
    from flows.open_model import find_model

    named = find_model(_home(home), model, like)
    _say("loading the model")
    answerer = named.open()
    found = answerer.ask([question], k=k, temperature=temperature, every=votes)
    answerer.close()
    from flows.model_display import answer_json, answer_table

    if as_json:
        typer.echo(json.dumps(answer_json(found), indent=2))
    else:
        typer.echo("no expert gave an answer" if found.rows[0].answer is None else found.rows[0].answer)
        _print(answer_table(found, votes=votes))


@app.command(epilog="Example: `thickets evaluate models:/gsm8k-champion@champion new.jsonl --base`")
def evaluate(
    model: ModelName,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Questions and answers: .jsonl, .csv or .parquet.")],
    question_column: Annotated[str | None, typer.Option(help="Column with the question.")] = None,
    answer_column: Annotated[str | None, typer.Option(help="Column with the gold answer.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column with a unique id.")] = None,
    k: ExpertCount = 0,
    base: Annotated[bool, typer.Option("--base", help="Ask the base as well, and compare.")] = False,
    like: LikeRun = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of a model on a new file of questions, judged as its run did; kept as an MLflow run."""
    from flows.open_model import find_model
    from flows.reevaluation import reevaluate

    columns = {"question_column": question_column, "answer_column": answer_column, "id_column": id_column}
    named = find_model(_home(home), model, like)
    _say("loading the model")
    chosen = {name: value for name, value in columns.items() if value is not None}
    found = reevaluate(_home(home), named, data, chosen, k=k, with_base=base)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    from flows.model_display import reevaluation_table

    _print(reevaluation_table(found))
    _say(f"MLflow: {found.mlflow_address}")


@app.command(epilog="Example: `thickets parity my.yaml --a transformers --b vllm`")
def parity(
    config: Source,
    b: Annotated[str, typer.Option("--b", metavar="ENGINE", help="The other engine, written like --a.")],
    a: Annotated[
        str,
        typer.Option(
            "--a",
            metavar="ENGINE",
            help="One engine: the config's, with KIND[:FIELD=VALUE,...] in place of its own fields, "
            "e.g. transformers:batch_size=16; empty: as the config has it.",
        ),
    ] = "",
    overrides: Overrides = None,
    candidates: Annotated[int, typer.Option(min=0, help="How many of the population, besides the base.")] = 8,
    differences: Annotated[int, typer.Option(min=0, help="How many differing answers to show.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Where two engines, or two settings of one, differ: texts, answers and scores on the selection split."""
    from flows.config_file import load_config
    from flows.parity import compare_engines, engine_config

    run_config = load_config(config, overrides or [])
    sides = [engine_config(config, overrides or [], option, text) for option, text in (("--a", a), ("--b", b))]
    _say("loading the model")
    result = compare_engines(run_config, *sides, n_candidates=candidates, n_shown=differences, say=_say)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        from flows.parity import parity_report

        _print(parity_report(result))


@app.command(epilog="Example: `thickets problems reasoning_gym`")
def problems(
    contains: Annotated[str, typer.Argument(help="Only names that contain this.")] = "",
) -> None:
    """What can be scored, with one example prompt and answer each."""
    from flows.display import problem_list

    shown = False
    for panel in problem_list(contains):
        _print(panel)
        shown = True
    if not shown:
        raise InputError(f"CONTAINS: no problem's name contains {contains!r}; see `thickets problems`")


def main() -> None:
    """Entry point of the `thickets` command: every error is one line, with exit status 2 for bad input, else 1."""
    set_command_line_defaults()
    sys.path.append(os.getcwd())  # where a user's own `module:function` verifier is looked for, after everything else
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)  # as shells count: 128 + SIGINT
    except InputError as error:
        _fail(str(error), 2)
    except ThicketsError as error:
        _fail(str(error), 1)
    except Exception as error:
        if os.environ.get("THICKETS_DEBUG"):
            traceback.print_exc()
        detail = " ".join(str(error).split())
        _fail(f"{type(error).__name__}: {detail} (THICKETS_DEBUG=1 shows where)", 1)


def _fail(message: str, status: int) -> NoReturn:
    for line in message.splitlines():
        _say(f"error: {line}")
    sys.exit(status)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _show_students(config: RunConfig, run_ids: list[str]) -> None:
    """What became of a configuration's runs as one model each, if it asks for that."""
    if config.distillation is None:
        return
    from flows.display import console
    from flows.distill_display import show_distillation
    from flows.distill_plan import load_distillation

    for run_id in run_ids:
        show_distillation(load_distillation(config, run_id), console())


def _print(renderable: object) -> None:
    from flows.display import console

    console().print(renderable)


def _home(folder: Path | None) -> Home:
    from flows.config import StorageConfig
    from storage.layout import Home

    return Home(folder or StorageConfig().home)


if __name__ == "__main__":
    main()
