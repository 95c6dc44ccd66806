"""Where completions come from.

local     a policy on this machine
endpoint  a server that speaks OpenAI's chat completions
intake    completions into the store, as tasks
"""
