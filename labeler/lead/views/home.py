"""What the lead pages say, as HTML made from a snapshot. Nothing here knows of Gradio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from shlex import quote
from typing import Any

from data.schema import Annotator
from data.settings import disk_message
from data.store.run_rows import Run
from labeler.access.sign_in_pages import WORDMARK
from labeler.jobs import TITLES
from labeler.lead.next_step import Step
from labeler.lead.receipt_routes import RECEIPT, address
from labeler.lead.snapshot import Snapshot
from labeler.lead.views.numbers import (
    STATES,
    age,
    bounds,
    clock,
    duration,
    number,
    percent,
    remaining,
    too_few,
)
from labeler.safe_html.markdown import escape

ARROW = '<span class="arrow" aria-hidden="true">→</span>'


def header_html(person: Annotator) -> str:
    """Wordmark, and who is signed in."""
    return f"""<header class="lead-top">{WORDMARK}<span class="space"></span>
<a class="quiet" href="/label/">Rate</a><form method="post" action="/sign-out">
<button class="quiet" title="signed in as {escape(person.name)}">Sign out</button></form>
</header>"""


def flow_html(now: Snapshot) -> str:
    """The loop in five cards."""
    c, kinds = now.counts, now.counts.judgements
    cards = [
        _node("Prompts", f"{c.prompts:,}", f"{c.demonstrations:,} demonstrations"),
        _node("Completions", f"{c.completions:,}", _by_models(now.models)),
        _node(
            "Judgements",
            f"{c.judgements_total:,}",
            f"A or B {kinds['pairwise']:,} · 1-10 {kinds['scalar']:,} · "
            f"good/bad {kinds['binary']:,}<br>{c.tasks_open:,} still wanted",
        ),
        _reward_node(now),
        _policy_node(now),
    ]
    return f'<div class="flow">{ARROW.join(cards)}</div>'


def _by_models(models: Mapping[str, int]) -> str:
    """How many each model wrote, the most prolific two by name."""
    ranked = sorted(models.items(), key=lambda item: -item[1])
    named = [f"{n:,} by {escape(_short_model(name))}" for name, n in ranked[:2]]
    rest = len(ranked) - len(named)
    return "<br>".join([*named, *([f"and {rest} more models"] if rest > 0 else [])])


def _short_model(name: str) -> str:
    return name if len(name) <= 26 else "…" + name[-25:]


def _reward_node(now: Snapshot) -> str:
    report = now.report(now.newest("reward"))
    if not report:
        return _node("Reward model", "–", "none trained yet")
    accuracy: Mapping[str, Any] = (report.get("held_out") or {}).get("accuracy") or {}
    if too_few(accuracy):
        return _node("Reward model", "–", f"accuracy: {too_few(accuracy)}")
    return _node(
        "Reward model",
        f"{100 * accuracy['value']:.0f}%",
        f"{bounds(accuracy)}, on unseen prompts<br>{_yardstick(report)}",
    )


def _yardstick(report: Mapping[str, Any]) -> str:
    """The strongest baseline, in a few words."""
    baselines = (report.get("held_out") or {}).get("baselines") or {}
    known = {k: v["value"] for k, v in baselines.items() if v and v.get("value") is not None}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name])
    return f"{BASELINES.get(best, escape(best))}: {100 * known[best]:.0f}%"


BASELINES = {
    "longer": "always the longer",
    "shorter": "always the shorter",
    "first": "always the one shown first",
    "prompt": "the prompt alone",
    "words": "the words alone",
}


def _policy_node(now: Snapshot) -> str:
    report = now.report(now.newest("compare"))
    if not report:
        state = "not compared yet" if now.newest("grpo") else "none trained yet"
        return _node("Policy", "–", state)
    rate: Mapping[str, Any] = next(iter((report.get("win_rates") or {}).values()), {})
    if too_few(rate):
        return _node("Policy", "–", f"win rate: {too_few(rate)}")
    return _node(
        "Policy", f"{100 * rate['value']:.0f}%", f"wins against SFT {bounds(rate)}, by the reward"
    )


def _node(title: str, figure: str, about: str) -> str:
    return (
        f'<div class="card node"><h3>{title}</h3><div class="big">{figure}</div>'
        f'<div class="mute small">{about}</div></div>'
    )


def next_html(step: Step) -> str:
    """The recommendation; its button stands beside it."""
    return (
        f'<div class="mute small">Next step</div><div class="next-title">{escape(step.title)}</div>'
        f'<div class="mute small">{escape(step.why)}</div>'
    )


def running_html(now: Snapshot) -> str:
    """What runs now, else the last few that ended."""
    shown = now.live or list(now.runs[:4])
    title = "Now running" if now.live else "Last runs"
    body = (
        table_html(("run", "what", "progress", "state"), [_run_row(run) for run in shown])
        if shown
        else '<p class="mute">Nothing has been run yet.</p>'
    )
    return f'<div class="card"><h3>{title}</h3>{body}</div>'


def runs_html(now: Snapshot) -> str:
    """Every run."""
    if not now.runs:
        return '<div class="card"><p class="mute">Nothing has been run yet.</p></div>'
    head = ("run", "what", "progress", "state", "started")
    rows = [[*_run_row(run), clock(run.created_at)] for run in now.runs]
    return f'<div class="card">{table_html(head, rows)}</div>'


def _run_row(run: Run) -> list[str]:
    return [
        f"<code>{escape(run.id)}</code>",
        escape(TITLES.get(run.kind, run.kind)),
        progress_html(run),
        pill(run),
    ]


def pill(run: Run) -> str:
    """A run's state in one word, coloured by whether it needs a look."""
    style = {"failed": "bad", "died": "bad", "stopped": "warn"}.get(run.status, "")
    return f'<span class="pill {style}">{STATES[run.status]}</span>'


