"""The GRPO trainer and what surrounds a step.

policy_trainer  TRL's trainer with shared prompts, dropped groups and exact resume
trl_config      a run's settings under TRL's names
shared_prompt   log-probabilities with each prompt run once
advantages      rewards to advantages
reward_per_nat  what reward the KL coefficient asks for a nat of KL
batch_metrics   a batch's samples and their metrics
run_callback    metrics, progress and stopping of any trainer
callback        metrics, samples and verdicts of every step
kl_target       the KL coefficient, moved so that KL stays near its target
trial_step      one step made on trial and put back
preflight       checks before the first step
"""
