"""The style of the timeline's page. Not in BuildKit.

Times are places on a scale of 0 to 100: `--s` and `--w` say where a bar begins and how wide it is, and the chart's
`--from` and `--zoom` which part of the scale is seen, so that zooming changes two numbers and no bar.
"""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1f2328;--soft:#59636e;--line:#d8dee4;--grid:#eaeef2;--panel:#f6f8fa;
--hover:#eef3f9;--accent:#0969da;--done:#4a90f2;--cached:#8c959f;--failed:#cf222e;--canceled:#9a6700;
--critical:#e8590c;--mark:#fff1b8;--brush:#0969da26;--red:#b31d28;--green:#1a7f37;--yellow:#7d4e00;--blue:#0550ae;
--magenta:#8250df;--cyan:#1b7c83;--name:clamp(200px,34%,560px);--meta:132px}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9198a1;--line:#30363d;--grid:#1c222b;
--panel:#151b23;--hover:#1a2230;--accent:#4493f8;--done:#3f7fd9;--cached:#6e7681;--failed:#f85149;--canceled:#d29922;
--critical:#f0883e;--mark:#5c4813;--brush:#4493f833;--red:#ff7b72;--green:#56d364;--yellow:#e3b341;--blue:#79c0ff;
--magenta:#d2a8ff;--cyan:#76e3ea}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:14px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif}
header,main,footer,.top{padding:0 24px}
header{padding-top:20px}
h1{font-size:20px;line-height:1.3;margin:0 0 12px;overflow-wrap:anywhere}
a{color:var(--accent);text-underline-offset:2px}
:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.facts{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 14px}
.facts>*{display:flex;flex-direction:column-reverse;min-width:92px;padding:8px 14px;border:1px solid var(--line);
border-radius:8px;background:var(--panel)}
.facts dt{color:var(--soft);font-size:12px}.facts dd{margin:0;font-size:18px;font-weight:600;
font-variant-numeric:tabular-nums;line-height:1.25}.facts dd small{font-size:12px;font-weight:400;color:var(--soft)}
.facts .bad dd{color:var(--failed)}.facts .warned dd{color:var(--canceled)}.facts a{color:inherit}
.failure{border:1px solid var(--failed);border-left-width:5px;border-radius:8px;padding:8px 14px;margin:0 0 10px}
.failure p{margin:0;overflow-wrap:anywhere}
.longest{margin:0 0 12px}.longest ol{margin:6px 0;padding-left:28px;columns:2 420px}
.longest li{break-inside:avoid}.longest li::marker{color:var(--soft)}
.longest>summary{cursor:pointer;color:var(--soft);width:max-content}.longest>summary::before{content:"▸ "}
.longest[open]>summary::before{content:"▾ "}
.top{position:sticky;top:0;z-index:2;background:var(--bg);border-bottom:1px solid var(--line);padding-top:8px}
form{display:flex;flex-wrap:wrap;gap:8px;align-items:center;padding-bottom:8px}
input[type=search],button,.chip{font:inherit;font-size:13px;color:inherit;background:var(--panel);
border:1px solid var(--line);border-radius:6px;padding:4px 10px;cursor:pointer}
input[type=search]{flex:1 1 220px;max-width:380px;cursor:text}
button:hover,.chip:hover{border-color:var(--soft)}
.chip{display:inline-flex;gap:6px;align-items:center;border-radius:99px}.chip input{margin:0;accent-color:var(--accent)}
.chip:has(:checked){border-color:var(--accent);background:var(--hover)}
.chip:has(:focus-visible){outline:2px solid var(--accent);outline-offset:1px}
.chip.none{opacity:.55}
#count{color:var(--soft);font-size:13px;min-width:70px}
.row{display:grid;grid-template-columns:var(--name) minmax(0,1fr) var(--meta);align-items:center}
.overview .label{font-size:12px;color:var(--soft);padding-right:12px;text-align:right}
.strip{position:relative;height:34px;border:1px solid var(--line);border-radius:6px;background:var(--panel);
overflow:hidden;cursor:crosshair;touch-action:none}
.strip svg{position:absolute;inset:0;width:100%;height:100%;fill:var(--done);opacity:.75}
.brush{position:absolute;top:0;bottom:0;background:var(--brush);border:solid var(--accent);border-width:0 1px}
.axis{position:relative;height:22px;overflow:hidden;font-variant-numeric:tabular-nums}
.tick{position:absolute;bottom:0;font-size:11px;line-height:14px;color:var(--soft);border-left:1px solid var(--line);
padding-left:4px;left:calc((var(--s) - var(--from))*var(--zoom)*1%);white-space:nowrap}
.chart{position:relative;padding-bottom:8px}
.grid{position:absolute;inset:0;pointer-events:none;align-items:stretch}
.grid .lines{position:relative;height:100%;overflow:hidden}
.grid i{position:absolute;top:0;bottom:0;border-left:1px solid var(--grid);
left:calc((var(--s) - var(--from))*var(--zoom)*1%)}
main details{position:relative}
.group>summary{margin-top:12px;padding:4px 0;font-weight:600;font-size:13px}
.group>summary .name::before{content:"";display:inline-block;width:0;height:0;border:4px solid transparent;
border-left:6px solid var(--soft);margin:0 4px 0 6px;transition:transform .1s;transform-origin:3px 50%}
.group[open]>summary .name::before{transform:rotate(90deg)}
.group>summary .bar{top:7px;height:4px;border-radius:2px;background:var(--soft);opacity:.55}
summary{list-style:none}summary::-webkit-details-marker{display:none}
main summary{cursor:pointer;border-radius:5px;min-height:26px}main summary:focus-visible{outline-offset:-2px}
.step{content-visibility:auto;contain-intrinsic-size:auto 26px}
main summary:hover,.step[open]>summary{background:var(--hover)}
.name{display:flex;align-items:center;gap:6px;min-width:0;padding:0 12px 0 0;white-space:nowrap}
.step .name{padding-left:18px}
.title{overflow:hidden;text-overflow:ellipsis}
.stage{color:var(--soft);font-size:12px;flex:none;max-width:45%;overflow:hidden;text-overflow:ellipsis}
.icon{flex:none;width:16px;text-align:center;font-size:12px;color:var(--soft)}
.done .icon{color:var(--green)}.failed .icon,.error{color:var(--failed)}.canceled .icon{color:var(--canceled)}
.running .icon{color:var(--accent)}
.critical>summary .title{font-weight:600}
.path{flex:none;color:var(--critical);font-size:11px}.flag{flex:none;color:var(--canceled);font-size:12px}
.bars{position:relative;height:18px;overflow:hidden}
.bar{position:absolute;top:3px;height:12px;border-radius:3px;background:var(--done);min-width:3px;
left:calc((var(--s) - var(--from))*var(--zoom)*1%);width:calc(var(--w)*var(--zoom)*1%)}
.critical .bar{background:var(--critical)}
.cached .bar{background:repeating-linear-gradient(135deg,var(--cached) 0 4px,transparent 4px 7px);
box-shadow:inset 0 0 0 1px var(--cached)}
.failed .bar{background:var(--failed)}.canceled .bar{background:var(--canceled)}
.running .bar{background:repeating-linear-gradient(90deg,var(--done) 0 8px,transparent 8px 11px)}
.time{text-align:right;white-space:nowrap;font-size:12px;font-variant-numeric:tabular-nums;padding-right:6px}
.time small{font-size:11px;color:var(--soft);margin-right:8px}
main .more{position:relative;background:var(--bg);border-left:3px solid var(--line);margin:2px 0 10px 24px;
padding:4px 0 4px 14px}
.facts2,.note,figcaption{color:var(--soft);font-size:12px;overflow-wrap:anywhere;margin:4px 0}
.facts2 span{margin-right:18px}.error{font-weight:600;overflow-wrap:anywhere;margin:6px 0}
.parts{margin:0;padding:0;list-style:none;font-size:12px}
.part{min-height:20px}.part .name{padding-left:42px;color:var(--soft)}
.part .bar{height:6px;top:6px;opacity:.8}
pre{background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:8px 12px;overflow:auto;
max-height:60vh;font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:6px 0;tab-size:8}
h2{font-size:15px;margin:28px 0 8px}
.warning{border:1px solid var(--line);border-left:4px solid var(--canceled);border-radius:6px;padding:8px 14px;
margin:8px 0;overflow-wrap:anywhere}.warning p{margin:2px 0}
figure{margin:6px 0 0}mark{background:var(--mark);color:inherit;display:inline-block;min-width:100%}
.source{padding-left:0;padding-right:0}.number{display:inline-block;width:48px;padding-right:12px;text-align:right;color:var(--soft);
user-select:none}
.legend{position:relative;background:var(--bg);padding:0 0 8px;
display:flex;flex-wrap:wrap;gap:6px 18px;font-size:12px;color:var(--soft);margin:14px 0 -8px}
.legend li{display:flex;gap:6px;align-items:center;list-style:none}
.legend .bar{position:static;width:22px}
footer.legend{padding:20px 24px 32px;font-size:12px;color:var(--soft)}
kbd{font:11px ui-monospace,monospace;border:1px solid var(--line);border-bottom-width:2px;border-radius:4px;
padding:0 5px;background:var(--panel);color:var(--fg)}
.s1{font-weight:700}.s2{opacity:.7}.s3{font-style:italic}.s4{text-decoration:underline}
.c0{color:var(--soft)}.c1{color:var(--red)}.c2{color:var(--green)}.c3{color:var(--yellow)}.c4{color:var(--blue)}
.c5{color:var(--magenta)}.c6{color:var(--cyan)}.c7{color:inherit}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
[hidden]{display:none!important}
@media(max-width:720px){:root{--meta:88px}header,main,footer,.top{padding-left:12px;padding-right:12px}
.grid{display:none}.row{grid-template-columns:1fr var(--meta)}
.row>.name,.overview .label{grid-column:1/-1;text-align:left}
.time small{display:none}.top .row.axis-row{grid-template-columns:1fr var(--meta)}.axis-row>:first-child{display:none}
.step{contain-intrinsic-size:auto 46px}
form{flex-wrap:nowrap;overflow-x:auto}form>*{flex:none!important}}
@media(prefers-reduced-motion:reduce){*{transition:none!important}}
@media print{:root{--name:40%}body{font-size:11px}.top{position:static}form,.overview,footer,.longest{display:none}
.step{content-visibility:visible;break-inside:avoid}.bar,.facts>*{print-color-adjust:exact;
-webkit-print-color-adjust:exact}pre{max-height:none;white-space:pre-wrap;overflow-wrap:anywhere}}
"""
