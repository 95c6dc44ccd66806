"""Scores from a trained reward model.

encoder       a second model that reads the texts beside the policy
scorer        prompts and completions to rewards with error bars
grpo_reward   the reward function that GRPO calls
kept_answers  judged answers that a model keeps to be checked by
"""
