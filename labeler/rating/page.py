"""The label page: its frame, its buttons and dialogs in Gradio, and the HTML of a task.

What happens between a press and the next task is static/label.js: it paints, keeps what is unsent,
and talks to labeler.rate_api. Everything else is read from the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from data.schema import FLAGS, Annotator, Message
from data.store import Store
from data.store.people import Guidelines
from data.task_planning import LEASE_MINUTES
from labeler.access.guard import PRIVATE, guarded
from labeler.access.sign_in_pages import WORDMARK
from labeler.rating.actions import ShownTask
from labeler.safe_html.hidden_text import raw
from labeler.safe_html.markdown import escape, markdown, prose, turns
from labeler.theme import plain_html

QUESTIONS = {
    "pairwise": "Which answer is better for the person who asked?",
    "binary": "Is this a good answer for the person who asked?",
    "scalar": "How good is this answer, from 1 to 10?",
}
# kind -> (value, words on the button, key on the button, further keys)
CHOICES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "pairwise": (
        ("a", "A is better", "1", "a"),
        ("tie", "Tie", "0", ""),
        ("b", "B is better", "2", "b"),
        ("bad", "Both bad", "9", ""),
    ),
    "binary": (("good", "Good", "g", ""), ("bad", "Bad", "b", "")),
    "scalar": tuple((str(n), str(n), str(n % 10), "") for n in range(1, 11)),
}
MORE = (
    ("skip", "Skip", "s"),
    ("flag", "Flag", "f"),
    ("comment", "Comment", "c"),
    ("undo", "Undo", "u"),
    ("past", "Earlier", "e"),
    ("raw", "Raw", "r"),
    ("keys", "All keys", "?"),
)
STRENGTHS = ((1, "slightly"), (2, "clearly"), (3, "much"))
FLAG_WORDS = {
    "harmful": "Harmful or upsetting",
    "private": "Gives away somebody's private data",
    "unreadable": "Broken or unreadable text",
    "wrong_language": "Wrong language",
    "names_its_maker": "Says which model it is",
    "other": "Something else (say what in a comment)",
}
FACTS = {
    "questions": QUESTIONS,
    "keys": {
        kind: {key: value for value, _, *keys in choices for key in keys if key}
        for kind, choices in CHOICES.items()
    },
    "more": {key: name for name, _, key in MORE},
    "leaseMinutes": LEASE_MINUTES,
}


def build_label_page(store: Store) -> Any:
    """The page of one annotator; who that is, each request says."""
    with gr.Blocks(title="Coach · rate", fill_width=True, analytics_enabled=False) as page:
        with gr.Column(elem_id="rate"):
            header = plain_html(name="head")
            plain_html(STAGE, name="stage")
            with gr.Column(elem_id="bar"):
                plain_html(READING, name="reading")
                for kind, choices in CHOICES.items():
                    with gr.Row(elem_id=f"choices-{kind}", elem_classes="choices"):
                        for value, words, _, _ in choices:
                            _button(f"{kind}-{value}", words, "choice", value)
                plain_html(STRENGTH, name="strength")
                with gr.Row(elem_id="more"):
                    for name, words, _ in MORE:
                        _button(name, words, "more", name)
            dialogs = plain_html(name="dialogs")

        def furnish(person: Annotator) -> list[str]:
            found = store.people.guidelines()
            facts = {
                "person": person.badge,
                "guidelines": found.version if found else None,
            }
            return [header_html(person, FACTS | facts), dialogs_html(found)]

        page.load(guarded(store, "annotator", furnish), None, [header, dialogs], **PRIVATE)
    return page


def _button(name: str, words: str, style: str, press: str) -> None:
    main = name in ("pairwise-a", "pairwise-b", "binary-good")
    button = gr.Button(
        words,
        elem_id=f"press-{name}",
        elem_classes=["press", style],
        variant="primary" if main else "secondary",
    )
    button.click(None, js=f"() => coach.press({json.dumps(press)})", **PRIVATE)


STAGE = """<p id="announce" class="unseen" role="status"></p>
<div id="notice" class="notice" hidden></div>
<div id="painted"><div class="card empty"><p class="mute">Fetching your next task</p></div></div>"""
READING = (
    """<div class="reading" title="about how long it takes to read this" hidden><i></i></div>"""
)
STRENGTH = (
    '<div class="strengths" role="group" aria-label="How much better">'
    '<span class="mute">how much better?<kbd>w</kbd></span>'
    + "".join(
        f'<button type="button" class="quiet" data-strength="{n}" aria-pressed="false">{words}'
        "</button>"
        for n, words in STRENGTHS
    )
    + '<span class="mute for-keys">or hold <kbd>⇧</kbd> for much better</span></div>'
)


def header_html(person: Annotator, facts: Mapping[str, Any]) -> str:
    """Wordmark, question, own progress, guidelines, sign out; and what label.js needs to know."""
    desk = '<a class="quiet" href="/lead/">Lead pages</a>' if person.role == "lead" else ""
    return f"""<header class="top" id="top" data-facts="{escape(json.dumps(facts))}">{WORDMARK}
