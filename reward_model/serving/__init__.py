"""A reward model over HTTP.

http        routes
batching    requests that arrive together are scored together
chat_text   texts and token ids in the chat template
apart_text  the same for reward models that were trained earlier
"""
