-- On which test questions do the experts agree least? Those first on which the winner has the smallest share.
SELECT
    position,
    left(regexp_replace(question, '\s+', ' ', 'g'), 50) AS question,
    left(gold, 30) AS gold,
    left(vote_answer, 30) AS vote_answer,
    vote_correct,
    round(share, 2) AS share,
    round(margin, 2) AS margin,
    n_answers,
    n_abstain
FROM outcomes
ORDER BY outcomes.share NULLS LAST, outcomes.margin, position
