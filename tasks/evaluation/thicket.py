"""Describes the thicket: solution density, rank correlation, agreement of the experts, questions the ensemble fixes.

Everything is computed from the run's scores alone, so a run that is resumed or repeated describes the same thicket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.queries import ScoreQueries
from thickets.storage.scores.sum_queries import Sums
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.consensus import MAJORITY, Consensus, consensus_of
from thickets.tasks.problems.judging import Judge
from thickets.tasks.results.evaluation import VoteRule
from thickets.tasks.results.intervals import Accuracy, RankCorrelation
from thickets.tasks.results.thicket import Agreement, DensityPoint, Fate, GainSplit, SigmaScores, ThicketDescription
from thickets.tasks.selection.luck import SigmaCounts, best_candidate, sigma_counts
from thickets.tasks.statistics import accuracy, accuracy_of, rank_correlation, share
from thickets.tasks.types import FULL, Example

MARGINS = (0, 1, 2, 3, 5, 10, 15, 20)


def describe(
    store: ScoreQueries,
    judge: Judge,
    test: Iterable[Example],
    ranked: pl.DataFrame,
    k: int,
    rule: VoteRule,
) -> ThicketDescription:
    """Compute the description of a finished run's thicket.

    Args:
        store: Scores of a finished run.
        judge: Reads the base's wrong replies leniently, their thoughts taken out; its problem says how answers vote.
        test: The test split.
        ranked: Candidates with validation scores, as `ranking.rank_by` gives them; the first `k` vote.
        k: Number of experts that vote.
        rule: The vote rule.
    """
    # On the questions that all candidates answered: with racing, only the better ones answered the others.
    base_score = store.common_base("selection")
    board = store.common_scores("selection")
    groups = sigma_counts(board, store.question_counts("selection"))
    cast, consensus = ballots(store, "test", ranked.head(k)), consensus_of(judge.problem)
    base = store.answers("test", [BASE_ID]).select("example_id", base="correct")
    voted = vote(cast, k, rule, consensus).select("example_id", ensemble="correct")
    outcome = voted.join(base, on="example_id", maintain_order="left")
    wrong = outcome.filter(~pl.col("base"))["example_id"]
    replies = store.completions("test", BASE_ID).filter(pl.col("example_id").is_in(wrong.to_list()))
    examples = {example.id: example for example in test}
    named = {name: judge.lenient(reply, examples[name]) for name, reply in replies.iter_rows()}
    return ThicketDescription(
        sigmas=tuple(sigma_scores(group, base_score.n_correct, base_score.points) for group in groups),
        correlation=lasting(store, ranked, board.height),
        best=best_candidate(groups, board["sigma"][0], accuracy(*board.select(Sums._fields).row(0))),
        agreement=agreement(cast, consensus),
        oracle=oracle(cast),
        gains=gain_split(outcome, named),
        changed={name: fate for name, fate in fates(outcome, named).items() if fate not in ("retained", "still_wrong")},
    )


def sigma_scores(
    group: SigmaCounts, base_n_correct: int, base_points: int | None = None, margins: Sequence[int] = MARGINS
) -> SigmaScores:
    """Summarize the scores of one sigma, with the base's.

    Args:
        group: Scores of the candidates.
        base_n_correct: Correct answers of the base.
        base_points: Sum of its scores in thousandths; None: 1000 per correct answer.
        margins: m of the solution density, in percentage points.
    """
    is_graded = base_points is not None and base_points != FULL * base_n_correct
    base = FULL * base_n_correct if base_points is None else base_points
    scores, times = np.unique(np.asarray(group.by_candidate), return_counts=True)
    # Each quantile is a score that occurs, as quantile_disc of the view sigma_statistics.
    least, lower, median, upper, most = map(
        int, np.quantile(group.by_candidate, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf")
    )
    return SigmaScores(
        sigma=group.sigma,
        n_candidates=group.n_candidates,
        n_examples=group.n_questions,
        base_n_correct=base_n_correct,
        quantiles=(least, lower, median, upper, most),
        histogram=dict(zip(scores.tolist(), times.tolist(), strict=True)),
        density=density([*map(group.points, group.by_candidate)], base, FULL * group.n_questions, margins),
        unit=group.unit,
        base_points=base_points if is_graded else None,
    )


def density(scores: Sequence[int], base: int, full: int, margins: Sequence[int] = MARGINS) -> tuple[DensityPoint, ...]:
    """Compute the solution density delta(m) of one sigma: the share of candidates at least m points above the base.

    Args:
        scores: Score of each candidate, in whole numbers.
        base: Score of the base on the same questions.
        full: Score of full marks on all of them.
        margins: m, in percentage points.
    """
    return tuple(
        DensityPoint(
            margin_points=margin,
            share=share(sum(100 * (score - base) >= margin * full for score in scores), len(scores)),
        )
        for margin in margins
    )


def lasting(store: ScoreQueries, ranked: pl.DataFrame, n_population: int) -> RankCorrelation:
    """Correlate the candidates' selection scores with their validation scores."""
    # Of these candidates only: the store may hold answers of others, from a smaller population of the same run.
    answers = store.answers("validation", ranked["candidate_id"].to_list())
    validation = answers.group_by("candidate_id", maintain_order=True).agg(pl.col("score").cast(pl.Int64).sum())
    both = ranked.select("candidate_id", "points").join(validation, on="candidate_id", maintain_order="left")
    return rank_correlation(both["points"].to_list(), both["score"].to_list(), n_population)