def progress_html(run: Run) -> str:
    """A bar and how far it is, or how it ended."""
    if not run.live:
        words = escape(run.message) if run.message else f"took {duration(age(run))}"
        return f'<span class="mute small">{words}</span>'
    share = 100 * run.done / run.total if run.total else 0
    counted = f"{run.done:,} of {run.total:,}" if run.total > 1 else ""
    about = [run.message, counted, remaining(run)]
    words = " · ".join(escape(part) for part in about if part) or "starting"
    if not counted:
        return f'<span class="meter busy"><i></i></span><div class="mute small">{words}</div>'
    return (
        f'<span class="meter" role="progressbar" aria-label="Progress of {escape(run.id)}" '
        f'aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share:.0f}"><i style="width:{share:.1f}%"></i></span>'
        f'<div class="mute small">{words}</div>'
    )


def run_card(now: Snapshot, run: Run | None, nothing: str) -> str:
    """One run's state, and in the end its summary in words."""
    if run is None:
        return f'<div class="card"><p class="mute">{escape(nothing)}</p></div>'
    summary = "" if now.receipt(run) else now.report(run).get("summary", "")  # it begins with it
    said = f"<p>{escape(summary)}</p>" if summary else ""
    return f"""<div class="card">{_run_head(run)}
{progress_html(run)}{said}{_trouble(now, run)}</div>"""


def _run_head(run: Run) -> str:
    return f'<div class="run-head"><code>{escape(run.id)}</code>{pill(run)}</div>'


def _trouble(now: Snapshot, run: Run) -> str:
    if run.status not in ("failed", "died"):
        return ""
    log = now.log(run, 8)
    return f'<pre class="log">{escape(log)}</pre>' if log else ""


FIT = (
    "const frame = this, page = this.contentDocument.documentElement;"
    " new ResizeObserver(() => frame.style.height = page.offsetHeight + 'px').observe(page)"
)
"""Makes a frame as tall as its page, whatever is unfolded in it."""
LINKS = {RECEIPT: "Open by itself", "receipt.json": "JSON", "README.md": "Model card"}


def receipt_html(now: Snapshot, run: Run | None) -> str:
    """The receipt of a model: the page that its run wrote, in a frame."""
    there = now.receipt(run)
    if run is None or RECEIPT not in there:
        return ""
    links = "".join(
        f'<a class="quiet" target="_blank" href="{escape(address(run, name))}">{LINKS[name]}</a>'
        for name in there
    )
    return f"""<div class="card receipt"><div class="receipt-head"><h3>Receipt</h3>
<code>{escape(run.id)}</code><span class="space"></span>{links}</div>
<details><summary>Use this model elsewhere</summary>
<pre class="log">{escape(_elsewhere(now, run))}</pre></details>
<iframe src="{escape(address(run, RECEIPT))}" title="Receipt of {escape(run.id)}"
 sandbox="allow-same-origin" onload="{escape(FIT)}"></iframe></div>"""


def _elsewhere(now: Snapshot, run: Run) -> str:
    """The commands that hand a model to others."""
    this = f"--workspace {quote(str(now.site.workspace))} --run {run.id}"
    return (
        "# an ordinary model folder, with a proof that it gives these rewards\n"
        f"python -m reward_model export {this} --out reward-model\n\n"
        "# rewards over HTTP\n"
        f"python -m reward_model score {this} --serve"
    )


