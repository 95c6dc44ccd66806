"""Who may do what.

auth           passwords, sessions, rate limit
sign_in        sign-in, invitations, sign-out
sign_in_pages  their HTML
guard          the check in front of every Gradio handler
middleware     one origin, few paths, strict headers
"""
