"""How good a reward model is, beside its baselines.

cross_validation  predictions for prompts that were left out
feature_choice    which features a head reads, chosen inside the folds
retraining        what heads of other prompts would have predicted
metrics           accuracy, log-loss, rank correlation
baselines         length, position, the prompt alone, words, words and length
calibration       predicted against observed shares
learning_curve    what more judgements would bring
best_of_n         whether a policy can learn from the rewards
annotators        how each annotator judges
"""