def agreement(cast: pl.DataFrame, consensus: Consensus = MAJORITY) -> Agreement:
    """Count how often each pair of experts gives the same answer, or sum up how similar the answers are.

    Args:
        cast: Ballots, as `thickets.tasks.evaluation.voting.BALLOT_SCHEMA`.
        consensus: How answers vote: where the closest one wins, they are compared.
    """
    if consensus.is_closest:
        return _similarity(cast, consensus)
    wide = cast.pivot("rank", index="example_id", values="answer")
    names = [name for name in wide.columns if name != "example_id"]
    # [k, n]: equal numbers for equal answers, across experts; -1 for an abstention.
    known = {answer: code for code, answer in enumerate(cast["answer"].drop_nulls().unique(maintain_order=True))}
    codes = np.array([[known.get(answer, -1) for answer in wide[name]] for name in names])
    n_same = [((codes == row) & (row >= 0)).sum(axis=1).tolist() for row in codes]
    k, n = codes.shape
    pairs = [n_same[i][j] for i in range(k) for j in range(i)]
    return Agreement(n=n, n_same=tuple(map(tuple, n_same)), mean=sum(pairs) / (len(pairs) * n) if pairs else None)


def _similarity(cast: pl.DataFrame, consensus: Consensus) -> Agreement:
    ranks, n = sorted(cast["rank"].unique()), FULL * cast["example_id"].n_unique()
    place, k = {rank: place for place, rank in enumerate(ranks)}, len(ranks)
    total = np.zeros((k, k), dtype=np.int64)
    for _, group in cast.drop_nulls("answer").group_by("example_id", maintain_order=True):
        at = [place[rank] for rank in group["rank"]]
        total[np.ix_(at, at)] += consensus.pairs(group["answer"].to_list())
    of_pairs = total[np.tril_indices(k, -1)]
    return Agreement(
        n=n,
        n_same=tuple(map(tuple, total.tolist())),
        mean=int(of_pairs.sum()) / (len(of_pairs) * n) if len(of_pairs) else None,
        metric=consensus.metric,
    )


def oracle(cast: pl.DataFrame) -> Accuracy:
    """Take each question's best answer of any expert; no vote among their answers can score more."""
    return accuracy_of(cast.group_by("example_id").agg(pl.col("correct").any(), pl.col("score").max()))


def gain_split(outcome: pl.DataFrame, named: Mapping[str, bool | None]) -> GainSplit:
    """Count the test questions by fate.

    Args:
        outcome: example_id, base, ensemble (both: correct or not).
        named: Whether the base's reply names the right answer, for questions that it got wrong; see
            `Problem.lenient`. A missing question counts as None: unknown.
    """
    counts: Counter[str] = Counter(fates(outcome, named).values())
    return GainSplit(**{name: counts[name] for name in GainSplit.model_fields})


def fates(outcome: pl.DataFrame, named: Mapping[str, bool | None]) -> dict[str, Fate]:
    """Return the fate of each test question, by example id; see `gain_split`."""
    fixed: dict[bool | None, Fate] = {True: "format_fixed", False: "reasoning_fixed", None: "unclear_fixed"}
    found: dict[str, Fate] = {}
    for name, base, ensemble in outcome.select("example_id", "base", "ensemble").iter_rows():
        if base:
            found[name] = "retained" if ensemble else "regressed"
        else:
            found[name] = fixed[named.get(name)] if ensemble else "still_wrong"
    return found
