"""Documents that try to run something, load something, restyle the page, or keep the engine busy.

All begin with the same harmless line. Whatever one of them manages to load, from `url` or from `folder`, or to run, paints
the page in `MARKER`, or is seen by the listener at `url`.
"""

from __future__ import annotations

import base64
from pathlib import Path

MARKER = (255, 0, 153)
COLOUR = "#ff0099"
SVG = f"<svg xmlns='http://www.w3.org/2000/svg' width='600' height='600'><rect width='600' height='600' fill='{COLOUR}'/></svg>"
FILES = {
    "marker.svg": SVG,
    "marker.css": f"* {{ background: {COLOUR} !important }}",
    "marker.html": f"<body style='background:{COLOUR}'>marker</body>",
    "marker.js": f"document.documentElement.style.background = '{COLOUR}'",
}
"""What the folder holds and the listener serves."""

_FULL = 100_000


def write_files(folder: Path) -> None:
    """Puts the marker files in place."""
    for name, content in FILES.items():
        (folder / name).write_text(content, "utf-8")


def documents(url: str, folder: Path) -> dict[str, str]:
    """Name -> Markdown. `url` is a listener without a slash at its end, `folder` holds the marker files."""
    places = {"http": url, "file": folder.as_uri(), "bare": url.removeprefix("http:"), "path": str(folder)}
    data = "data:image/svg+xml;base64," + base64.b64encode(SVG.encode()).decode()
    found = {
        f"{name} by {place}": text.replace("@/", f"{at}/") for name, text in _LOADING.items() for place, at in places.items()
    }
    found |= {f"{name} of data": text.replace("@/marker.svg", data) for name, text in _LOADING.items() if "marker.svg" in text}
    found |= {f"run {name}": text.replace("!!", _payload(url)) for name, text in _RUNNING.items()}
    found |= {f"style {name}": text.replace("@", url) for name, text in _STYLING.items()}
    found |= {f"heavy {name}": text for name, text in _heavy().items()}
    found |= {f"odd {name}": text for name, text in _ODD.items()}
    return {name: f"Ada lives in Lyon.\n\n{text}" for name, text in found.items()}


def _payload(url: str) -> str:
    """A script without quotes or spaces: paints the page and calls the listener."""
    return f"document.documentElement.style.background=`{COLOUR}`;fetch(`{url}/ran`)"


