"""A reward model as an ordinary model folder, and the proof that it scores as trained.

folder         what is written
parity         the certificate
parity_routes  every route by which a score can be had
probes         completions that a careless route gets wrong
fresh_process  what transformers alone gets from a folder
standalone     scoring with transformers alone, in a fresh process
"""
