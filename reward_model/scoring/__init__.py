"""Scores from a trained reward model.

scorer       prompts and completions to rewards with error bars
grpo_reward  the reward function that GRPO calls
held_out     held-out pairs that a model keeps to be checked by
probes       texts on which every route must score alike
"""
