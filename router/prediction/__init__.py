"""How long candidates take, learnt from what they took: a median, its quantiles, and how long answers are."""
