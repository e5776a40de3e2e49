"""Terminal tables for a search that is being planned: its estimate, and the parity of two engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from thickets.flows.placement.parity import ParityResult
from thickets.tasks.engines.parity import Divergence
from thickets.tasks.results.text import duration, percent

if TYPE_CHECKING:
    from thickets.flows.search.estimate import Estimate, EstimateOfMany
    from thickets.flows.search.estimate_rounds import EstimateOfRounds

_SHOWN_CHARACTERS = 60


def estimate_table(found: Estimate) -> Table:
    """Return the estimated cost of a run."""
    title = f"{found.problem} on {found.model}, {found.n_candidates} candidates"
    table = Table(title=title, title_justify="left", caption=_engine(found), caption_justify="left")
    table.add_column("")
    table.add_column("estimate", justify="right")
    for split, count in found.completions.items():
        what = "to learn the limit" if split == "limit" else f"{split} split"
        table.add_row(f"completions, {what}", f"{count:,}")
    if found.racing_saves_at_most:
        table.add_row("of these racing saves", f"at most {found.racing_saves_at_most:,}")
    if found.racing is not None:
        table.add_row("racing, at a guess of who is dropped", str(found.racing))
    if found.n_paid_for is not None:
        table.add_row("candidates the budget pays for", f"about {found.n_paid_for:,} of {found.n_candidates:,}")
    if found.limit is not None:
        table.add_row("limit, learned from the probe", f"{found.limit.max_tokens} of {found.limit.own} tokens")
    table.add_row("tokens", f"{found.tokens:,} (at most {found.tokens_at_most:,})")
    several = f" ({found.n_engines} engines)" if found.n_engines > 1 else ""
    table.add_row("time", duration(found.seconds) + several)
    table.add_row("disk", f"{found.disk_bytes / 1e6:,.1f} MB")
    if found.not_counted:
        table.add_row("not counted", found.not_counted)
    probe = found.probe
    table.add_row(
        "probe", f"{probe.n_examples} answers in {probe.generate_s:.1f} s, a candidate loaded in {probe.load_s:.2f} s"
    )
    return table


def estimates_table(found: EstimateOfMany) -> Table:
    """Return the estimated cost of a run of several problems, a row per problem."""
    first = found.problems[0]
    title = f"{len(found.problems)} problems on {first.model}, {first.n_candidates} candidates each"
    racing = [f"{one.problem}: {one.racing.advice}" for one in found.problems if one.racing and one.racing.advice]
    caption = Text("\n".join([first.engine, *first.warnings, *racing]))
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("problem", overflow="fold")
    for heading in ("completions", "tokens", "at most", "time", "disk"):
        table.add_column(heading, justify="right")
    for one in found.problems:
        table.add_row(one.problem, *_cost(one))
    table.add_row("in all", *_cost(found), style="bold")
    return table


def rounds_table(found: EstimateOfRounds) -> Table:
    """Return the estimated cost of all rounds."""
    written = f", writing a model about {duration(found.write_s)}" if found.write_s else ""
    started = f"An engine start takes about {duration(found.start_s)}{written}."
    caption = f"Fewer where a model does not beat its base. {started}"
    table = Table(title="Rounds", title_justify="left", caption=Text(caption), caption_justify="left")
    table.add_column("")
    for heading in ("completions", "tokens", "at most", "time", "disk"):
        table.add_column(heading, justify="right")
    table.add_row("one round", *_cost(found.one))
    table.add_row(f"all {found.most}, at most", *_cost(found), style="bold")
    if found.n_paid_for is not None:
        table.add_row(f"the budget pays for about {found.n_paid_for}", *[""] * 5)
    return table


def parity_report(result: ParityResult) -> Group:
    """Return the comparison of two engines: candidates, totals, and the first answers that differ."""
    found = result.parity
    title = f"{result.problem} on {result.model}, {result.split} split, {result.n_examples} examples each"
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("candidate", footer="total")
    for heading, total in (
        ("texts equal", _share(found.n_same_text, found.n)),
        ("answers equal", _share(found.n_same_answer, found.n)),
        ("score A", ""),
        ("score B", ""),
        (
            "B - A, points",
            f"absolute: mean {_points(found.mean_abs_difference)}, max {_points(found.max_abs_difference)}",
        ),
    ):
        table.add_column(heading, footer=total, justify="right")
    for row in found.candidates:
        table.add_row(
            row.candidate_id,
            f"{row.n_same_text}/{row.n}",
            f"{row.n_same_answer}/{row.n}",
            percent(row.score_a),
            percent(row.score_b),
            f"{100 * row.difference:+.1f}" if row.difference else "0.0",
        )
    engines = [Text(f"A: {_in_words(result.a, result.b)}"), Text(f"B: {_in_words(result.b, result.a)}")]
    n_differing = found.n - found.n_same_text
    lines = [Text(f"the first {len(found.divergences)} of {n_differing} differing texts:")] if found.divergences else []
    return Group(*engines, table, *lines, *(_divergence_lines(difference) for difference in found.divergences))


def _engine(found: Estimate) -> Text:
    advice = found.racing and found.racing.advice
    return Text("\n".join([found.engine, *found.warnings, *([advice] if advice else [])]))


def _cost(found: Estimate | EstimateOfMany | EstimateOfRounds) -> list[str]:
    return [
        f"{sum(found.completions.values()):,}",
        f"{found.tokens:,}",
        f"{found.tokens_at_most:,}",
        duration(found.seconds),
        f"{found.disk_bytes / 1e6:,.1f} MB",
    ]


def _in_words(engine: dict[str, Any], other: dict[str, Any]) -> str:
    """Return the engine's kind, device, dtype and batch size, and the fields in which the other engine differs."""
    telling = [name for name in engine if name in {"device", "dtype", "batch_size"} or engine[name] != other.get(name)]
    shown = (f"{name}={engine[name]}" for name in telling if name in other and name != "kind")
    return " ".join([engine["kind"], *shown])


def _share(count: int, n: int) -> str:
    return f"{count:,}/{n:,} ({percent(count / n)})"


def _points(difference: float) -> str:
    return f"{100 * difference:.1f}"


def _divergence_lines(found: Divergence) -> Text:
    text = Text(f"\n{found.candidate_id}, example {found.example_id}: they part at character {found.position}\n")
    text.append(f"  question: {found.question.strip()} (answer: {found.gold})\n", "italic")
    for name, completion, answer, correct in (
        ("A", found.completion_a, found.answer_a, found.correct_a),
        ("B", found.completion_b, found.answer_b, found.correct_b),
    ):
        mark = "abstains" if answer is None else f"{'✓' if correct else '✗'} {answer}"
        text.append(f"  {name}: {_around(completion, found.position)} ", "green" if correct else "red")
        text.append(f"[{mark}]{'' if name == 'B' else chr(10)}", "dim")
    return text


def _around(completion: str, position: int) -> str:
    """Return the text around the position where it departs from the other; long reasoning agrees for pages."""
    start, stop = max(0, position - _SHOWN_CHARACTERS), position + _SHOWN_CHARACTERS
    ellipses = ("..." if start else "", "..." if stop < len(completion) else "")
    return ellipses[0] + repr(completion[start:stop]) + ellipses[1]
