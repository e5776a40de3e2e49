"""The result of a run in sentences: a few for the end of the run, all of them for whoever wants to know."""

from __future__ import annotations

import json
from collections.abc import Mapping

from thickets.flows.results.cost import cost_sentence
from thickets.flows.results.diagnosis import diagnose
from thickets.flows.results.summary import BudgetUse, RunSummary
from thickets.storage.home import RunFolder
from thickets.tasks.results.evaluation import Control, ControlName
from thickets.tasks.results.intervals import Difference, RankCorrelation
from thickets.tasks.results.merging import MergeChoice
from thickets.tasks.results.pilot import Pilot
from thickets.tasks.results.racing import Race
from thickets.tasks.results.text import percent, points
from thickets.tasks.results.thicket import Agreement, BestCandidate, GainSplit
from thickets.tasks.results.verdicts import Verdict, verdict

# How a verdict names each control. Chance is not among them: it answers nothing, and costs nothing.
RIVALS: dict[ControlName, str] = {
    "random_experts": "as many candidates drawn at random",
    "self_consistency": "self-consistency",
    "weight_average": "the weight average of its experts",
    "merge": "the merge of its candidates",
    "best_prompt": "the base under the best prompt",
    "best_prompt_self_consistency": "self-consistency under the best prompt",
}
# The comparisons that the end of a run states, where they were made.
_HEADLINES = ("base", "chance", "self_consistency", "best_single")
_BY_LIKELIHOOD = (
    "An answer is the label that a model finds likeliest; none is generated. So there is no self-consistency to "
    "compare with: every sample of the base would be its own answer."
)
# Lines at the end of a run, that of the report included.
_MOST_LINES = 5


def verdicts(summary: RunSummary) -> list[Verdict]:
    """Return the verdict of every comparison on the test split, the one that matters most first."""
    return list(_judged(summary).values())


def headlines(summary: RunSummary, where: str = "") -> list[str]:
    """Return the few lines at the end of a run: why it says nothing if that is so, verdicts, and where the report is.

    A comparison that was not made has no line. What a diagnosis explains is not said again as a verdict that nothing
    can be told apart.

    Args:
        summary: The run.
        where: Options by which the command line finds the run's home: " --home FOLDER", or nothing.
    """
    judged, found = _judged(summary), diagnose(summary)
    told = [judged[name] for name in _HEADLINES if name in judged]
    if (summary.evaluation.k, summary.evaluation.method) == (1, "top_k"):
        told.remove(judged["best_single"])  # it is the one that votes
    if found is not None and found.explains_verdicts:
        told = [each for each in told if each.kind != "not distinguishable"]
    first = [] if found is None else [found.sentence]
    report = f"Report: {RunFolder(summary.folder).report} (or here: thickets show {summary.run_id} --all{where})"
    return [*first, *[each.brief for each in told][: _MOST_LINES - len(first) - 1], report]


def findings(summary: RunSummary) -> list[str]:
    """Return every sentence about a run: why it says nothing if that is so, the verdicts, and all others."""
    found = diagnose(summary)
    first = [] if found is None else [found.sentence]
    return [*first, *[each.sentence for each in verdicts(summary)], *remarks(summary)]


def remarks(summary: RunSummary) -> list[str]:
    """Return a sentence each on rescoring, budget, pilot, racing, prompts, luck, ranking, agreement, gains, cost."""
    thicket = summary.thicket
    return [
        *_of_the_way(summary),
        *[_prompt(control) for control in summary.evaluation.controls if control.name == "best_prompt"],
        _best(thicket.best, summary.common_questions),
        _correlation(thicket.correlation),
        f"{_agreement(thicket.agreement)}{_oracle(summary)}",
        _gains(thicket.gains),
        *filter(None, [cost_sentence(summary)]),
    ]


def _of_the_way(summary: RunSummary) -> list[str]:
    """Return a sentence on everything that only some runs have."""
    limit, change = summary.limit, summary.changed_verdicts
    lines = [
        f"Judges the answers of {summary.rescored_from} again." if summary.rescored_from else "",
        f"Compared with {change.run_id}: {change.sentence}." if change else "",
        _budget(summary, summary.budget) if summary.budget else "",
        f"{limit.sentence[0].upper()}{limit.sentence[1:]}." if limit else "",
        pilot_sentence(summary.pilot) if summary.pilot else "",
        _race(summary.race) if summary.race else "",
        _BY_LIKELIHOOD if summary.by_likelihood else "",
        sentence_of_merge(summary.merge) if summary.merge else "",
        _dropped(summary.dropped) if summary.dropped else "",
        summary.thinking.sentence if summary.thinking else "",
    ]
    return [line for line in lines if line]


def _agreement(found: Agreement) -> str:
    if found.mean is None:
        return ""
    if found.metric:
        return f"The texts of two experts are similar by {percent(found.mean)} ({found.metric}), on average. "
    return f"Two experts give the same answer to {percent(found.mean)} of the test questions. "


def chance_verdict(difference: Difference, ours: str, chance: Control) -> Verdict:
    """Judge a model's difference from a run's control "chance", which is named: the strongest trivial answer."""
    theirs = f"chance ({chance.label.removeprefix('chance, ')})"
    return verdict(difference, ours, theirs, is_expectation=chance.accuracy.is_exact)


