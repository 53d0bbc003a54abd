"""The script of the timeline's page: search and filters, keys, zoom. The page can be read without it.

Not in BuildKit.
"""

from __future__ import annotations

SCRIPT = """
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const steps = all("details.step"), groups = all("details.group");
  const texts = new Map();
  const textOf = (step) => {
    if (!texts.has(step)) texts.set(step, step.textContent.toLowerCase());
    return texts.get(step);
  };
  const search = byId("search");
  const has = (name) => (step) => step.classList.contains(name);
  const filters = [
    [byId("only-critical"), has("critical")], [byId("only-failed"), has("failed")],
    [byId("only-warned"), has("warned")], [byId("hide-cached"), (step) => !has("cached")(step)],
  ];
  const apply = () => {
    const wanted = search.value.trim().toLowerCase();
    const wants = filters.filter(([box]) => box.checked).map(([, test]) => test);
    let count = 0;
    for (const step of steps) {
      const shown = wants.every((test) => test(step)) && (!wanted || textOf(step).includes(wanted));
      step.hidden = !shown;
      count += shown ? 1 : 0;
    }
    for (const group of groups) {
      group.hidden = !group.querySelector("details.step:not([hidden])");
      if (wanted && !group.hidden) group.open = true;
    }
    byId("count").textContent = count === steps.length ? "" : count + " of " + steps.length;
  };
  for (const control of [search, ...filters.map(([box]) => box)]) control.addEventListener("input", apply);
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  const setAll = (open) => steps.forEach((step) => { if (!step.hidden) step.open = open; });
  byId("fold").addEventListener("click", () => {
    const open = !groups.some((group) => group.open);
    groups.forEach((group) => { group.open = open; });
    byId("fold").textContent = open ? "Fold groups" : "Unfold groups";
  });
  byId("open-all").addEventListener("click", () => setAll(true));
  byId("close-all").addEventListener("click", () => setAll(false));

  const root = document.documentElement, strip = byId("strip"), brush = byId("brush"), axis = byId("axis");
  const lines = byId("lines"), reset = byId("reset"), total = Number(strip.dataset.length);
  const tickSteps = strip.dataset.steps.split(" ").map(Number);
  let from = 0, span = 100;
  const duration = (nanos) => {
    const two = (number) => String(number).padStart(2, "0");
    if (nanos === 0) return "0s";
    if (nanos < 1e6) return Math.round(nanos / 1e3) + "µs";
    if (nanos < 1e9) return +(nanos / 1e6).toPrecision(6) + "ms";
    if (nanos < 6e10) return +(nanos / 1e9).toFixed(3) + "s";
    const seconds = Math.round(nanos / 1e9), minutes = Math.floor(seconds / 60);
    if (minutes < 60) return minutes + "m" + two(seconds % 60) + "s";
    return Math.floor(minutes / 60) + "h" + two(minutes % 60) + "m" + two(seconds % 60) + "s";
  };
  const drawTicks = () => {
    const length = total * span / 100, least = length / 10;
    const step = tickSteps.find((each) => each >= least) || length;
    axis.replaceChildren();
    lines.replaceChildren();
    for (let at = Math.ceil(total * from / 100 / step) * step; at <= total * (from + span) / 100; at += step) {
      const tick = document.createElement("span"), line = document.createElement("i");
      tick.className = "tick";
      tick.textContent = duration(at);
      for (const each of [tick, line]) each.style.setProperty("--s", at / total * 100);
      axis.append(tick);
      lines.append(line);
    }
  };
  const look = (newFrom, newSpan) => {
    span = Math.min(Math.max(newSpan, 1e-4), 100);
    from = Math.min(Math.max(newFrom, 0), 100 - span);
    root.style.setProperty("--from", from);
    root.style.setProperty("--zoom", 100 / span);
    brush.hidden = reset.hidden = span > 99.999;
    brush.style.left = from + "%";
    brush.style.width = span + "%";
    drawTicks();
  };
  const zoom = (factor, at) => look(at - (at - from) / factor, span / factor);
  reset.addEventListener("click", () => look(0, 100));
  const place = (event, box, first, length) => {
    const rect = box.getBoundingClientRect();
    return first + Math.min(Math.max((event.clientX - rect.left) / rect.width, 0), 1) * length;
  };
  let began = null;
  strip.addEventListener("pointerdown", (event) => {
    began = place(event, strip, 0, 100);
    strip.setPointerCapture(event.pointerId);
  });
  strip.addEventListener("pointermove", (event) => {
    if (began === null) return;
    const now = place(event, strip, 0, 100);
    if (Math.abs(now - began) > 0.3) look(Math.min(began, now), Math.abs(now - began));
  });
  strip.addEventListener("pointerup", (event) => {
    if (began !== null && Math.abs(place(event, strip, 0, 100) - began) <= 0.3) look(0, 100);
    began = null;
  });
  strip.addEventListener("pointercancel", () => { began = null; });
  byId("chart").addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, place(event, axis, from, span));
  }, {passive: false});

  const rows = () => all("main .chart summary").filter((row) => row.checkVisibility());
  const move = (current, by) => {
    const visible = rows(), next = visible[visible.indexOf(current) + by];
    if (next) next.focus();
    return Boolean(next);
  };
  const close = (row) => {
    const own = row.parentElement;
    if (own.open) own.open = false;
    else own.parentElement.closest("details")?.querySelector("summary").focus();
  };
  const lookAt = (row) => {
    const bars = [...row.querySelectorAll(".bar")].map((bar) => bar.style);
    const starts = bars.map((style) => Number(style.getPropertyValue("--s")));
    const ends = bars.map((style, i) => starts[i] + Number(style.getPropertyValue("--w")));
    const first = Math.min(...starts), length = Math.max(...ends) - first;
    look(first - length * 0.1, length * 1.2);
  };
  const rowKeys = {
    ArrowDown: (row) => move(row, 1), ArrowUp: (row) => move(row, -1), j: (row) => move(row, 1),
    k: (row) => move(row, -1), ArrowRight: (row) => { row.parentElement.open = true; }, ArrowLeft: close,
    Home: () => rows()[0]?.focus(), End: () => rows().at(-1)?.focus(), z: lookAt,
  };
  const pageKeys = {
    "/": () => search.focus(), "+": () => zoom(1.5, from + span / 2), "=": () => zoom(1.5, from + span / 2),
    "-": () => zoom(1 / 1.5, from + span / 2), "0": () => look(0, 100), "[": () => look(from - span / 4, span),
    "]": () => look(from + span / 4, span),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const focused = document.activeElement;
    if (focused === search) {
      if (event.key === "Escape") { search.value = ""; apply(); }
      if (event.key === "ArrowDown") { event.preventDefault(); rows()[0]?.focus(); }
      return;
    }
    const row = focused.matches("main .chart summary") ? focused : null;
    const action = (row && rowKeys[event.key]) || pageKeys[event.key];
    if (!action) return;
    event.preventDefault();
    action(row);
  });

  const follow = () => {
    const target = location.hash.startsWith("#step-") && byId(location.hash.slice(1));
    if (!target) return;
    if (target.hidden) { search.value = ""; filters.forEach(([box]) => { box.checked = false; }); apply(); }
    target.closest("details.group").open = true;
    target.open = true;
    target.querySelector("summary").focus({preventScroll: true});
    target.scrollIntoView({block: "center"});
  };
  addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#step-']");
    if (link && link.hash === location.hash) follow();
  });
  apply();
  look(0, 100);
  follow();
})();
"""