_LOADING = {
    "image": "![x](@/marker.svg)",
    "image reference": "![x][r]\n\n[r]: @/marker.svg",
    "img": "<img src='@/marker.svg' width=500 height=500>",
    "img srcset": "<img srcset='@/marker.svg 1x, @/marker.svg 2x' loading=eager>",
    "picture": "<picture><source srcset='@/marker.svg'><img src=x></picture>",
    "svg image": "<svg width=500 height=500><image href='@/marker.svg' width=500 height=500 /></svg>",
    "svg use": "<svg><use xlink:href='@/marker.svg#a'/></svg>",
    "input image": "<input type=image src='@/marker.svg'>",
    "video poster": "<video poster='@/marker.svg' src='@/marker.html' autoplay></video>",
    "object": "<object data='@/marker.svg' width=500 height=500></object>",
    "embed": "<embed src='@/marker.svg' width=500 height=500>",
    "iframe": "<iframe src='@/marker.html' width=500 height=500></iframe>",
    "frameset": "<frameset><frame src='@/marker.html'></frameset>",
    "link sheet": "<link rel=stylesheet href='@/marker.css'>",
    "link preload": "<link rel='preload prefetch preconnect' as=image href='@/marker.svg'>",
    "import sheet": "<style>\u0040import url(@/marker.css);</style>",
    "background attribute": "<table background='@/marker.svg'><tr><td background='@/marker.svg'>x</table>",
    "background style": "<div style=\"background:url('@/marker.svg')\">x</div>",
    "allowed tag background": "<span style=\"background:url('@/marker.svg')\">x</span>",
    "allowed tag second rule": "<span style='color:red;background-image:url(@/marker.svg)'>x</span>",
    "font face": "<style>*{font-family:f}@font-face{font-family:f;src:url(@/marker.svg)}</style>",
    "base": "<base href='@/'><img src=marker.svg>",
    "meta refresh": "<meta http-equiv=refresh content='0;url=@/marker.html'>",
    "script source": "<script src='@/marker.js'></script>",
}
_RUNNING = {
    "script": "<script>!!</script>",
    "script in capitals": "<SCRIPT>!!</SCRIPT >",
    "script split": "<scr<script>ipt>!!</scr</script>ipt>",
    "script module": "<script type=module>!!</script>",
    "script after a break": "<script\n>!!</script\n>",
    "script unclosed": "<script>!!",
    "script in a comment": "<!-- --!><script>!!</script> -->",
    "script in cdata": "<![CDATA[<script>!!</script>]]>",
    "script in a title": "<title></title><script>!!</script>",
    "script in a textarea": "<textarea></textarea><script>!!</script>",
    "script in a style": "<style></style><script>!!</script>",
    "script in noscript": '<noscript><p title="</noscript><script>!!</script>">',
    "script in a template": "<template><script>!!</script></template>",
    "script in a shadow": "<div><template shadowrootmode=open><script>!!</script></template></div>",
    "script in svg": "<svg><script>!!</script></svg>",
    "script in math": "<math><mtext><table><mglyph><style><img src=x onerror=!!>",
    "script in a fence": "```\n</pre><script>!!</script>\n```",
    "script in code": "`</code><script>!!</script>`",
    "script in a fence name": "```<script>!!</script>\nx\n```",
    "script in a heading": "# <script>!!</script>",
    "script in a table": "|<script>|!!|\n|-|-|\n|</script>|x|",
    "script in a link text": "[<script>!!</script>](x)",
    "script in a link title": '[x](y "><script>!!</script>")',
    "script in an image text": '![">\\<script>!!</script>](x)',
    "script as entities": "&lt;script&gt;!!&lt;/script&gt;",
    "script as decimal entities": "&#60;script&#62;!!&#60;/script&#62;",
    "script as hex entities": "&#x3c;script&#x3e;!!&#x3c;/script&#x3e;",
    "script as doubled entities": "&amp;lt;script&amp;gt;!!&amp;lt;/script&amp;gt;",
    "script as wide letters": "＜script＞!!＜/script＞",
    "script with nul": "<scr\x00ipt>!!</scr\x00ipt>",
    "script after the page": "</div></body></html><script>!!</script>",
    "handler on img": "<img src=x onerror=!!>",
    "handler on body": "<body onload=!!>",
    "handler on svg": "<svg onload=!!>",
    "handler on details": "<details open ontoggle=!!>",
    "handler on input": "<input autofocus onfocus=!!>",
    "handler on marquee": "<marquee onstart=!!>",
    "handler on an allowed tag": "<b onmouseover=!! onclick=!!>x</b>",
    "handler after a slash": "<span/onpointerenter=!!/style=color:red>x</span>",
    "handler by quotes": "<font color='red' x=\"'onclick=!! \">x</font>",
    "handler out of a colour": "<font color='\"onclick=!! \"'>x</font>",
    "handler by animation": "<style>@keyframes x{}</style><b style=animation-name:x onanimationstart=!!>x</b>",
    "link javascript": "[x](javascript:!!)",
    "link javascript with a tab": "[x](<java\tscript:!!>)",
    "link javascript in entities": "[x](&#106;avascript:!!)",
    "link vbscript": "[x](vbscript:!!)",
    "autolink javascript": "<javascript:!!>",
    "link data": "[x](data:text/html,<script>!!</script>)",
    "iframe srcdoc": "<iframe srcdoc='<script>!!</script>'></iframe>",
    "iframe javascript": "<iframe src='javascript:!!'></iframe>",
    "object data": "<object data='data:text/html,<script>!!</script>'></object>",
    "form": "<form action='javascript:!!'><input type=submit><button formaction='javascript:!!'>x</button></form>",
    "meta javascript": "<meta http-equiv=refresh content='0;url=javascript:!!'>",
    "expression": "<span style='width:expression(!!)'>x</span>",
    "templates": "{{constructor.constructor('!!')()}} ${!!} <%= !! %> {% !! %} #{!!} [[!!]]",
    "server code": "<?php !! ?> <?xml-stylesheet href='x'?> <!ENTITY x SYSTEM 'file:///etc/passwd'> &x;",
}
_STYLING = {
    "body": "<style>html,body,*{background:#ff0099!important;color:#ff0099}</style>",
    "hidden": "<style>*{display:none!important}</style>",
    "closing": "</style><style>body{display:none}</style>",
    "head": "</head><head><style>.page{background:#ff0099}</style></head>",
    "attribute": "<div style='position:fixed;inset:0;background:#ff0099;z-index:9'>x</div>",
    "allowed tag": "<span style='position:fixed;inset:0;background-color:#ffffee;width:9999px;height:9999px'>x</span>",
    "allowed tag display": "<span style='display:block;color:white;float:right;font-size:999999px'>x</span>",
    "escape": "<span style='col\\6fr:red;fl\\6f at:left'>x</span>",
    "comment": "<span style='color:/**/red;/*'>*/x</span>",
    "important": "<font color='red!important;background:#ff0099'>x</font>",
    "closing attribute": "<span style='color:red\"></span></div><div style=\"background:#ff0099'>x</span>",
    "variables": "<span style='--x:url(@/v);background:var(--x)'>x</span>",
    "huge box": "<div style='width:20000px;height:20000px;background:#ff0099'></div>",
    "viewport": "<meta name=viewport content='width=9999,initial-scale=9'>",
    "colour scheme": "<meta name=color-scheme content=dark><html style='filter:invert(1)'>",
    "class": "<div class='page' id='memagent-page' style='background:#ff0099'>x</div>",
    "svg": "<svg style='position:fixed;inset:0'><rect width=9999 height=9999 fill='#ff0099'/></svg>",
    "marquee": "<marquee bgcolor='#ff0099'>x</marquee>",
    "table colours": "<table bgcolor='#ff0099' width=9999><tr><td>x</table>",
}
_ODD = {
    "nul": "a\x00b\x00" * 50,
    "controls": "".join(map(chr, range(1, 32))) * 5,
    "surrogates": "\ud800 \udfff \udc00\ud800",
    "bidi": "safe \u202egpj.exe\u202c \u2066x\u2069 \u200f\u200e",
    "zero width": "p\u200ba\u200cs\u200ds\u2060w\ufeffo\u00adrd " * 50,
    "marks": "Z" + "\u0335\u0489" * 500,
    "private use": "\ue000\uf8ff\U000f0000\U0010fffd" * 20,
    "non-characters": "\ufffe\uffff\U0001fffe\ufdd0",
    "tags": "\U000e0041\U000e0042" * 50,
    "line separators": "a\u2028b\u2029c\x0bd\x0ce\x85f\r\rg",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 30,
    "entities": "&#0; &#xd800; &#x110000; &#99999999999; &nbsp;&zwj;&bogus; &#8238;x",
    "fences": "````\n```\n~~~\n" * 20,
    "half tags": "<b <i <span style= <font color='red <!-- <! <? </ < <",
    "crossed tags": "<b><i><u>x</b></i></u></s></b>" * 30,
    "reference loop": "[a]: [b]\n[b]: [a]\n\n[a][b] [b][a]",
    "footnotes": "[^1]: [^1]\n\n[^1] " * 20,
}


