"""Statistics: an estimate, its n and its 95% interval.

intervals  shares, means, medians, differences
bootstrap  resampling prompts
agreement  Krippendorff's alpha, Cohen's kappa, the human ceiling
"""
