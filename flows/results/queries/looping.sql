-- Which replies repeat themselves? By respondent on the test split: the last 20 characters occur four times or more.
-- not for likelihood: the likeliest label is chosen, and no reply is written
SELECT
    coalesce('expert ' || rank, 'base') AS who,
    any_value(sigma) AS sigma,
    count(*) AS n_replies,
    count_if((length(completion) - length(replace(completion, right(completion, 20), ''))) / 20 >= 4) AS n_looping,
    round(n_looping / n_replies, 3) AS share_looping,
    count_if(finish_reason = 'length') AS n_cut_off
FROM completions
LEFT JOIN experts USING (run_id, candidate_id)
WHERE split = 'test' AND (rank IS NOT NULL OR candidate_id = 'base')
GROUP BY rank
ORDER BY rank NULLS FIRST
