"""Makes policies: SFT, sampling, GRPO against the learned reward, evaluation, the loop."""
