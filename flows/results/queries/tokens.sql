-- What is written, and by whom? Answers and tokens of base, candidates and controls on each split.
-- not for likelihood: the likeliest label is chosen, and nothing is written; n_tokens counts the labels' tokens
SELECT
    split,
    CASE c.position WHEN -1 THEN 'base' WHEN -2 THEN 'controls' ELSE 'candidates' END AS who,
    count(DISTINCT candidate_id) AS n_respondents,
    count(*) AS n_answers,
    sum(n_tokens) AS n_tokens,
    round(avg(n_tokens), 1) AS tokens_per_answer,
    max(n_tokens) AS max_tokens,
    round(count_if(finish_reason = 'length') / count(*), 3) AS share_cut_off
FROM scores AS s
JOIN candidates AS c USING (run_id, candidate_id)
LEFT JOIN dropped AS d USING (run_id, candidate_id)
WHERE d.n_blocks IS NULL OR split <> 'selection' OR s.block < d.n_blocks
GROUP BY split, who
ORDER BY split, who
