-- Which selection questions are hardest for the candidates? The lowest mean score first.
SELECT
    position,
    left(regexp_replace(question, '\s+', ' ', 'g'), 50) AS question,
    left(gold, 30) AS gold,
    n_correct || ' of ' || n AS right_answers,
    round(points / (1000 * n), 3) AS mean_score,
    base_correct,
    round(n_abstain / n, 3) AS share_abstained
FROM example_difficulty
WHERE split = 'selection' AND n > 0
ORDER BY points / n, position
