"""Where completions come from.

local        a policy on this machine
endpoint     a server that speaks OpenAI's chat completions
chat_answer  what such a server answered: text, thinking, how it ended
intake       completions into the store, as tasks
"""
