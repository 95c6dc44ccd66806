"""Scores from a trained reward model.

scorer        prompts and completions to rewards with error bars
grpo_reward   the reward function that GRPO calls
kept_answers  judged answers that a model keeps to be checked by
"""
