"""What a model's own chat template writes, and which token ids that is.

chat_format     conversations to token ids; what ends a turn
template_check  what a template does with each turn, and which templates are refused
"""
