-- Which experts answer alike on the test split? Pairs by rank, the least alike first; an abstention agrees with nothing.
-- not for texts: hardly two answers are equal; the query `experts` has how similar each expert's are to the vote's
WITH answers AS (
    SELECT rank, example_id, answer
    FROM experts
    JOIN scores USING (run_id, candidate_id)
    WHERE split = 'test'
)

SELECT
    a.rank AS rank_a,
    b.rank AS rank_b,
    coalesce(count_if(a.answer = b.answer), 0) AS n_same,
    count(*) AS n_questions,
    round(n_same / n_questions, 3) AS share_same
FROM answers AS a
JOIN answers AS b USING (example_id)
WHERE a.rank < b.rank
GROUP BY rank_a, rank_b
ORDER BY n_same, rank_a, rank_b
