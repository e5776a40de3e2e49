-- Which test questions has nobody right, neither the base nor any expert? No vote of theirs could have them.
SELECT
    position,
    left(regexp_replace(question, '\s+', ' ', 'g'), 50) AS question,
    left(gold, 30) AS gold,
    left(base_answer, 30) AS base_answer,
    left(vote_answer, 30) AS vote_answer,
    round(share, 2) AS share,
    n_answers,
    n_abstain
FROM outcomes
WHERE n_right = 0 AND NOT base_correct
ORDER BY outcomes.share DESC NULLS LAST, position
