-- The score database of a run. Counts are integers and stay integers: shares are computed when read, because a sum of
-- doubles depends on the order of the threads and a selection must not.
--
-- Everywhere below: n_correct counts right answers, points is the sum of the scores in thousandths, accuracy is the share
-- that is right, and mean_score is the mean of the scores, from 0 to 1. Candidates are ranked by points. Where no answer
-- scores anything between wrong and right, points = 1000 * n_correct and mean_score = accuracy.

CREATE TABLE IF NOT EXISTS candidates (
    run_id VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL,  -- 'base' is the unperturbed model, 'base~...' a control made of it
    seed UBIGINT,                   -- null for the base and for controls
    sigma DOUBLE NOT NULL,          -- units of the weights; 0 for the base and for controls
    position INTEGER NOT NULL,      -- order in the population; -1 for the base, -2 for controls: both are no candidates
    PRIMARY KEY (run_id, candidate_id)
);

CREATE TABLE IF NOT EXISTS examples (
    run_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL,         -- 'selection', 'validation' or 'test'
    example_id VARCHAR NOT NULL,
    position INTEGER NOT NULL,      -- order within the split
    block UINTEGER NOT NULL,        -- the examples that are generated together
    question VARCHAR NOT NULL,
    answer VARCHAR NOT NULL,        -- gold
    PRIMARY KEY (run_id, split, example_id)
);

-- One row per shard file taken in. n_taken < n_rows: the file also holds candidates of another run, so it is read again
-- once this run has registered more than n_registered candidates and examples.
CREATE TABLE IF NOT EXISTS shards (
    run_id VARCHAR NOT NULL,
    shard_id VARCHAR NOT NULL,
    n_rows INTEGER NOT NULL,
    n_taken INTEGER NOT NULL,
    n_registered BIGINT,            -- null in a row of an earlier version
    PRIMARY KEY (run_id, shard_id)
);
ALTER TABLE shards ADD COLUMN IF NOT EXISTS n_registered BIGINT;

CREATE TABLE IF NOT EXISTS scores (
    run_id VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    example_id VARCHAR NOT NULL,
    block UINTEGER NOT NULL,
    score USMALLINT NOT NULL,       -- thousandths; whole numbers, so that a sum does not depend on its order
    correct BOOLEAN NOT NULL,       -- the score reaches what the problem calls right
    answer VARCHAR,                 -- the vote key; null is an abstention
    n_tokens UINTEGER NOT NULL,     -- new tokens
    finish_reason VARCHAR NOT NULL, -- 'stop' or 'length'
    shard_id VARCHAR NOT NULL       -- the file with the completion
);

-- The units (candidate, split, block) that the scores hold: this keeps every answer single. A key of the scores themselves would
-- take more memory than all the rest (ten million rows: two gigabytes), because an index has to be held whole.
CREATE TABLE IF NOT EXISTS units (
    run_id VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    block UINTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (run_id, candidate_id, split, block)
);

-- Candidates that racing has dropped (docs/racing.md): they answered the first n_blocks blocks of the selection split.
-- Their other answers come from another run with the same fingerprint, and do not count in this one.
CREATE TABLE IF NOT EXISTS dropped (
    run_id VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL,
    n_blocks UINTEGER NOT NULL
);

-- The blocks of the selection split that every candidate answered; no row where nobody was dropped.
CREATE OR REPLACE VIEW race AS
SELECT run_id, 'selection' AS split, min(n_blocks) AS n_blocks FROM dropped GROUP BY run_id;

-- How good is each candidate (and the base, and each control) on each split?
CREATE OR REPLACE VIEW accuracy AS
SELECT
    split, candidate_id, seed, sigma, n_correct, n, n_correct / n AS accuracy, n_abstain, points,
    points / (1000 * n) AS mean_score, position, run_id
FROM (
    SELECT
        run_id,
        candidate_id,
        split,
        count_if(correct)::INTEGER AS n_correct,
        count(*)::INTEGER AS n,
        count_if(answer IS NULL)::INTEGER AS n_abstain,
        sum(score)::BIGINT AS points
    FROM scores
    GROUP BY ALL
)
JOIN candidates USING (run_id, candidate_id);