def _heavy() -> dict[str, str]:
    """Long, deep and repetitive ones; those that are read in full have just under the 100,000 characters that are."""
    bombs = ("[", "![", "*a ", "**a*", "<b>", "</b>", "[a](", "_a_", "`", "&lt;", "|a|b|\n|-|-|\n", "<![CDATA[", "<!--", "a**b")
    found = {f"{bomb.strip()!r} again and again": bomb * ((_FULL - 100) // len(bomb)) for bomb in bombs}
    return found | {
        "one word of 1 MB": "x" * 1_000_000,
        "one line of 1 MB": "word " * 200_000,
        "1 MB of blanks": " " * 1_000_000 + "x",
        "a million lines": "\n" * 1_000_000 + "x",
        "100,000 paragraphs": "a\n\n" * 100_000,
        "33,000 list items": "- \n- a\n" * 14_000,
        "deep quotes": ">" * 50_000 + " x",
        "deep lists": "\n".join("  " * level + "- x" for level in range(300)),
        "deep emphasis": "*" * 5_000 + "x" + "*" * 5_000,
        "deep tags": "<b><i><span style='color:red'>" * 3_000 + "x",
        "deep unknown tags": "<div>" * 19_000,
        "wide table": "|" + "a|" * 10_000 + "\n|" + "-|" * 10_000 + "\n|" + "b|" * 10_000,
        "headings": "# a\n" * 20_000,
        "many colours": "".join(f"<font color='#{number:06x}'>x</font> " for number in range(3_000)),
        "many sizes": "".join(f"<span style='font-size:{number}px'>x</span> " for number in range(2_500)),
        "many links": "[a](b) " * 14_000,
        "huge numbers": "<span style='font-size:99999999999999999999px'>x</span> <font size=99999999999999>y</font>",
        "long attribute": f"<span style='{'color:red;' * 9_000}'>x</span>",
    }
