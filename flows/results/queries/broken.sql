-- Which test questions does the vote break? The base has them right, the vote wrong; the surest first.
SELECT
    position,
    left(regexp_replace(question, '\s+', ' ', 'g'), 50) AS question,
    left(gold, 30) AS gold,
    left(base_answer, 30) AS base_answer,
    left(vote_answer, 30) AS vote_answer,
    round(share, 2) AS share,
    n_right || ' of ' || n_experts AS experts_right,
    n_abstain
FROM outcomes
WHERE outcome = 'broken'
ORDER BY outcomes.share DESC NULLS LAST, position
