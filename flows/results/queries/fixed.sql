-- Which test questions does the vote fix? The base has them wrong, the vote right; the surest first.
SELECT
    position,
    left(regexp_replace(question, '\s+', ' ', 'g'), 50) AS question,
    left(gold, 30) AS gold,
    left(base_answer, 30) AS base_answer,
    left(vote_answer, 30) AS vote_answer,
    round(share, 2) AS share,
    n_right || ' of ' || n_experts AS experts_right,
    replace(fate, '_fixed', '') AS how
FROM outcomes
WHERE outcome = 'fixed'
ORDER BY outcomes.share DESC, position
