"""The search: seed generation, scoring, selection, evaluation and publication, stage by stage."""