def _judged(summary: RunSummary) -> dict[str, Verdict]:
    """Return the verdicts by the rival's name, the one that matters most first."""
    found = summary.evaluation
    controls = {control.name: control for control in found.controls}
    judged = {"base": verdict(found.ensemble_minus_base, "the ensemble", "the base")}
    if chance := controls.pop("chance", None):
        judged["chance"] = chance_verdict(chance.ensemble_minus, "the ensemble", chance)
    for name, control in controls.items():
        cost = f"for {found.n_tokens.ensemble / control.n_tokens:.2f} times its tokens"
        judged[name] = verdict(control.ensemble_minus, "the ensemble", RIVALS[name], cost=cost)
    judged["best_single"] = verdict(found.ensemble_minus_best_single, "the ensemble", "the best single expert")
    judged["best_single_over_base"] = verdict(found.best_single_minus_base, "the best single expert", "the base")
    return judged


def _prompt(control: Control) -> str:
    # As JSON, so that the line stays one line.
    return f"The {control.label}, chosen on the validation split: {json.dumps(control.detail, ensure_ascii=False)}."


def _dropped(dropped: Mapping[str, int]) -> str:
    each = ", ".join(f"{n:,} {split}" for split, n in dropped.items())
    rows = "row was" if sum(dropped.values()) == 1 else "rows were"
    return f"{each} {rows} too long for the model and left out (data.too_long: drop)."


def _budget(summary: RunSummary, budget: BudgetUse) -> str:
    return (
        f"The budget of {budget.given} paid for {summary.n_candidates:,} of {budget.n_most:,} candidates; the run "
        f"generated {sum(summary.n_tokens.values()):,} tokens."
    )


def pilot_sentence(pilot: Pilot) -> str:
    """Return a pilot's accuracy per sigma and the shares of the candidates that it led to, as a sentence."""
    found = ", ".join(
        f"{percent(pilot.accuracy(row))} at sigma {row.sigma:g} (spread {100 * row.spread:.1f})" for row in pilot.sigmas
    )
    shares = ", ".join(percent(row.share, 0) for row in pilot.sigmas)
    return (
        f"The pilot, the first {pilot.n_candidates:,} candidates on {pilot.n_questions} selection questions, had "
        f"{found}; so these sigmas got {shares} of the candidates after it."
    )


def _race(race: Race) -> str:
    rests = (
        f"What is said about all candidates rests on the {race.n_common} questions that every one was asked."
        if race.n_common < race.n_questions
        else "Nobody was dropped."
    )
    return (
        f"Racing (z = {race.z:g}{'' if race.keep is None else f', keep {race.keep:g}'}) asked candidates for "
        f"{race.n_answers:,} of {race.n_answers_of_all:,} selection answers, {percent(race.saved)} saved; "
        f"{race.n_complete:,} of {race.rounds[0].n_candidates:,} candidates were asked all {race.n_questions} "
        f"questions. {rests}"
    )


def _oracle(summary: RunSummary) -> str:
    k, oracle, vote = summary.evaluation.k, summary.thicket.oracle, percent(summary.evaluation.ensemble.value)
    if summary.is_graded:
        return (
            f"The best answer of {k} to each question would score {percent(oracle)} on average (the most a vote could "
            f"reach); the vote scores {vote}."
        )
    return f"At least one of {k} is right on {percent(oracle)} (the most a vote could reach); the vote is on {vote}."


def _best(best: BestCandidate, questions: str) -> str:
    p = "p < 0.001" if best.p_value < 0.001 else f"p = {best.p_value:.2g}"
    more = "more than" if best.is_more_than_luck else "no more than"
    return (
        f"The best of {best.n_candidates} candidates has {percent(best.observed.value)} on {questions}, "
        f"{more} luck alone would give ({percent(best.by_luck)} if all of one sigma were equal, {p}); "
        f"on new questions expect {percent(best.corrected)} "
        f"[{100 * best.corrected_low:.1f}, {100 * best.corrected_high:.1f}]."
    )


def _correlation(found: RankCorrelation) -> str:
    who = f"Selection and validation scores of the best {found.n_candidates} of {found.n_population} candidates"
    if found.value is None:
        return f"{who}: no rank correlation ({found.reason})."
    is_open = found.low is None or found.high is None
    interval = f"({found.reason})" if is_open else f"[{found.low:+.2f}, {found.high:+.2f}]"
    restricted = "" if found.n_candidates == found.n_population else "; that only the best have both weakens it"
    return f"{who}: rank correlation {found.value:+.2f} {interval}{restricted}."


def _gains(gains: GainSplit) -> str:
    parts = [
        f"{gains.retained} retained",
        f"{gains.reasoning_fixed} fixed in reasoning",
        f"{gains.format_fixed} fixed in format",
        *([f"{gains.unclear_fixed} fixed, unclear in which"] if gains.unclear_fixed else []),
        f"{gains.regressed} regressed",
        f"{gains.still_wrong} still wrong",
    ]
    return f"Test questions, base to ensemble: {', '.join(parts)}."


def sentence_of_merge(choice: MergeChoice) -> str:
    """Say which merge was the best, and whether it stands."""
    difference, n_trials = choice.minus_base, len(choice.trials)
    tried = "the only merge tried" if n_trials == 1 else f"the best of {n_trials} merges tried"
    stands = "it stands as a model of its own" if choice.is_accepted else "it is not kept"
    if not difference.is_clear:
        stands += ", though that may be luck" if choice.is_accepted else ", as that may be luck"
    found = (
        f"On the validation split {tried}, the {choice.chosen.label}, scored "
        f"{percent(choice.chosen.accuracy.value)}, {points(difference)} above the base: {stands}."
    )
    if (search := choice.search) is None:
        return found
    return (
        f"{found} Its coordinate search took the {search.label} from {percent(search.before.value)} to "
        f"{percent(search.after.value)} on the selection split, whose questions it is fitted to."
    )
