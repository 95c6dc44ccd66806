"""The joint likelihood of all judgements, and the head that is fitted to it.

terms   log-likelihood of one judgement of each kind
joint   all of them together, with annotators' effects
annotators_and_prompts
        consistency, threshold, prompt difficulty and so on, with their priors
fisher  Fisher information: how sure the fit is
fit     the head's posterior mode, by Newton's method
prior   how strong the prior is, and the design effect
"""