-- The same on the questions that every candidate answered, so that all are judged by the same ones: on all questions,
-- but with racing on those of the selection split that were answered before any was dropped. squares is the sum of the
-- squared scores, for the scores' variance; it is 1000 * points where no score lies between 0 and 1000.
CREATE OR REPLACE VIEW common_accuracy AS
SELECT
    split, candidate_id, seed, sigma, n_correct, n, n_correct / n AS accuracy, points,
    points / (1000 * n) AS mean_score, squares, position, run_id
FROM (
    SELECT
        run_id,
        candidate_id,
        split,
        count_if(correct)::INTEGER AS n_correct,
        count(*)::INTEGER AS n,
        sum(score)::BIGINT AS points,
        sum(score::BIGINT * score)::BIGINT AS squares
    FROM scores
    LEFT JOIN race USING (run_id, split)
    WHERE race.n_blocks IS NULL OR block < race.n_blocks
    GROUP BY run_id, candidate_id, split
)
JOIN candidates USING (run_id, candidate_id);

-- Which candidates are the best of the selection split? Ties go to the smaller seed, then the smaller sigma. Those that
-- racing has dropped have no place.
CREATE OR REPLACE VIEW leaderboard AS
SELECT
    row_number() OVER (PARTITION BY run_id ORDER BY points DESC, seed, sigma)::INTEGER AS rank,
    candidate_id, seed, sigma, n_correct, n, accuracy, points, mean_score, position, run_id
FROM accuracy
ANTI JOIN dropped USING (run_id, candidate_id)
WHERE split = 'selection' AND position >= 0
ORDER BY run_id, rank;

-- How does the neighbourhood look at each sigma? Only candidates that answered the whole split are compared (n_partial
-- were left out); n_at_least_base / n_candidates is the solution density at margin 0, by points. With racing, "the whole split" is
-- the questions that every candidate answered.
-- Its parts are materialized because DuckDB 2.0.0 otherwise packs its numbers into a byte (182 becomes -74) and counts all
-- candidates as good as the base, where the view is asked without a filter.
CREATE OR REPLACE VIEW sigma_statistics AS
WITH size AS MATERIALIZED (
    SELECT run_id, split, count(*)::INTEGER AS n_examples
    FROM examples
    LEFT JOIN race USING (run_id, split)
    WHERE race.n_blocks IS NULL OR block < race.n_blocks
    GROUP BY run_id, split
),

base AS MATERIALIZED (
    SELECT run_id, split, n_correct AS base_n_correct, points AS base_points
    FROM common_accuracy
    JOIN size USING (run_id, split)
    WHERE candidate_id = 'base' AND n = n_examples
)

SELECT
    split,
    sigma,
    count_if(n = n_examples)::INTEGER AS n_candidates,
    count_if(n < n_examples)::INTEGER AS n_partial,
    n_examples,
    sum(n_correct) FILTER (n = n_examples) / count_if(n = n_examples) AS mean_n_correct,
    min(n_correct) FILTER (n = n_examples) AS min_n_correct,
    quantile_disc(n_correct, 0.25) FILTER (n = n_examples) AS q25_n_correct,
    quantile_disc(n_correct, 0.5) FILTER (n = n_examples) AS median_n_correct,
    quantile_disc(n_correct, 0.75) FILTER (n = n_examples) AS q75_n_correct,
    max(n_correct) FILTER (n = n_examples) AS max_n_correct,
    any_value(base_n_correct) AS base_n_correct,
    -- null rather than 0 while the base has not been scored
    CASE
        WHEN any_value(base_points) IS NOT NULL THEN count_if(n = n_examples AND points >= base_points)
    END::INTEGER AS n_at_least_base,
    sum(points) FILTER (n = n_examples) / count_if(n = n_examples) AS mean_points,
    min(points) FILTER (n = n_examples) AS min_points,
    quantile_disc(points, 0.25) FILTER (n = n_examples) AS q25_points,
    quantile_disc(points, 0.5) FILTER (n = n_examples) AS median_points,
    quantile_disc(points, 0.75) FILTER (n = n_examples) AS q75_points,
    max(points) FILTER (n = n_examples) AS max_points,
    any_value(base_points) AS base_points,
    run_id
FROM common_accuracy
JOIN size USING (run_id, split)
LEFT JOIN base USING (run_id, split)
WHERE position >= 0
GROUP BY run_id, split, sigma, n_examples
ORDER BY run_id, split, sigma;

