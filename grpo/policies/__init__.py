"""Policies: found, loaded, pinned, saved.

checkpoint  from a run or name to a policy, and back to disk
reference   the pinned SFT policy of the KL term
tuning      adapter, 4 bits or all weights
"""
