"""The receipt's style: the colours of the app's pages, in light and dark."""

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#16202c;--mute:#556374;--line:#e3e7ec;
--edge:#c3cbd5;--accent:#0f766e;--soft:#e6f4f2;--warn:#a84b06;--warn-bg:#fef3e2;--bad:#b42318;
--bad-bg:#fdecea;--people:#2563eb26;--people-ink:#1d4ed8}
@media(prefers-color-scheme:dark){:root{--bg:#0e1319;--card:#161d26;--ink:#e8edf3;--mute:#9aa8b8;
--line:#263140;--edge:#3b4a5c;--accent:#2dd4bf;--soft:#10302d;--warn:#fbbf24;--warn-bg:#33270d;
--bad:#ff9b91;--bad-bg:#3a1512;--people:#7aa7ff33;--people-ink:#a5c3ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.55 Inter,system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1020px;margin:0 auto;padding:24px 20px 48px;display:grid;gap:16px}
main>*{min-width:0}
h2{font-size:18px;margin:0 0 2px}h3{font-size:13px;margin:0;color:var(--mute)}
p{margin:0 0 10px}.mute{color:var(--mute)}.small{font-size:13px}
.verdict{font-size:19px;line-height:1.45;font-weight:600;margin:6px 0 12px;padding:14px 18px;
border-radius:12px;border-left:5px solid}
.verdict.good{background:var(--soft);border-color:var(--accent)}
.verdict.warn{background:var(--warn-bg);border-color:var(--warn)}
.verdict.bad{background:var(--bad-bg);border-color:var(--bad)}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:18px 20px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:16px}
.big{font-size:30px;line-height:1.3}.tile p{margin:0}
.forest{display:grid;grid-template-columns:max-content minmax(120px,1fr) max-content;
gap:9px 16px;align-items:center;margin:12px 0}
.line{display:contents}.wide{grid-column:span 2}
.track{position:relative;height:18px;background:linear-gradient(var(--line),var(--line)) center/100%
2px no-repeat}
.track i{position:absolute;top:0;height:18px}
.track .coin{left:50%;width:0;border-left:1px dashed var(--edge)}
.track .people{background:var(--people)}
.track .range{top:7px;height:4px;border-radius:2px;background:var(--mute);opacity:.6}
.track .spot{top:4px;width:10px;height:10px;margin-left:-5px;border-radius:5px;
background:var(--mute)}
.track.own .range{background:var(--accent)}.track.own .spot{background:var(--accent)}
.num{font-variant-numeric:tabular-nums;white-space:nowrap}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:20px;
align-items:start;margin-top:12px}
figure{margin:0;max-width:520px}.axis{margin:2px 0 0}
svg{width:100%;height:auto;display:block}
svg text{font-size:12.5px;fill:var(--mute)}svg .on{fill:var(--people-ink)}
svg .grid{stroke:var(--line)}svg .even{stroke:var(--mute);stroke-dasharray:5 4}
svg .whisker{stroke:var(--accent);stroke-width:2;opacity:.55}svg .dot{fill:var(--accent)}
svg polyline{fill:none;stroke:var(--accent);stroke-width:2.5}svg .ahead{stroke-dasharray:6 5}
svg .band{fill:var(--accent);opacity:.14}svg .people{fill:var(--people)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;margin:6px 0}
th,td{text-align:left;vertical-align:top;padding:7px 14px 7px 0;border-bottom:1px solid var(--line)}
th{font-size:13px;color:var(--mute)}th .mute{font-weight:400}
td{font-variant-numeric:tabular-nums}tr:last-child td{border-bottom:0}
.good{color:var(--accent)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.verdict.good,.verdict.warn,.verdict.bad{color:var(--ink)}
table.people{min-width:560px}
@media(max-width:640px){main{padding:14px 12px 32px}.card{padding:14px}
.verdict{font-size:17px;padding:12px 14px}.tiles{grid-template-columns:1fr 1fr;gap:10px}
.big{font-size:25px}.forest{display:block}
.line{display:grid;grid-template-columns:1fr max-content;gap:2px 10px;margin-bottom:10px}
.line .track{grid-area:2/1/3/3}.wide{grid-area:2/1/3/3}
th,td{padding-right:10px}.stack tr{display:grid;grid-template-columns:1.3fr 1fr 1fr;
border-bottom:1px solid var(--line);padding:6px 0}
.stack td,.stack th{border:0;padding:1px 8px 1px 0}
.stack :is(td,th):first-child{grid-column:1/-1}}
"""
