"""The plain pages in front of the app: sign in, choose a password, a refusal. No script in them."""

from __future__ import annotations

from labeler.access.auth import SHORTEST_PASSWORD
from labeler.safe_html.markdown import escape

WORDMARK = '<span class="brand">Co<i>a</i>ch</span>'


def sign_in_page(error: str = "", name: str = "") -> str:
    """The form for name and password."""
    focus = ("", " autofocus") if name else (" autofocus", "")
    return _page(
        "Sign in",
        f"""<h1>Sign in</h1>{_error(error)}
<form method="post" action="/sign-in">
{_field("Name", "name", value=name, extra=f'autocomplete="username" required{focus[0]}')}
{_password("current-password", extra=focus[1])}
<button class="go" type="submit">Sign in</button></form>
<p class="mute small">No account yet? A lead can make you a link.</p>""",
    )


def welcome_page(token: str, role: str, fixed_name: str | None, name: str, error: str = "") -> str:
    """The form behind an invitation: a name, if it is not set yet, and a password."""
    if fixed_name:
        who = (
            f'<p>You are <b>{escape(fixed_name)}</b>.</p><input type="text" name="name" '
            f'value="{escape(fixed_name)}" autocomplete="username" hidden>'
        )
    else:
        who = _field(
            "Your name",
            "name",
            value=name,
            extra='autocomplete="username" maxlength="80" required autofocus',
        )
    about = (
        "You will look after this project: its data, its people and its runs."
        if role == "lead"
        else "You will read answers of a model and say which are good."
    )
    return _page(
        "Welcome",
        f"""<h1>Welcome</h1><p class="mute">{about}</p>{_error(error)}
<form method="post" action="/welcome"><input type="hidden" name="token" value="{escape(token)}">
{who}{_password("new-password", hint=f"at least {SHORTEST_PASSWORD} characters")}
<button class="go" type="submit">Set password and start</button></form>""",
    )


def dead_link_page() -> str:
    """For an invitation that is used up."""
    return _page(
        "Link expired",
        """<h1>This link has been used or has expired</h1>
<p>Links work once, for a week. If you have a password, <a href="/sign-in">sign in</a>;
if not, ask a lead for a new link.</p>""",
    )


def _page(title: str, body: str) -> str:
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · Coach</title><link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/coach.css"></head>
<body class="plain"><main class="door">{WORDMARK}<div class="card">{body}</div></main></body></html>
"""


def _field(label: str, name: str, value: str = "", extra: str = "", type_: str = "text") -> str:
    return (
        f'<label class="field"><span>{escape(label)}</span>'
        f'<input type="{type_}" name="{name}" value="{escape(value)}" {extra}></label>'
    )


def _password(autocomplete: str, hint: str = "", extra: str = "") -> str:
    label = "Password" + (f", {hint}" if hint else "")
    return _field(
        label,
        "password",
        type_="password",
        extra=f'autocomplete="{autocomplete}" required{extra}',
    )


def _error(text: str) -> str:
    return f'<p class="notice bad" role="alert">{escape(text)}</p>' if text else ""
