"""The style and the script of the timeline's page."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#59636e;--line:#d0d7de;--panel:#f6f8fa;--bar:#2f6feb;
--cached:#8c959f;--failed:#cf222e;--canceled:#9a6700;--critical:#bc4c00;--mark:#fff1b8}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9198a1;--line:#30363d;--panel:#161b22;
--bar:#4493f8;--cached:#6e7681;--failed:#f85149;--canceled:#d29922;--critical:#ffa657;--mark:#5c4813}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:14px/1.45 system-ui,sans-serif}
header{position:sticky;top:0;z-index:1;background:var(--bg);border-bottom:1px solid var(--line);padding:12px 20px}
h1{font-size:18px;margin:0 0 6px}h2{font-size:13px;margin:18px 0 4px;color:var(--soft)}
dl{display:flex;flex-wrap:wrap;gap:4px 20px;margin:0 0 8px}dl div{display:flex;gap:6px}
dt{color:var(--soft)}dd{margin:0;font-weight:600}
form{display:flex;flex-wrap:wrap;gap:12px;align-items:center}
input[type=search],button{font:inherit;color:inherit;background:var(--panel);border:1px solid var(--line);
border-radius:6px;padding:3px 8px}
input[type=search]{width:260px}
main{padding:0 20px 40px}
.axis{position:relative;height:18px;margin-left:40%;margin-right:110px}
.axis span{position:absolute;font-size:11px;color:var(--soft);border-left:1px solid var(--line);padding-left:3px}
summary{display:grid;grid-template-columns:40% 1fr 110px;align-items:center;cursor:pointer;padding:2px 0;
border-radius:4px;list-style:none}
summary::-webkit-details-marker{display:none}
summary:hover,details[open]>summary{background:var(--panel)}
:focus-visible{outline:2px solid var(--bar);outline-offset:1px}
.name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;padding:0 8px 0 4px}
.bars{position:relative;height:14px;background:linear-gradient(var(--line),var(--line)) center/100% 1px no-repeat}
.bar{position:absolute;top:1px;height:12px;min-width:2px;border-radius:3px;background:var(--bar)}
.time{text-align:right;color:var(--soft);font-variant-numeric:tabular-nums;white-space:nowrap;font-size:12px}
.cached .bar{background:var(--cached)}.failed .bar{background:var(--failed)}.canceled .bar{background:var(--canceled)}
.critical .bar{outline:2px solid var(--critical)}.path{color:var(--critical)}
.state{font-size:11px;text-transform:uppercase;color:var(--soft)}.failed .state,.error{color:var(--failed)}
.more{padding:4px 12px 12px;border-left:2px solid var(--line);margin-left:8px}
.digest,.note,figcaption{color:var(--soft);font-size:12px;overflow-wrap:anywhere;margin:4px 0}
pre{background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:8px;overflow:auto;max-height:480px;
font:12px/1.4 ui-monospace,monospace;margin:4px 0}
.parts{font:12px/1.5 ui-monospace,monospace;margin:4px 0;padding-left:18px}
.warning{border-left:3px solid var(--canceled);padding-left:10px;margin:8px 0}.warning p{margin:2px 0}
figure{margin:4px 0}mark{background:var(--mark);color:inherit}a{color:var(--bar)}
[hidden]{display:none!important}
@media print{header{position:static}form{display:none}}
"""

SCRIPT = """
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const steps = [...document.querySelectorAll("details.step")];
  const texts = new Map(steps.map((step) => [step, step.textContent.toLowerCase()]));
  const search = byId("search"), critical = byId("only-critical"), failed = byId("only-failed");
  const apply = () => {
    const wanted = search.value.trim().toLowerCase();
    let count = 0;
    for (const step of steps) {
      const shown = (!wanted || texts.get(step).includes(wanted))
        && (!critical.checked || step.classList.contains("critical"))
        && (!failed.checked || step.classList.contains("failed"));
      step.hidden = !shown;
      count += shown ? 1 : 0;
    }
    for (const group of document.querySelectorAll("section.group")) {
      group.hidden = !group.querySelector("details.step:not([hidden])");
    }
    byId("count").textContent = count === steps.length ? "" : count + " of " + steps.length;
  };
  const setAll = (open) => steps.forEach((step) => { if (!step.hidden) step.open = open; });
  const follow = () => {
    const target = location.hash.startsWith("#step-") && byId(location.hash.slice(1));
    if (target) { target.open = true; target.querySelector("summary").focus(); }
  };
  for (const control of [search, critical, failed]) control.addEventListener("input", apply);
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  byId("open-all").addEventListener("click", () => setAll(true));
  byId("close-all").addEventListener("click", () => setAll(false));
  addEventListener("hashchange", follow);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && document.activeElement === search) { search.value = ""; apply(); }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const current = document.activeElement.closest("details.step");
    if (!current || document.activeElement.tagName !== "SUMMARY") return;
    const visible = steps.filter((step) => !step.hidden);
    const next = visible[visible.indexOf(current) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) { event.preventDefault(); next.querySelector("summary").focus(); }
  });
  follow();
})();
"""
