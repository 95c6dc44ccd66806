"""The Data and People tabs: import and export, guidelines, who can get in."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from data.exports import Format
from data.imports.files.readers import SUFFIXES
from data.places.private import private_folder
from data.schema import ROLES, Annotator, Role
from labeler import jobs
from labeler.access import accounts
from labeler.access.accounts import Change
from labeler.access.auth import welcome_link
from labeler.access.uploads import discard
from labeler.gradio_import import gr
from labeler.jobs import Site
from labeler.lead.live import Live
from labeler.lead.receipt_routes import EXPORTS_FOLDER
from labeler.lead.run_buttons import shown_run, stop_button
from labeler.lead.snapshot import Snapshot, mapping_in
from labeler.lead.views import home
from labeler.rendering import as_sentence, heading, note, refusal, render_macro
from labeler.theme import plain_html

IMPORT = """Prompts, demonstrations, completions, judgements: JSON lines in the exchange format;
TRL, Argilla or Label Studio data; as JSON, CSV, TSV or Parquet. Importing the same file twice
changes nothing."""
EXPORTS = {
    "Everything, as JSON lines that can be imported": "exchange",
    "Preferences, for TRL's RewardTrainer and DPOTrainer": "trl-preference",
    "Good and bad completions, for TRL's KTOTrainer": "trl-unpaired",
    "Rated completions, for a regression": "scalar",
    "Prompts, for TRL's GRPOTrainer": "trl-prompts",
}


CHANGES: dict[Change, str] = {
    "off": "Switch off",
    "on": "Switch on",
    "sign-out": "End sessions",
    "withdraw": "Withdraw links",
}
HERE = 'new URL("..", window.location.href).href.replace(/[/]$/, "")'
"""The app's address in JavaScript, seen from the lead page: it may be served below a path."""


def data_tab(live: Live) -> None:
    """Counts, import, export, guidelines."""
    with gr.Row(elem_classes="work"):
        with gr.Column(scale=2, min_width=320):
            live.html("data-counts", lambda now, _: home.data_html(now))
            with gr.Column(elem_classes="card sheet"):
                plain_html(heading("Import", IMPORT))
                file = gr.File(
                    show_label=False,
                    file_types=list(SUFFIXES),
                    height=140,
                    elem_id="import-file",
                    elem_classes="dropzone",
                )
                asked = "Who judged, where the file does not say"
                who = gr.Textbox(label=asked, max_lines=1, elem_id="import-annotator")
                details = gr.Textbox(
                    label="What else the file does not say",
                    info="As on the shell: --scale 1..5, --people Jose=José, --source NAME, --turns"
                    " COLUMN, --columns OLD=NEW.",
                    max_lines=1,
                    elem_id="import-details",
                )
                button = gr.Button("Import", variant="primary", elem_id="start-import")
                notice = plain_html(name="import-refusal")
                sent = [file, who, details]
                live.act(button.click, lambda _, *v: import_sent(live.site, *v), sent, notice)
                live.html("import-notice", lambda now, _: import_html(now))
                stop_button(live, "import-stop", shown_run("import"))
            with gr.Column(elem_classes="card sheet"):
                plain_html(heading("Export"))
                wanted = gr.Dropdown(
                    list(EXPORTS.items()),
                    value="exchange",
                    label="What to write",
                    info="For trainers: a zip file with train, validation and test, and a card.",
                    elem_id="export-format",
                )
                make = gr.Button("Make an export", elem_id="start-export")
                notice = plain_html(name="export-notice")
                live.act(make.click, lambda _, f: export(live.site, f), [wanted], notice)
        with gr.Column(scale=3, min_width=320):
            _guidelines_form(live)


def _guidelines_form(live: Live) -> None:
    with gr.Column(elem_classes="card sheet"):
        plain_html(heading("Guidelines"))
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
            _change_form(live)
        with gr.Column(scale=2, min_width=320, elem_classes="card sheet"):
            plain_html(heading("Add a person"))
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

        base = gr.Textbox(visible=False)
        live.act(
            add.click,
            lambda _, base, name, role: add_person(live.site, str(base or ""), name, role),
            [base, name, role],
            [link, notice],
            js=f"(base, name, role) => [{HERE}, name, role]",
        )


