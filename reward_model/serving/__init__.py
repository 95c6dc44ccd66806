"""A reward model over HTTP.

http       routes
batching   requests that arrive together are scored together
chat_text  templated text back into messages
"""
