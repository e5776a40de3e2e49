-- Does the limit of tokens end answers, and are they right then? On the selection split, the base first, by sigma.
-- not for likelihood: the likeliest label is chosen, and nothing is written that a limit could end
SELECT
    CASE WHEN c.position < 0 THEN 'base' ELSE 'sigma ' || c.sigma END AS who,
    count(*) AS n_answers,
    count_if(finish_reason = 'length') AS n_cut_off,
    round(n_cut_off / n_answers, 3) AS share_cut_off,
    round(avg(correct::INTEGER) FILTER (finish_reason = 'length'), 3) AS accuracy_cut_off,
    round(avg(correct::INTEGER) FILTER (finish_reason <> 'length'), 3) AS accuracy_finished,
    round(count_if(answer IS NULL) / n_answers, 3) AS share_abstained
FROM scores AS s
JOIN candidates AS c USING (run_id, candidate_id)
LEFT JOIN race AS r USING (run_id, split)
WHERE split = 'selection' AND c.position >= -1 AND (r.n_blocks IS NULL OR s.block < r.n_blocks)
GROUP BY c.position < 0, c.sigma
ORDER BY c.sigma