def _bar(figure: Mapping[str, Any] | None, colour: str) -> str:
    """A share as a bar with its interval drawn over it."""
    words = percent(figure)
    if figure is None or too_few(figure):
        return f'<span class="mute">{words}</span>'
    low, high = figure.get("low"), figure.get("high")
    whisker = ""
    if low is not None and high is not None:
        whisker = f'<u style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></u>'
    return (
        f'<span class="share {colour}"><i style="width:{100 * figure["value"]:.1f}%"></i>{whisker}'
        f"</span> <span>{words}</span>"
    )


def compare_html(report: Mapping[str, Any]) -> str:
    """The table of a comparison, and who wins how often."""
    if not report:
        return ""
    names = {"reward": "the reward model", "true utility": "the true utility"}
    wins = "".join(
        f"<tr><td>by {escape(names.get(name, name))}</td><td>{_bar(rate, 'accent')}</td></tr>"
        for name, rate in (report.get("win_rates") or {}).items()
    )
    rows = [_measure_row(row) for row in report.get("rows") or []]
    head = ("measure", "SFT", "GRPO", "difference", "95% interval", "n")
    return f"""<div class="card"><h3>GRPO against SFT</h3>
<p class="mute small">On the test prompts, which nothing else has seen. Half is no difference.</p>
<table>{wins}</table>{table_html(head, rows) if rows else ""}</div>"""


def _measure_row(row: Mapping[str, Any]) -> list[str]:
    low, high = row.get("low"), row.get("high")
    interval = f"[{number(low)}, {number(high)}]" if low is not None and high is not None else "–"
    values = [number(row.get(key)) for key in ("reference", "policy", "difference")]
    return [escape(row.get("measure", "")), *values, interval, number(row.get("n"))]


def people_html(now: Snapshot, short: bool = False) -> str:
    """Who judges, and how much each has done."""
    rows = [
        [
            escape(p.name),
            f"{now.judged.get(p.name, 0):,}",
            *([] if short else [p.role, "active" if p.active else "switched off"]),
        ]
        for p in now.people
    ]
    head = ("who", "judgements") if short else ("who", "judgements", "role", "state")
    body = table_html(head, rows) if rows else '<p class="mute">Nobody yet.</p>'
    return f'<div class="card"><h3>People</h3>{body}</div>'


def data_html(now: Snapshot) -> str:
    """What is stored."""
    c = now.counts
    rows = [
        ["Prompts", f"{c.prompts:,}"],
        ["Demonstrations", f"{c.demonstrations:,}"],
        ["Documents", f"{c.documents:,}"],
        ["Completions", f"{c.completions:,}"],
        ["Comparisons, A or B", f"{c.judgements['pairwise']:,}"],
        ["Ratings, 1 to 10", f"{c.judgements['scalar']:,}"],
        ["Good or bad", f"{c.judgements['binary']:,}"],
        ["Judgements still wanted", f"{c.tasks_open:,}"],
        ["Tasks for a lead, skipped by several", f"{now.for_leads:,}"],
    ]
    return f'<div class="card"><h3>In the store</h3>{table_html(("", "how many"), rows)}</div>'


def log_html(now: Snapshot, run: Run | None) -> str:
    """What a run printed last, and what it was asked."""
    if run is None:
        return '<p class="mute">Choose a run to read its log.</p>'
    config = ", ".join(_asked(run.config))
    return f"""<div class="card">{_run_head(run)}
{progress_html(run)}<p class="mute small">{escape(config)}</p>
<pre class="log">{escape(now.log(run) or "(nothing printed yet)")}</pre></div>"""


def _asked(config: Mapping[str, Any], inside: str = "") -> list[str]:
    """What a run was asked, setting by setting."""
    said: list[str] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            said += _asked(value, f"{inside}{name}.")
        elif value not in ("", None):
            said.append(f"{inside}{name} {value}".replace("_", " "))
    return said


def note(text: str, bad: bool = False) -> str:
    """One line about what a press did."""
    role, style = ("alert", " bad") if bad else ("status", "")
    return f'<p class="notice{style}" role="{role}">{text}</p>' if text else ""


def refusal(error: Exception) -> str:
    """A press that did nothing, and why, in one line."""
    if isinstance(error, OSError):
        reason = disk_message(error)
    else:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return note(escape(reason[:1].upper() + reason[1:] + "."), bad=True)


def table_html(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table that scrolls by itself where it is too wide."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'
