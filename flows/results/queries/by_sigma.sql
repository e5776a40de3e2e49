-- How do the candidates of each sigma score beside the base? Accuracies on the selection split, or mean scores.
SELECT
    sigma,
    n_candidates,
    round(base_points / (1000 * n_examples), 3) AS base_score,
    round(mean_points / (1000 * n_examples), 3) AS mean_score,
    round(median_points / (1000 * n_examples), 3) AS median_score,
    round(max_points / (1000 * n_examples), 3) AS best_score,
    n_at_least_base,
    round(n_at_least_base / n_candidates, 3) AS share_at_least_base
FROM sigma_statistics
WHERE split = 'selection' AND n_candidates > 0
ORDER BY sigma
