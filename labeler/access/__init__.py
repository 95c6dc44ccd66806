"""Who may do what.

auth        passwords, sessions
limits      how often, how many at once a password may be tried; known browsers
sign_in     sign-in, invitations, sign-out
accounts    switching people off and on, ending sessions, withdrawing links
guard       the check in front of every Gradio handler
pools       threads by what they wait for
proxy       the request as the browser made it, below a path and past proxies
notices     what is said where a request comes to nothing
uploads     what browsers send, until it has been read
middleware  one origin, few paths, strict headers
"""
