"""The label page: its frame, its buttons and dialogs in Gradio, and the HTML of a task.

What happens between a press and the next task is static/label.js: it paints, keeps what is unsent,
and talks to labeler.rating.api. Everything else is read from the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from data.schema import FLAGS, LONGEST_COMMENT, Annotator, Message
from data.store import Store
from data.task_planning import LEASE_MINUTES
from labeler.access.guard import PRIVATE, guarded
from labeler.gradio_import import gr
from labeler.rating.actions import ShownTask
from labeler.rendering import render_macro
from labeler.safe_html.slices import SLICE_COST, cost
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
SPEAKERS = {"user": "Person", "assistant": "Model, earlier", "system": "Instruction"}
"""Role of a turn -> what stands over it."""
FLAG_WORDS = {
    "harmful": "Harmful or upsetting",
    "private": "Gives away somebody's private data",
    "unreadable": "Broken or unreadable text",
    "wrong_language": "Wrong language",
    "names_its_maker": "Says which model it is",
    "other": "Something else (say what in a comment)",
}
TURN_COST = 500.0
"""Microseconds of a turn without its text (see labeler.safe_html.slices)."""
FACTS = {
    "questions": QUESTIONS,
    "keys": {
        kind: {key: value for value, _, *keys in choices for key in keys if key}
        for kind, choices in CHOICES.items()
    },
    "more": {key: name for name, _, key in MORE},
    "leaseMinutes": LEASE_MINUTES,
}


def build_label_page(store: Store) -> gr.Blocks:
    """The page of one annotator; who that is, each request says."""
    page = gr.Blocks(title="Coach · rate", fill_width=True, analytics_enabled=False)
    with page:
        with gr.Column(elem_id="rate"):
            header = plain_html(name="head")
            plain_html(render_macro("rating", "stage"), name="stage")
            with gr.Column(elem_id="bar"):
                plain_html(render_macro("rating", "reading"), name="reading")
                for kind, choices in CHOICES.items():
                    with gr.Row(elem_id=f"choices-{kind}", elem_classes="choices"):
                        for value, words, _, _ in choices:
                            _add_button(f"{kind}-{value}", words, "choice", value)
                plain_html(render_macro("rating", "strengths", STRENGTHS), name="strength")
                with gr.Row(elem_id="more"):
                    for name, words, _ in MORE:
                        _add_button(name, words, "more", name)
            dialogs = plain_html(name="dialogs")

        def furnish(person: Annotator) -> list[str]:
            found = store.people.guidelines()
            own = {"person": person.badge, "guidelines": found.version if found else None}
            flags = {flag: FLAG_WORDS[flag] for flag in FLAGS}
            beside = render_macro("rating", "dialogs", found, key_lists(), flags, LONGEST_COMMENT)
            return [header_html(person, FACTS | own), beside]

        page.load(guarded(store, "annotator", furnish), None, [header, dialogs], **PRIVATE)
    return page


def _add_button(name: str, words: str, style: str, press: str) -> None:
    main = name in ("pairwise-a", "pairwise-b", "binary-good")
    button = gr.Button(
        words,
        elem_id=f"press-{name}",
        elem_classes=["press", style],
        variant="primary" if main else "secondary",
    )
    button.click(None, js=f"() => coach.press({json.dumps(press)})", **PRIVATE)


def header_html(person: Annotator, facts: Mapping[str, object]) -> str:
    """Wordmark, question, own progress, guidelines, sign out; and what label.js needs to know."""
    return render_macro("rating", "header", person, json.dumps(facts))


def task_html(task: ShownTask) -> str:
    """Prompt and answers, rendered and as they are. The assignment is all that identifies it."""
    *earlier, shown = in_portions(task.messages)
    return render_macro("rating", "task", task, earlier, shown, SPEAKERS)


def in_portions(messages: Sequence[Message]) -> list[list[Message]]:
    """Turns, in portions that a browser lays out quickly: the last is shown, others on request."""
    portions: list[list[Message]] = [[]]
    spent = 0.0
    for message in reversed(messages):
        spent += TURN_COST + cost(message.content, SLICE_COST)
        if portions[0] and spent > SLICE_COST:
            portions.insert(0, [])
            spent = TURN_COST + cost(message.content, SLICE_COST)
        portions[0].insert(0, message)
    return portions


def question_line(messages: Sequence[Message]) -> str:
    """What was asked last, on one line."""
    text = " ".join(messages[-1].content.split())
    return text if len(text) <= 80 else text[:79] + "…"


def key_lists() -> dict[str, list[tuple[str, list[str]]]]:
    """Which keys do what, by the kind of task."""

    def choices(kind: str) -> list[tuple[str, list[str]]]:
        return [(words, [key for key in keys if key]) for _, words, *keys in CHOICES[kind]]

    much = [("Much better", ["⇧ 1", "⇧ 2"]), ("Slightly to much", ["w"])]
    return {
        "Comparing": [*choices("pairwise"), *much],
        "Good or bad": choices("binary"),
        "1 to 10": [("1 to 9", ["1 … 9"]), ("10", ["0"])],
        "Always": [("Guidelines", ["h"]), *((words, [key]) for _, words, key in MORE)],
    }
