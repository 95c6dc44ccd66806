"""Who may do what.

auth        passwords, sessions, rate limit
sign_in     sign-in, invitations, sign-out
guard       the check in front of every Gradio handler
middleware  one origin, few paths, strict headers
"""
