"""What the lead pages say of a project, made from a snapshot. Nothing here knows of Gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from shlex import quote

from data.runs.kinds import title_of
from data.stats.estimate import MIN_CASES, format_duration, format_interval
from data.store.run_rows import Run
from labeler.access.accounts import state_of
from labeler.lead.receipt_routes import RECEIPT, receipt_address
from labeler.lead.snapshot import JsonMapping, Snapshot, mapping_in, read_as
from labeler.rendering import plain_number, render_macro
from labeler.safe_html.hidden_text import short_lines
from reward_model.config import BASELINES

JUDGES = {"reward": "the reward model", "true utility": "the true utility"}
RECEIPT_LINKS = {RECEIPT: "Open by itself", "receipt.json": "JSON", "README.md": "Model card"}


@dataclass(frozen=True)
class ShownShare:
    """A share as a report has it, with its 95% interval and n; what is not known is None."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None

    @property
    def too_few(self) -> str:
        """Why the share is not shown; empty where it can be."""
        if self.value is None:
            return "not enough data yet"
        if self.n is not None and self.n < MIN_CASES:
            return f"not enough data yet (n {self.n}, about {MIN_CASES} needed)"
        return ""

    @property
    def whole_percent(self) -> str:
        return f"{100 * (self.value or 0):.0f}%"

    @property
    def bounds(self) -> str:
        """The interval and n, e.g. "[66, 75], n 184"."""
        interval = format_interval({"low": self.low, "high": self.high})
        return ", ".join(filter(None, [interval, "" if self.n is None else f"n {self.n:,}"]))

    @property
    def percent(self) -> str:
        """All of it, e.g. "71% [66, 75], n 184"."""
        return self.too_few or f"{self.whole_percent} {self.bounds}"


Node = tuple[str, str, Sequence[str]]
"""One card of the loop: its title, its figure, and what there is to say of it, line by line."""


def flow_html(now: Snapshot) -> str:
    """The loop in five cards."""
    counts, kinds = now.counts, now.counts.judgements
    by_kind = (
        f"A or B {kinds['pairwise']:,} · 1-10 {kinds['scalar']:,} · good/bad {kinds['binary']:,}"
    )
    wanted = f"{counts.tasks_open:,} still wanted"
    ranked = sorted(now.models.items(), key=lambda item: -item[1])
    by_model = [f"{n:,} by {m if len(m) <= 26 else '…' + m[-25:]}" for m, n in ranked[:2]]
    by_model += [f"and {len(ranked) - 2} more models"] if len(ranked) > 2 else []
    nodes = [
        ("Prompts", f"{counts.prompts:,}", [f"{counts.demonstrations:,} demonstrations"]),
        ("Completions", f"{counts.completions:,}", by_model),
        ("Judgements", f"{counts.judgements_total:,}", [by_kind, wanted]),
        _reward_node(now),
        _policy_node(now),
    ]
    return render_macro("home", "flow", nodes)


def _reward_node(now: Snapshot) -> Node:
    """Held-out accuracy of the newest reward model, beside its strongest baseline."""
    report = now.report(now.newest("reward"))
    if not report:
        return ("Reward model", "–", ["none trained yet"])
    held_out = mapping_in(report, "held_out")
    accuracy = read_as(ShownShare, held_out.get("accuracy"))
    if accuracy.too_few:
        return ("Reward model", "–", [f"held-out accuracy: {accuracy.too_few}"])
    found = mapping_in(held_out, "baselines").items()
    baselines = {name: read_as(ShownShare, figure).value for name, figure in found}
    known = {name: value for name, value in baselines.items() if value is not None}
    best = max(known, key=lambda name: known[name], default=None)
    beside = [f"{BASELINES.get(best, best)}: {100 * known[best]:.0f}%"] if best else []
    about = f"held-out accuracy {accuracy.bounds}, on unseen prompts"
    return ("Reward model", accuracy.whole_percent, [about, *beside])


def _policy_node(now: Snapshot) -> Node:
    """The win rate of the newest comparison."""
    report = now.report(now.newest("compare"))
    if not report:
        why = "not compared yet" if now.newest("grpo") else "none trained yet"
        return ("Policy", "–", [why])
    rate = read_as(ShownShare, next(iter(mapping_in(report, "win_rates").values()), None))
    if rate.too_few:
        return ("Policy", "–", [f"win rate: {rate.too_few}"])
    about = f"win rate against SFT {rate.bounds}, by the reward model"
    return ("Policy", rate.whole_percent, [about])


def running_html(now: Snapshot) -> str:
    """What runs now, else the last few that ended."""
    rows = [_run_cells(run) for run in now.live or now.runs[:4]]
    title = "Now running" if now.live else "Last runs"
    head = ("run", "what", "progress", "state")
    return render_macro("home", "table_card", title, head, rows, "Nothing has been run yet.")


