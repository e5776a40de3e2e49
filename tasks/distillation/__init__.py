"""Distillation: the experts' answers to fresh examples become the training data of one model.

Data (`data`), texts (`texts`), training (`training`, with `objective` for the logits), the checkpoint that comes of it
(`student`), and what it is worth (`verdict`, `perplexity`).
"""
