"""The Data and People tabs: import and export, guidelines, invitations."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from sqlalchemy.exc import OperationalError

from data.exports import Format
from data.imports.readers import SUFFIXES
from data.schema import ROLES, Annotator, Role
from data.settings import disk_message
from labeler.access.auth import welcome_link
from labeler.jobs import Site
from labeler.lead.live import Live
from labeler.lead.views import home
from labeler.rendering import note, refusal
from labeler.theme import plain_html

IMPORT = """<h3>Import</h3><p class="mute small">Prompts, demonstrations, completions, judgements:
JSON lines in the exchange format; TRL, Argilla or Label Studio data; as JSON, CSV, TSV or Parquet.
Importing the same file twice changes nothing.</p>"""
EXPORTS = {
    "Everything, as JSON lines that can be imported": "exchange",
    "Preferences, for TRL's RewardTrainer and DPOTrainer": "trl-preference",
    "Good and bad completions, for TRL's KTOTrainer": "trl-unpaired",
    "Rated completions, for a regression": "scalar",
    "Prompts, for TRL's GRPOTrainer": "trl-prompts",
}


def data_tab(live: Live) -> None:
    """Counts, import, export, guidelines."""
    with gr.Row(elem_classes="work"):
        with gr.Column(scale=2, min_width=320):
            live.html("data-counts", lambda now, _: home.data_html(now))
            with gr.Column(elem_classes="card sheet"):
                plain_html(IMPORT)
                file = gr.File(
                    show_label=False,
                    file_types=list(SUFFIXES),
                    height=140,
                    elem_id="import-file",
                    elem_classes="dropzone",
                )
                who = gr.Textbox(
                    label="Who judged, where the file does not say",
                    max_lines=1,
                    elem_id="import-annotator",
                )
                button = gr.Button("Import", variant="primary", elem_id="start-import")
                notice = plain_html(name="import-notice")
                live.act(
                    button.click,
                    lambda _, path, name: import_note(live.site, path, name),
                    [file, who],
                    notice,
                )
            with gr.Column(elem_classes="card sheet"):
                plain_html("<h3>Export</h3>")
                wanted = gr.Dropdown(
                    list(EXPORTS.items()),
                    value="exchange",
                    label="What to write",
                    info="For trainers: a zip file with train, validation and test, and a card.",
                    elem_id="export-format",
                )
                make = gr.Button("Make an export", elem_id="start-export")
                made = gr.File(label="Your export", visible=False, height=80)
                notice = plain_html(name="export-notice")
                live.act(make.click, lambda _, f: export(live.site, f), [wanted], [made, notice])
        with gr.Column(scale=3, min_width=320):
            _guidelines_form(live)


def _guidelines_form(live: Live) -> None:
    with gr.Column(elem_classes="card sheet"):
        plain_html("<h3>Guidelines</h3>")
        text = gr.Textbox(
            label="What annotators go by",
            info="Markdown. Saving makes a new version; judgements remember the one they went by.",
            lines=22,
            max_lines=40,
            elem_id="guidelines-text",
        )
        save = gr.Button("Save as new version", variant="primary", elem_id="save-guidelines")
        notice = plain_html(name="guidelines-notice")
    live.add(text, lambda now, _: now.guidelines.text if now.guidelines else "")
    live.act(save.click, lambda _, new: save_guidelines(live.site, new), [text], notice)


def people_tab(live: Live) -> None:
    """Who judges, and a link for who is to come."""
    with gr.Row(elem_classes="work"):
        with gr.Column(scale=3, min_width=320):
            live.html("people-list", lambda now, _: home.people_html(now))
        with gr.Column(scale=2, min_width=320, elem_classes="card sheet"):
            plain_html("<h3>Add a person</h3>")
            name = gr.Textbox(label="Name", elem_id="person-name", max_lines=1)
            role = gr.Radio(
                list(ROLES),
                value="annotator",
                label="Role",
                info="A lead may also start runs and see everybody's figures.",
                elem_id="person-role",
            )
            add = gr.Button("Make an invitation link", variant="primary", elem_id="add-person")
            link = gr.Textbox(
                label="Hand this link over; it works once, for a week",
                visible=False,
                interactive=False,
                buttons=["copy"],
                elem_id="invitation",
            )
            notice = plain_html(name="person-notice")

        def invite_from(_: Annotator, base: object, name: object, role: Role) -> list[object]:
            return add_person(live.site, str(base or ""), name, role)

        base = gr.Textbox(visible=False)
        live.act(
            add.click,
            invite_from,
            [base, name, role],
            [link, notice],
            js="(base, name, role) => [window.location.origin, name, role]",
        )


def import_note(site: Site, path: object, annotator: object = None) -> str:
    """Import an uploaded file: all of it, or one line that says which line is wrong."""
    from data.imports import import_file

    if not path:
        return refusal(ValueError("no file chosen: choose one first"))
    try:
        who = str(annotator or "").strip() or None
        report = import_file(site.store, Path(str(path)), annotator=who)
    except ValueError as error:
        reason = str(error).replace(str(path), Path(str(path)).name)
        reason = reason.replace("add --annotator NAME", "say who judged")
        return refusal(ValueError(f"nothing was imported: {reason}"))
    except (OSError, OperationalError) as error:
        return refusal(ValueError(f"nothing was imported: {disk_message(error)}"))
    lines = [
        f"{n:,} {kind} lines, {report.new.get(kind, 0):,} new" for kind, n in report.read.items()
    ]
    lines += [f"{n:,} x {reason}" for reason, n in report.left_out.items()]
    parts = [f"Imported as {report.read_as}: {'; '.join(lines)}"]
    return note(". ".join([*parts, *filter(None, [report.named.sentence()])]) + ".")


def export(site: Site, format: Format = "exchange") -> list[object]:
    """Write an export to exports/ in the workspace and offer it."""
    from data.exports import check_format, export_file, export_zip

    try:
        check_format(format)
        if format == "exchange":
            path = site.workspace / "exports" / "coach.jsonl"
            report = export_file(site.store, path)
        else:
            path = site.workspace / "exports" / f"coach-{format}.zip"
            report = export_zip(site.store, path, format)
    except (ValueError, OSError) as error:
        return [gr.update(visible=False), refusal(error)]
    parts = [f"{n:,} {what}" for what, n in report.written.items()]
    left = [f"{n:,} left out ({reason})" for reason, n in report.left_out.items()]
    words = f"Ready to download: {', '.join([*parts, *left])}."
    return [gr.update(value=str(path), visible=True), note(words)]


def save_guidelines(site: Site, text: object) -> str:
    """A new version of the guidelines."""
    try:
        version = site.store.people.set_guidelines(str(text or "")).version
    except ValueError as error:
        return refusal(error)
    return note(f"Version {version} is what annotators read from now on.")


def add_person(site: Site, base: str, name: object, role: Role) -> list[object]:
    """The link with which a new person sets their password, or one who is here a new one."""
    known = site.store.people.find(str(name or ""))
    try:
        person = known or site.store.people.add(str(name or ""), role)
    except ValueError as error:
        return [gr.update(visible=False), refusal(error)]
    link = welcome_link(base, site.store.people.invite(role, person.name))
    words = "is here already: with this link they set a new password" if known else "was added"
    return [gr.update(value=link, visible=True), note(f"{person.name} {words}.")]
