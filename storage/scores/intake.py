"""The statements by which a run's score database takes in verdicts, each unit once, and forgets them again."""

from __future__ import annotations

from thickets.storage.shards.file import SUFFIX

# known: the run has registered the row's candidate and its example in this block. In another block the same example was
# generated beside others, so that answer may differ.
INCOMING = f"""
CREATE OR REPLACE TEMP TABLE incoming AS
SELECT
    f.* EXCLUDE (filename),
    left(parse_filename(filename), -{len(SUFFIX)}) AS shard_id,
    c.candidate_id IS NOT NULL AND e.example_id IS NOT NULL AS known
FROM read_parquet($files, filename = true, hive_partitioning = false) AS f
LEFT JOIN candidates AS c ON c.run_id = $run_id AND c.candidate_id = f.candidate_id
LEFT JOIN examples AS e
    ON e.run_id = $run_id AND e.split = f.split AND e.example_id = f.example_id AND e.block = f.block
"""

# If two files hold the same unit, the one whose name comes first counts, in whatever order threads read them. A unit
# that the database has stays as it is, and an incomplete one, which no run writes, is left out.
FRESH = """
CREATE OR REPLACE TEMP TABLE fresh AS
WITH size AS (
    SELECT split, block, count(*) AS n_examples FROM examples WHERE run_id = $run_id GROUP BY split, block
),

whole AS (
    SELECT candidate_id, split, block, shard_id
    FROM incoming
    JOIN size USING (split, block)
    WHERE known
    GROUP BY candidate_id, split, block, shard_id
    HAVING count(*) = any_value(n_examples)
),

unit AS (
    SELECT candidate_id, split, block, min(shard_id) AS shard_id FROM whole GROUP BY candidate_id, split, block
)

SELECT i.* EXCLUDE (known)
FROM incoming AS i
JOIN unit USING (candidate_id, split, block, shard_id)
LEFT JOIN units AS u
    ON u.run_id = $run_id AND u.candidate_id = i.candidate_id AND u.split = i.split AND u.block = i.block
WHERE i.known AND u.n IS NULL
"""

TAKE = "INSERT INTO scores BY NAME SELECT $run_id AS run_id, * FROM fresh"

UNITS = """
INSERT INTO units
SELECT $run_id, candidate_id, split, block, count(*) FROM fresh GROUP BY candidate_id, split, block
"""

TAKEN = """
INSERT OR REPLACE INTO shards
SELECT $run_id, shard_id, count(*), count_if(known), $n_registered FROM incoming GROUP BY shard_id
"""

# What is registered stays, so its number tells whether there is more of it.
REGISTERED = """
SELECT
    (SELECT count(*) FROM candidates WHERE run_id = $run_id) + (SELECT count(*) FROM examples WHERE run_id = $run_id)
"""

SEEN = "SELECT shard_id FROM shards WHERE run_id = $run_id AND (n_taken = n_rows OR n_registered = $n_registered)"

FORGET = (
    """
    DELETE FROM units
    WHERE run_id = $run_id AND (candidate_id, split, block) IN (
        SELECT (candidate_id, split, block) FROM scores WHERE run_id = $run_id AND list_contains($shards, shard_id)
    )
    """,
    "DELETE FROM scores WHERE run_id = $run_id AND list_contains($shards, shard_id)",
    "DELETE FROM shards WHERE run_id = $run_id AND list_contains($shards, shard_id)",
)
