"""Statistics: an estimate, its n and its 95% interval.

estimate   the one type, how it is written, and how much data it takes before it is shown
intervals  shares, means, medians, differences
bootstrap  resampling prompts
ranks      rank correlation and AUC under the bootstrap's weights
agreement  Krippendorff's alpha, Cohen's kappa, the human ceiling
"""
