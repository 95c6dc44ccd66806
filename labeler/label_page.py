"""The label page: HTML of a view, and the Gradio wiring of keys, buttons and the next task.

What is pressed travels as one JSON text made by static/label.js from the task that is painted:
{"assignment", "token", "value", "seconds"}. Everything else is read from the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from data.schema import Annotator
from data.store import Store
from labeler import rating
from labeler.guard import PRIVATE, guarded
from labeler.look import plain_html
from labeler.pages import WORDMARK
from labeler.rating import Painted, View
from labeler.render_html import escape, markdown, prose, turns

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
    ),
    "binary": (("good", "Good", "g", ""), ("bad", "Bad", "b", "")),
    "scalar": tuple((str(n), str(n), str(n % 10), "") for n in range(1, 11)),
}
MORE = (("skip", "Skip", "s"), ("undo", "Undo", "u"), ("keys", "All keys", "?"))
POLL_SECONDS = 3.0


def build_label_page(store: Store) -> Any:
    """The page of one annotator; who that is, each request says."""
    with gr.Blocks(title="Coach · rate", fill_width=True, analytics_enabled=False) as page:
        with gr.Column(elem_id="rate"):
            header = plain_html(name="head")
            stage = plain_html(name="stage")
            with gr.Column(elem_id="bar"):
                groups = {kind: _group(kind) for kind in CHOICES}
                with gr.Row(elem_id="more", visible=False) as more:
                    extra = {name: _button(name, words, "more") for name, words, _ in MORE}
            dialogs = plain_html(name="dialogs")
        pressed = gr.Textbox(visible=False)
        timer = gr.Timer(POLL_SECONDS, active=False)
        outputs = [header, stage, *(row for row, _ in groups.values()), more, timer]

        def show(view: View, person: Annotator) -> list[Any]:
            return [
                header_html(view, person),
                stage_html(view),
                *(gr.update(visible=_kind(view) == kind) for kind in groups),
                gr.update(visible=view.state == "task" or view.progress.done > 0),
                gr.update(active=view.state != "task"),
            ]

        def on(event: Any, act: Callable[[Annotator, str], View], js: str | None = None) -> None:
            event(
                guarded(store, "annotator", lambda person, text: show(act(person, text), person)),
                [pressed],
                outputs,
                js=js,
                **PRIVATE,
            )

        def act_on(press: str) -> Callable[[Annotator, str], View]:
            return lambda person, text: react(store, person, press, text)

        for _, buttons in groups.values():
            for button in buttons:
                on(button.click, act_on("answer"), js=f"() => coach.press('{_value(button)}')")
        on(extra["skip"].click, act_on("skip"), js="() => coach.press('skip')")
        on(extra["undo"].click, act_on("undo"), js="() => coach.press('undo')")
        on(page.load, act_on("look"))
        on(timer.tick, act_on("look"))
        extra["keys"].click(None, js="() => coach.open('keys')", **PRIVATE)
        page.load(
            guarded(store, "annotator", lambda _: dialogs_html(store)), None, dialogs, **PRIVATE
        )
    return page


def react(store: Store, person: Annotator, press: str, text: str) -> View:
    """What a press does: the text is what the page sent with it."""
    if press == "look":
        return rating.look(store, person)
    if press == "undo":
        return rating.undo(store, person)
    sent = _sent(text)
    if sent is None:
        return rating.look(store, person, "That press was not understood: reload the page.")
    assignment, token, value, seconds = sent
    if press == "skip":
        return rating.skip(store, person, assignment)
    return rating.submit(store, person, assignment, value, token, seconds)


def _sent(text: str) -> tuple[int, str, str, float | None] | None:
    try:
        values = json.loads(text)
        seconds = values.get("seconds")
        return (
            int(values["assignment"]),
            str(values["token"]),
            str(values["value"]),
            float(seconds) if seconds is not None else None,
        )
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        return None


def _group(kind: str) -> tuple[gr.Row, list[gr.Button]]:
    with gr.Row(elem_id=f"choices-{kind}", elem_classes="choices", visible=False) as row:
        buttons = [
            _button(f"{kind}-{value}", words, "choice") for value, words, _, _ in CHOICES[kind]
        ]
    return row, buttons


def _button(name: str, words: str, style: str) -> gr.Button:
    main = name in ("pairwise-a", "pairwise-b", "binary-good")
    return gr.Button(
        words,
        elem_id=f"press-{name}",
        elem_classes=["press", style],
        variant="primary" if main else "secondary",
    )


def _value(button: gr.Button) -> str:
    return str(button.elem_id).rsplit("-", 1)[1]


def _kind(view: View) -> str:
    return view.task.kind if view.task else ""


def header_html(view: View, person: Annotator) -> str:
    """Wordmark, question, progress, guidelines, sign out."""
    done, left = view.progress.done, view.progress.left
    share = 100 * done / (done + left) if done + left else 0
    question = QUESTIONS.get(_kind(view), "")
    desk = '<a class="quiet" href="/lead/">Lead pages</a>' if person.role == "lead" else ""
    return f"""<header class="top">{WORDMARK}<h1 class="question">{question}</h1>
