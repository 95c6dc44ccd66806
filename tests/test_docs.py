"""What README.md and docs/ say is there: links, anchors, commands, settings, verbs, rooms."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from labeler.command_line import VERBS, main

ROOT = Path(__file__).parents[1]
PACKAGES = ("data", "reward_model", "grpo", "labeler")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"\$\((?:if \$\()?([A-Z]+)\)", MAKEFILE))
FLAG = re.compile(r"--[a-z][\w.-]*")
FILE = re.compile(r"(data|labeler|reward_model|grpo|tests|docs)/[\w/.-]*")


@dataclass(frozen=True)
class Page:
    """A page's Markdown, read once."""

    path: Path
    text: str
    links: list[str]
    anchors: set[str]
    commands: list[str]
    flags: set[str]
    """Settings in inline code that name no command."""
    files: set[str]


@cache
def read(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or []]
    spans = [token.content for token in inline if token.type == "code_inline"]
    for token in tokens:
        if token.type == "fence" and token.info == "python":
            spans += [line.partition("#")[2] for line in token.content.splitlines()]
        elif token.type == "fence" and not token.info:
            spans += token.content.splitlines()
    return Page(
        path,
        text,
        [str(t.attrs[a]) for t in inline for a in ("href", "src") if a in t.attrs],
        set(anchors(tokens)),
        [span.strip() for span in spans if is_command(span.strip())],
        {flag for span in spans if span.startswith("--") for flag in FLAG.findall(span)},
        {span for span in spans if FILE.fullmatch(span)},
    )


def anchors(tokens: list[Token]) -> Iterator[str]:
    """The anchors that GitHub gives to a page's headings."""
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            words = re.sub(r"[^\w\- ]", "", token.content.lower())
            yield words.replace(" ", "-")


def is_command(line: str) -> bool:
    modules = "|".join([*PACKAGES, r"tests\.benchmarks\.\w+"])
    return re.match(rf"coach |python -m ({modules})\b|make( |$)", line) is not None


def wrong(command: str) -> str:
    """What in a command does not exist; empty if all of it does."""
    first, *words = shlex.split(command, comments=True)
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    if first == "make":
        return " ".join({word.partition("=")[0] for word in words} - TARGETS - VARIABLES)
    if first == "coach":
        name = words[0]
    elif words[1].startswith("tests."):
        return wrong_in_benchmark(words[1], flags)
    else:
        name = next((v.name for v in VERBS.values() if [v.package, v.verb] == words[1:3]), "")
    if name in ("--help", "VERB"):
        return ""
    return " ".join(flags - settings(name)) if name in VERBS else first + " " + " ".join(words)


def wrong_in_benchmark(module: str, flags: set[str]) -> str:
    stem = ROOT / module.replace(".", "/")
    found = [p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()]
    if not found:
        return module
    source = found[0].read_text()
    return " ".join(f for f in flags if f'"{f}"' not in source and f" {f[2:]}: " not in source)


@cache
def settings(name: str) -> set[str]:
    """The settings that `coach NAME --help` lists."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, suppress(SystemExit), redirect_stdout(said):
        patch.setattr("sys.argv", ["coach"])
        main([name, "--help"])
    return set(FLAG.findall(said.getvalue()))


def show(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=show)
def test_every_link_anchor_and_file_is_there(path: Path) -> None:
    broken = []
    for link in read(path).links:
        target, _, anchor = link.partition("#")
        there = path.parent / target if target else path
        if re.match(r"[a-z]+:", link):
            continue
        if not there.exists() or (anchor and anchor not in read(there.resolve()).anchors):
            broken.append(link)
    assert broken == []
    assert [name for name in read(path).files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=show)
def test_every_command_and_setting_exists(path: Path) -> None:
    page = read(path)
    assert {command: what for command in page.commands if (what := wrong(command))} == {}
    assert page.flags - {flag for name in VERBS for flag in settings(name)} == set()


def test_wrong_commands_are_found() -> None:
    assert wrong("coach sft --model RUN  # --no-such") == ""
    assert wrong("coach sft --no-such 1") == "--no-such"
    assert wrong("coach train") == "coach train"
    assert wrong("python -m grpo handover") == "python -m grpo handover"
    assert wrong("python -m tests.benchmarks.reward --seed 1") == "--seed"
    assert wrong('make demo SEEDS="0 1 2"') == ""
    assert set(wrong("make tset SEED=0").split()) == {"tset", "SEED"}
    assert sum(len(read(path).commands) for path in PAGES) > 60


def test_every_verb_stands_in_the_documentation() -> None:
    row = re.compile(r"^\| `coach (\S+)` \| `python -m (\w+) (\w+)` \| (.+) \|$", re.MULTILINE)
    table = row.findall(read(ROOT / "docs" / "operations.md").text)
    assert table == [(v.name, v.package, v.verb, v.summary) for v in VERBS.values()]


def test_the_readme_is_short_and_names_every_room() -> None:
    text = read(ROOT / "README.md").text
    rooms = {path.parent for name in PACKAGES for path in (ROOT / name).glob("**/__init__.py")}
    nearest = {room for room in rooms if len(room.relative_to(ROOT).parts) <= 2}
    assert len(text.splitlines()) <= 250
    assert {f"{room.relative_to(ROOT)}/" for room in nearest} | {
        "tests/",
        "labeler/static/",
    } == set(re.findall(r"^\| `(\S+/)` \|", text, re.MULTILINE))


def test_every_page_is_linked_from_the_readme() -> None:
    assert {f"docs/{path.name}" for path in PAGES[1:]} <= set(read(ROOT / "README.md").links)
