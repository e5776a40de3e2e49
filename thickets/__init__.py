"""Turn a pretrained language model into a task expert without gradients: sample, score, select, vote, distil."""