<h1 class="question" id="question"></h1><span class="space"></span>
<span class="pill warn" id="unsent" hidden></span>
<span class="count" id="count"></span>
<span class="meter" role="progressbar" aria-label="tasks done" aria-valuemin="0"
 aria-valuemax="100" id="meter"><i></i></span>
<button type="button" class="quiet" id="guidelines" data-press="guide"
 aria-controls="guide" aria-expanded="false">Guidelines <kbd>h</kbd></button>{desk}
<form method="post" action="/sign-out"><button class="quiet" title="signed in as
 {escape(person.name)}">Sign out</button></form></header>"""


def task_html(task: ShownTask) -> str:
    """Prompt and answers, rendered and as they are. The assignment is all that identifies it."""
    pair = len(task.answers) == 2
    names = (("a", "Answer A"), ("b", "Answer B")) if pair else (("", "Answer"),)
    sides = "".join(
        f'<article class="card side {side}" aria-label="{name}"><h2>{name}</h2>'
        f'<div class="rendered">{prose(answer.text)}</div>'
        f'<div class="raw">{raw(answer.text)}</div>'
        f"{'' if answer.finished else CUT}</article>"
        for (side, name), answer in zip(names, task.answers, strict=True)
    )
    return f"""<section id="task" data-assignment="{task.assignment_id}"
 data-token="{escape(task.token)}" data-kind="{task.kind}">
<article class="card prompt" aria-label="Prompt">{turns(task.messages)}</article>
<div class="answers {"two" if pair else ""}">{sides}</div></section>"""


CUT = '<p class="cut">The answer stops here: it reached the length limit.</p>'


def first_line(messages: Sequence[Message], width: int = 80) -> str:
    """What was asked last, on one line."""
    text = " ".join(messages[-1].content.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def guidelines_html(found: Guidelines | None) -> str:
    """The newest guidelines, and which version they are."""
    if found is None:
        return "<p>No guidelines have been written yet.</p>"
    return (
        f'<div class="text">{markdown(found.text)}</div>'
        f'<p class="mute small">version {found.version}</p>'
    )


def dialogs_html(found: Guidelines | None) -> str:
    """The guidelines beside the task; keys, flags, comment and past answers in dialogs."""
    guide = (
        '<aside id="guide" class="card" aria-label="Guidelines" tabindex="-1" hidden>'
        '<div class="guide-head"><h2>Guidelines</h2><button type="button" class="quiet"'
        ' data-press="guide">Close <kbd>h</kbd></button></div>'
        f'<div id="guide-text">{guidelines_html(found)}</div></aside>'
    )
    flags = "".join(
        f'<label class="tick"><input type="checkbox" name="flag" value="{flag}"> '
        f"{FLAG_WORDS[flag]}</label>"
        for flag in FLAGS
    )
    return (
        guide
        + _dialog("keys", "Keys", KEYS_ON + _keys())
        + _dialog("flag", "What is wrong with it?", FLAG_NOTE + flags)
        + _dialog("comment", "Your comment", COMMENT)
        + _dialog("past", "My answers", '<div id="past-list" class="stack"></div>')
    )


KEYS_ON = (
    '<label class="tick"><input type="checkbox" id="keys-on" checked>'
    " Single keys work (untick to switch them off)</label>"
)
FLAG_NOTE = '<p class="mute">Goes with your answer, or with a skip. Answer as well if you can.</p>'
COMMENT = (
    '<p class="mute">Goes with your answer, or with a skip.</p>'
    '<textarea id="comment-text" rows="4" maxlength="4000" aria-label="Your comment"></textarea>'
)


def _dialog(name: str, title: str, inside: str) -> str:
    return (
        f'<dialog id="dialog-{name}" aria-label="{title}" autofocus><h2>{title}</h2>{inside}'
        '<form method="dialog"><button class="quiet">Close <kbd>Esc</kbd></button></form></dialog>'
    )


def _keys() -> str:
    """Which key does what, by the kind of task."""

    def choices(kind: str) -> list[tuple[str, ...]]:
        return [(words, *filter(None, keys)) for _, words, *keys in CHOICES[kind]]

    much = [("Much better", "⇧ 1", "⇧ 2"), ("Slightly to much", "w")]
    lists: dict[str, list[tuple[str, ...]]] = {
        "Comparing": [*choices("pairwise"), *much],
        "Good or bad": choices("binary"),
        "1 to 10": [("1 to 9", "1 … 9"), ("10", "0")],
        "Always": [("Guidelines", "h"), *((words, key) for _, words, key in MORE)],
    }
    rows = {
        title: "".join(f"<tr><td>{words}</td><td>{_kbd(*keys)}</td></tr>" for words, *keys in list_)
        for title, list_ in lists.items()
    }
    return f"""<div class="key-lists">{
        "".join(f"<section><h3>{t}</h3><table>{r}</table></section>" for t, r in rows.items())
    }</div>"""


def _kbd(*keys: str) -> str:
    return " ".join(f"<kbd>{escape(key)}</kbd>" for key in keys)
