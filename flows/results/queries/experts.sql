-- Who votes? The experts by rank: scores on the three splits, agreement with the vote, and what they write.
SELECT
    rank,
    seed,
    sigma,
    weight,
    round(selection_mean_score, 3) AS selection,
    round(validation_mean_score, 3) AS validation,
    round(test_mean_score, 3) AS test,
    round(agreement, 3) AS agreement,
    round(tokens_per_answer, 1) AS tokens,
    round(share_cut_off, 3) AS cut_off,
    round(share_abstained, 3) AS abstained
FROM experts
ORDER BY rank
