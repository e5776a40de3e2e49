-- Does the vote only answer otherwise? How often base and vote give each answer, the largest shift first.
-- not for texts: hardly two answers are equal, so there is nothing to count
WITH given AS (
    SELECT base_answer AS answer, base_correct AS correct, true AS by_base FROM outcomes
    UNION ALL
    SELECT vote_answer, vote_correct, false FROM outcomes
)

SELECT
    coalesce(left(answer, 40), '(none)') AS answer,
    count_if(by_base) AS n_base,
    count_if(NOT by_base) AS n_vote,
    n_vote - n_base AS shift,
    count_if(by_base AND correct) AS base_right,
    count_if(NOT by_base AND correct) AS vote_right
FROM given
GROUP BY given.answer
ORDER BY abs(shift) DESC, n_base DESC, given.answer