<span class="space"></span>
<span class="count" id="count"><b>{done:,}</b> done · <b>{left:,}</b> left</span>
<span class="meter" role="progressbar" aria-label="tasks done" aria-valuemin="0" aria-valuemax="100"
 aria-valuenow="{share:.0f}"><i style="width:{share:.1f}%"></i></span>
<button type="button" class="quiet" id="guidelines" data-open="guide">Guidelines <kbd>h</kbd>
</button>{desk}<form method="post" action="/sign-out"><button class="quiet" title="signed in as
 {escape(person.name)}">Sign out</button></form></header>"""


def stage_html(view: View) -> str:
    """The task, or why there is none."""
    notice = (
        f'<p class="notice" role="status">{escape(view.notice)}</p>'
        if view.notice
        else _first_time(view)
    )
    if view.task:
        return notice + task_html(view.task)
    return notice + (_sampling(view) if view.state == "sampling" else _all_done(view))


def task_html(task: Painted) -> str:
    """Prompt and answers. The assignment and its token are all that identifies the task."""
    pair = len(task.answers) == 2
    names = (("a", "Answer A"), ("b", "Answer B")) if pair else (("", "Answer"),)
    sides = "".join(
        f'<article class="card side {side}"><h2>{name}</h2>{prose(answer.text)}'
        f"{'' if answer.finished else CUT}</article>"
        for (side, name), answer in zip(names, task.answers, strict=True)
    )
    return f"""<section id="task" data-assignment="{task.assignment_id}"
 data-token="{escape(task.token)}" data-kind="{task.kind}">
<article class="card prompt">{turns(task.messages)}</article>
<div class="answers {"two" if pair else ""}">{sides}</div></section>"""


CUT = '<p class="cut">The answer stops here: it reached the length limit.</p>'


def _first_time(view: View) -> str:
    if view.state != "task" or view.progress.done:
        return ""
    return (
        '<p class="notice">New here? Read the guidelines first: the button above, or the key '
        "<kbd>h</kbd>.</p>"
    )


def _sampling(view: View) -> str:
    done, total = view.sampled
    share = 100 * done / total if total else 0
    count = f"{done:,} of {total:,} completions" if total else "starting"
    return f"""<div class="card empty" data-state="sampling"><h2>Answers are being written</h2>
<p>The model is answering the prompts. Tasks appear here by themselves; this page can stay open.</p>
<span class="meter wide"><i style="width:{share:.1f}%"></i></span><p class="mute small">{count}</p>
</div>"""


def _all_done(view: View) -> str:
    done = view.progress.done
    thanks = f"You have rated {done:,}. Thank you." if done else "There is nothing to rate yet."
    return f"""<div class="card empty" data-state="done"><h2>All done for now</h2><p>{thanks}</p>
<p class="mute small">New tasks appear here by themselves; this page can stay open.</p></div>"""


def dialogs_html(store: Store) -> str:
    """The guidelines and the table of keys, each in a dialog."""
    found = store.people.guidelines()
    text = markdown(found.text) if found else "<p>No guidelines have been written yet.</p>"
    version = f'<p class="mute small">version {found.version}</p>' if found else ""
    rows = "".join(
        f"<tr><td>{words}</td><td>{_kbd(key, *further)}</td></tr>"
        for words, key, further in _keys()
    )
    return _dialog("guide", "Guidelines", f'<div class="text">{text}</div>{version}') + _dialog(
        "keys", "All keys", f"<h2>Keys</h2><table>{rows}</table>"
    )


def _dialog(name: str, title: str, inside: str) -> str:
    return f'<dialog id="{name}" aria-label="{title}" autofocus>{inside}{CLOSE}</dialog>'


CLOSE = '<form method="dialog"><button class="quiet">Close <kbd>Esc</kbd></button></form>'


def _keys() -> list[tuple[str, str, str]]:
    rows = [
        (words, key, more) for k in ("pairwise", "binary") for _, words, key, more in CHOICES[k]
    ]
    rows += [("1 to 9", "1 … 9", ""), ("10", "0", "")]
    return [*rows, ("Guidelines", "h", ""), *((words, key, "") for _, words, key in MORE)]


def _kbd(*keys: str) -> str:
    return " ".join(f"<kbd>{escape(key)}</kbd>" for key in keys)
