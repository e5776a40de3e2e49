"""Mathematical answers: found in a reply, read by a strict grammar, brought to one form. No text is ever evaluated."""
