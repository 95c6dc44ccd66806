"""How good a reward model is, beside its baselines.

cross_validation  predictions for prompts that were left out
metrics           accuracy, log-loss, rank correlation
baselines         length, position, the prompt alone, TF-IDF
calibration       predicted against observed shares
learning_curve    what more judgements would bring
best_of_n         whether a policy can learn from the rewards
annotators        how each annotator judges
"""