def runs_html(now: Snapshot) -> str:
    rows = [
        [*_run_cells(run), datetime.fromisoformat(run.created_at).strftime("%d %b %H:%M UTC")]
        for run in now.runs
    ]
    head = ("run", "what", "progress", "state", "started")
    return render_macro("home", "table_card", "", head, rows, "Nothing has been run yet.")


def _run_cells(run: Run) -> list[str]:
    name, state = (render_macro("home", macro, run) for macro in ("run_name", "state"))
    return [name, title_of(run.kind), progress_html(run), state]


def progress_html(run: Run) -> str:
    """A bar and how far it is, or how it ended."""
    if not run.live:
        words = run.message or f"took {format_duration(age(run))}"
        return render_macro("home", "progress", run, words, None)
    counted = f"{run.done:,} of {run.total:,}" if run.total > 1 else ""
    left = ""
    # A reward model's stages count from 0 again, each at a pace of its own: no time is predicted.
    if run.kind != "reward" and 0 < run.done < run.total:
        left = f"about {format_duration(age(run) / run.done * (run.total - run.done))} left"
    words = " · ".join(filter(None, [run.message, counted, left])) or "starting"
    return render_macro(
        "home", "progress", run, words, 100 * run.done / run.total if counted else None
    )


def age(run: Run) -> float:
    """Seconds from a run's start to its end, or to now."""
    end = datetime.fromisoformat(run.ended_at) if run.ended_at else datetime.now(UTC)
    return max(0.0, (end - datetime.fromisoformat(run.created_at)).total_seconds())


def run_card(now: Snapshot, run: Run | None, nothing: str) -> str:
    """One run's state, and in the end its summary in words, or the end of its log."""
    if run is None:
        return render_macro("home", "run_card", None, "", nothing, "", "")
    summary = "" if now.receipt(run) else now.report(run).get("summary", "")  # it begins with it
    log = short_lines(now.log(run, 8)) if run.status in ("failed", "died") else ""
    return render_macro("home", "run_card", run, progress_html(run), "", summary, log)


def receipt_frame(now: Snapshot, run: Run | None) -> str:
    """The receipt of a model: the page that its run wrote, in a frame."""
    there = now.receipt(run)
    if run is None or RECEIPT not in there:
        return ""
    links = [(RECEIPT_LINKS[name], receipt_address(run, name)) for name in there]
    workspace = quote(str(now.site.workspace))
    return render_macro("home", "receipt", run, receipt_address(run, RECEIPT), links, workspace)


def compare_html(report: JsonMapping) -> str:
    """The table of a comparison, and who wins how often."""
    if not report:
        return ""
    rates = mapping_in(report, "win_rates").items()
    judged = [(JUDGES.get(judge, judge), read_as(ShownShare, rate)) for judge, rate in rates]
    rows = []
    for row in report.get("rows") or []:
        low, high = row.get("low"), row.get("high")
        interval = (
            "–" if low is None or high is None else f"[{plain_number(low)}, {plain_number(high)}]"
        )
        values = [plain_number(row.get(key)) for key in ("reference", "policy", "difference")]
        rows.append([row.get("measure", ""), *values, interval, plain_number(row.get("n"))])
    return render_macro("home", "comparison", judged, rows)


def people_html(now: Snapshot, short: bool = False) -> str:
    """Who judges, and how much each has done."""
    rows = [[person.name, f"{now.judged.get(person.name, 0):,}"] for person in now.people]
    head = ["who", "judgements"]
    if not short:
        head += ["role", "state"]
        for row, person in zip(rows, now.people, strict=True):
            found = now.access.get(person.name)  # None: added since the list was read
            row += [person.role, state_of(person, found) if found else ""]
    return render_macro("home", "table_card", "People", head, rows, "Nobody yet.")


def data_html(now: Snapshot) -> str:
    counts = now.counts
    numbers = {
        "Prompts": counts.prompts,
        "Demonstrations": counts.demonstrations,
        "Documents": counts.documents,
        "Completions": counts.completions,
        "Comparisons, A or B": counts.judgements["pairwise"],
        "Ratings, 1 to 10": counts.judgements["scalar"],
        "Good or bad": counts.judgements["binary"],
        "Judgements still wanted": counts.tasks_open,
        "Tasks for a lead, skipped by several": now.for_leads,
    }
    rows = [(name, f"{n:,}") for name, n in numbers.items()]
    return render_macro("home", "table_card", "In the store", ("", "how many"), rows)


def log_html(now: Snapshot, run: Run | None) -> str:
    """What a run printed last, and the settings it was started with."""
    if run is None:
        return render_macro("home", "run_log", None, "", "", "")
    settings = ", ".join(_settings_in_words(run.config))
    return render_macro(
        "home", "run_log", run, progress_html(run), settings, short_lines(now.log(run))
    )


def _settings_in_words(config: JsonMapping, inside: str = "") -> list[str]:
    words: list[str] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            words += _settings_in_words(value, f"{inside}{name}.")
        elif value not in ("", None):
            words.append(f"{inside}{name.rstrip('_')} {value}".replace("_", " "))
    return words
