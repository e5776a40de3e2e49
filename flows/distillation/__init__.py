"""From a finished run to one model: training data of its experts, students, and how they compare on its test split."""