-- Which questions are hard? How many candidates (without base and controls) got each one right, and did the base? With
-- racing, of the selection split only those that every candidate answered: the others were answered by the better ones.
CREATE OR REPLACE VIEW example_difficulty AS
SELECT
    split,
    example_id,
    count_if(correct AND c.position >= 0)::INTEGER AS n_correct,
    count_if(c.position >= 0)::INTEGER AS n,
    any_value(correct) FILTER (candidate_id = 'base') AS base_correct,
    count_if(s.answer IS NULL AND c.position >= 0)::INTEGER AS n_abstain,
    coalesce(sum(s.score) FILTER (c.position >= 0), 0)::BIGINT AS points,
    any_value(s.score) FILTER (candidate_id = 'base') AS base_score,
    e.position,
    question,
    e.answer AS gold,
    run_id
FROM examples AS e
JOIN scores AS s USING (run_id, split, example_id)
JOIN candidates AS c USING (run_id, candidate_id)
LEFT JOIN race USING (run_id, split)
WHERE race.n_blocks IS NULL OR e.block < race.n_blocks
GROUP BY run_id, split, example_id, e.position, question, gold
ORDER BY run_id, split, e.position;

-- Do the best candidates agree? Of the n questions that both members of a pair answered, n_same got the same vote key.
-- Pairs of the 50 best of the leaderboard only: their number grows with the square.
CREATE OR REPLACE VIEW agreement AS
WITH best AS (
    SELECT rank, s.*
    FROM leaderboard
    JOIN scores AS s USING (run_id, candidate_id)
    WHERE rank <= 50 AND s.answer IS NOT NULL
)

SELECT
    split,
    a.candidate_id AS candidate_a,
    b.candidate_id AS candidate_b,
    count_if(a.answer = b.answer)::INTEGER AS n_same,
    count(*)::INTEGER AS n,
    n_same / n AS share_same,
    a.rank AS rank_a,
    b.rank AS rank_b,
    run_id
FROM best AS a
JOIN best AS b USING (run_id, split, example_id)
WHERE a.rank < b.rank
GROUP BY ALL
ORDER BY run_id, split, rank_a, rank_b;

-- How many tokens did each candidate (and the base, and each control) write, and how often was it cut off at the token limit?
CREATE OR REPLACE VIEW throughput AS
SELECT
    s.split,
    s.candidate_id,
    count(*)::INTEGER AS n,
    sum(s.n_tokens)::BIGINT AS total_tokens,
    total_tokens / n AS tokens_per_answer,
    max(s.n_tokens) AS max_tokens,
    count_if(s.finish_reason = 'length')::INTEGER AS n_truncated,
    s.run_id
FROM scores AS s
GROUP BY s.run_id, s.split, s.candidate_id;

-- How far is each split, and what has it cost? Candidates without base and controls, the base beside them. What was not
-- asked of a candidate because racing had dropped it is not counted, even if another run has asked it.
CREATE OR REPLACE VIEW totals AS
SELECT
    split,
    (SELECT count(*) FROM examples AS e WHERE e.run_id = s.run_id AND e.split = s.split)::INTEGER AS n_examples,
    count(DISTINCT candidate_id) FILTER (position >= 0)::INTEGER AS n_candidates,
    count_if(position >= 0)::BIGINT AS n_answers,
    count_if(correct AND position >= 0)::BIGINT AS n_correct,
    count_if(answer IS NULL AND position >= 0)::BIGINT AS n_abstain,
    count_if(finish_reason = 'length' AND position >= 0)::BIGINT AS n_truncated,
    coalesce(sum(n_tokens) FILTER (position >= 0), 0)::BIGINT AS n_tokens,
    count_if(candidate_id = 'base')::INTEGER AS base_n_answers,
    count_if(correct AND candidate_id = 'base')::INTEGER AS base_n_correct,
    coalesce(sum(n_tokens) FILTER (candidate_id = 'base'), 0)::BIGINT AS base_n_tokens,
    coalesce(sum(score) FILTER (position >= 0), 0)::BIGINT AS points,
    coalesce(sum(score) FILTER (candidate_id = 'base'), 0)::BIGINT AS base_points,
    run_id
FROM scores AS s
JOIN candidates USING (run_id, candidate_id)
LEFT JOIN dropped AS d USING (run_id, candidate_id)
WHERE d.n_blocks IS NULL OR split <> 'selection' OR block < d.n_blocks
GROUP BY run_id, split
ORDER BY run_id, split;