def _change_form(live: Live) -> None:
    """One person, and what can be done about how they get in."""
    with gr.Column(elem_classes="card sheet"):
        plain_html(heading("Let in and out"))
        who = gr.Dropdown(
            [],
            label="Person",
            info="Who is switched off is signed out at once; what they said stays.",
            elem_id="person-picked",
        )
        with gr.Row():
            buttons = {
                what: gr.Button(words, elem_id=f"person-{what}") for what, words in CHANGES.items()
            }
        notice = plain_html(name="access-notice")
    live.add(who, lambda now, _: gr.update(choices=[person.name for person in now.people]))
    for what, button in buttons.items():
        live.act(button.click, partial(_change_person, live.site, what), [who], notice)


def _change_person(site: Site, what: Change, _: Annotator, name: object) -> str:
    return change_person(site, what, name)


def change_person(site: Site, what: Change, name: object) -> str:
    """One line on what came of it."""
    try:
        if not name:
            raise ValueError("nobody is chosen: choose a person first")
        return note(as_sentence(accounts.change_access(site.store, what, str(name))))
    except ValueError as error:
        return refusal(error)


def import_sent(site: Site, path: object, annotator: object = None, details: object = None) -> str:
    """Start the import of an uploaded file; one line that says why not, else nothing."""
    if not path or not Path(str(path)).exists():  # what was imported is removed
        return refusal(ValueError("no file chosen: choose one first"))
    try:
        jobs.start_import(
            site, Path(str(path)), str(annotator or "").strip(), str(details or "").strip()
        )
    except (ValueError, OSError) as error:
        return refusal(error)
    discard(site.workspace, Path(str(path)))
    return ""


def import_html(now: Snapshot) -> str:
    """How far the newest import is, or what became of it."""
    run = now.last("import")
    if run is None:
        return ""
    name = str(run.config.get("file", ""))
    if run.live:
        return render_macro("home", "importing", name, home.progress_html(run))
    if run.status != "finished":
        reason = "it was stopped" if run.status == "stopped" else run.message
        reason = re.sub(rf"{re.escape(str(now.site.workspace))}/incoming/\w+/", "", reason)
        reason = reason.replace("add --annotator NAME", "say who judged")
        reason = re.sub(r", or raise --limits\.\S+", "", reason)
        return refusal(ValueError(f"nothing was imported: {reason}"))
    report = now.report(run)
    new, read, left = (mapping_in(report, key) for key in ("new", "read", "left_out"))
    lines = [f"{n:,} {kind} lines, {new.get(kind, 0):,} new" for kind, n in read.items()]
    lines += [f"{n:,} x {reason}" for reason, n in left.items()]
    said = [f"Imported {name} as {report.get('read_as')}: {'; '.join(lines)}", report.get("named")]
    return note(". ".join(str(part) for part in said if part) + ".")


def export(site: Site, format: Format = "exchange") -> str:
    """Write an export to exports/ in the workspace, for its owner alone, and offer it."""
    from data.exports import check_format, export_file, export_zip

    try:
        check_format(format)
        folder = private_folder(site.workspace / EXPORTS_FOLDER)
        if format == "exchange":
            path = folder / "coach.jsonl"
            report = export_file(site.store, path)
        else:
            path = folder / f"coach-{format}.zip"
            report = export_zip(site.store, path, format)
        path.chmod(0o600)
    except (ValueError, OSError) as error:
        return refusal(error)
    parts = [f"{n:,} {what}" for what, n in report.written.items()]
    left = [f"{n:,} left out ({reason})" for reason, n in report.left_out.items()]
    words = f"Ready to download: {', '.join([*parts, *left])}."
    return note(words) + render_macro(
        "home", "download", f"../{EXPORTS_FOLDER}/{path.name}", path.name
    )


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
        link = welcome_link(base, site.store.people.invite(role, person.name))
    except ValueError as error:
        return [gr.update(visible=False), refusal(error)]
    words = "is here already: with this link they set a new password" if known else "was added"
    return [gr.update(value=link, visible=True), note(f"{person.name} {words}.")]
