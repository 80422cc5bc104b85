"use strict";
import { COLOURS } from "./colours.js";
import { describeScore, listFindings, shortScore, tabulate } from "./findings.js";
import { Picture, View, Viewer, WHOLE } from "./viewer.js";

const at = (id) => document.getElementById(id);
const state = { findings: [], chosen: 0, shown: { ...WHOLE }, opacity: 0.6, mapped: true, windows: false };
let waiting = false;
let asking = new AbortController();
const view = new View(() => draw());

// ---- talking to the server

class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server does not answer: see whether radalign serve is still running.");
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let sentence = text;
  try {
    sentence = JSON.parse(text).problem;
  } catch { /* the sentence itself */ }
  throw new Refusal(answer.status, sentence);
}

function report(error) {
  if (error?.name === "AbortError") return;
  at("problem").textContent = error ? error.message : "";
  at("problem").hidden = !error;
  if (error) say("");
}

function say(text) {
  at("status").textContent = text;
}

// ---- image

async function open(file) {
  if (!file) return;
  report(null);
  if (file.size > state.server.most_bytes) {
    report(new Error(`${file.name} is larger than ${Math.round(state.server.most_bytes / 2 ** 20)} MiB.`));
    return;
  }
  say("Reading the image ...");
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const held = await hold(file, signal);
    const pixels = await (await ask(`/images/${held.image}/pixels`, { signal })).arrayBuffer();
    release();
    Object.assign(state, { held, file, answer: null });
    state.picture = new Picture(held.shown_height, held.shown_width, new Uint8Array(pixels));
    for (const viewer of state.viewers) viewer.show(state.picture);
    at("drop").hidden = true;
    at("viewers").hidden = false;
    tellFacts(file, held);
    reset();
    showAnswer();
    if (state.findings.length) await score();
    else say("The image is read. Type a finding.");
  } catch (error) {
    report(error);
  }
}

async function hold(file, signal) {
  const headers = { "content-type": "application/octet-stream" };
  return (await ask("/images", { method: "POST", body: file, headers, signal })).json();
}

function release() {
  if (state.held) fetch(`/images/${state.held.image}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

function tellFacts(file, held) {
  const { Modality, BodyPartExamined, ViewPosition, PhotometricInterpretation, BitsStored } = held.attributes;
  const facts = {
    file: file.name,
    size: `${held.width} × ${held.height} pixels`,
    format: [Modality, BodyPartExamined, ViewPosition, PhotometricInterpretation, BitsStored && `${BitsStored} bits`]
      .filter(Boolean).join(", "),
    levels: held.display,
  };
  at("facts").replaceChildren(...Object.entries(facts).filter(([, text]) => text).flatMap(([name, text]) => [
    Object.assign(document.createElement("dt"), { textContent: name }),
    Object.assign(document.createElement("dd"), { textContent: text }),
  ]));
  at("facts").hidden = false;
}

// ---- findings

function add(text) {
  const finding = text.split(/\s+/).filter(Boolean).join(" ");
  if (!finding) return;
  const known = state.findings.indexOf(finding);
  state.chosen = known < 0 ? state.findings.push(finding) - 1 : known;
  changeFindings();
}

function remove(number) {
  const [gone] = state.findings.splice(number, 1);
  if (state.chosen > number || state.chosen === state.findings.length) state.chosen = Math.max(0, state.chosen - 1);
  changeFindings();
  (at("chips").querySelectorAll("button")[number] ?? at("finding")).focus();
  if (!state.findings.length) say(`${gone} is removed.`);
}

function changeFindings() {
  listFindings(at("chips"), state.findings, remove);
  score().catch(report);
}

async function score() {
  report(null);
  if (!state.held || !state.findings.length) {
    state.answer = null;
    showAnswer();
    return;
  }
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  say("Scoring ...");
  at("stage").setAttribute("aria-busy", "true");
  const start = performance.now();
  try {
    const findings = [...state.findings];
    const answer = await predict(findings, signal);
    state.answer = { findings, models: (await answer.json()).models };
    showAnswer();
    const times = answer.headers.get("server-timing") ?? "";
    say(`${count(findings.length, "finding")}, ${count(state.answer.models.length, "model")}: `
      + `${Math.round(performance.now() - start)} ms (${tellTimes(times)})`);
  } finally {
    if (!signal.aborted) at("stage").removeAttribute("aria-busy");
  }
}

async function predict(findings, signal) {
  const send = () => ask("/predict", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ image: state.held.image, findings, maps: true }),
    signal,
  });
  try {
    return await send();
  } catch (error) {
    if (error.status !== 404) throw error;
    state.held = await hold(state.file, signal);  // it was let go meanwhile
    return send();
  }
}

function tellTimes(header) {
  const times = [...header.matchAll(/network-([\w-]+);dur=([\d.]+)/g)];
  return times.map(([, name, taken]) => `${name} ${Math.round(taken)} ms`).join(", ");
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function choose(number) {
  const inTable = at("scores").contains(document.activeElement);
  state.chosen = number;
  showAnswer();
  if (inTable) at("scores").querySelector("input:checked").focus({ preventScroll: true });
}

function showAnswer() {
  const { answer, chosen } = state;
  tabulate(at("scores"), answer?.models ?? [], answer?.findings ?? [], chosen, choose);
  state.viewers.forEach((viewer, number) => {
    const row = answer?.models[number].findings[chosen];
    viewer.locate(row, row && describeScore(row), row && shortScore(row));
  });
  draw();
}

// ---- display

function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    for (const viewer of state.viewers ?? []) viewer.draw(state.mapped ? state.opacity : 0);
    at("zoom").value = view.zoom;
    tellSliders();
  });
}

function tellSliders() {
  const texts = {
    level: at("level").value, width: at("width").value,
    zoom: `${view.zoom.toFixed(1)}×`, opacity: `${Math.round(100 * state.opacity)} %`,
  };
  for (const [name, text] of Object.entries(texts)) {
    document.querySelector(`output[for=${name}]`).textContent = text;
    at(name).setAttribute("aria-valuetext", text);
  }
  at("viewers").classList.toggle("zoomed", view.zoom > 1);
}

function setWindow(level, width, inverted = state.shown.inverted) {
  const inside = (value, { min, max }) => Math.min(Number(max), Math.max(Number(min), Math.round(value)));
  state.shown = { level: inside(level, at("level")), width: inside(width, at("width")), inverted };
  at("level").value = state.shown.level;
  at("width").value = state.shown.width;
  at("invert").setAttribute("aria-pressed", inverted);
  if (state.picture && !state.windowing) {
    state.windowing = requestAnimationFrame(() => {
      state.windowing = 0;
      state.picture.show(state.shown);
      draw();
    });
  }
  draw();
}

function reset() {
  setWindow(WHOLE.level, WHOLE.width, false);
  view.reset();
}

function setOpacity(share) {
  state.opacity = Math.min(1, Math.max(0, share));
  at("opacity").value = 100 * state.opacity;
  draw();
}

function toggleMap() {
  state.mapped = !state.mapped;
  at("map").setAttribute("aria-pressed", state.mapped);
  draw();
}

function toggleDrag() {
  state.windows = !state.windows;
  at("drag").setAttribute("aria-pressed", state.windows);
  at("drag").textContent = state.windows ? "Drag: window" : "Drag: move";
  at("viewers").classList.toggle("windowing", state.windows);
}

function step(by) {
  if (state.answer) choose((state.chosen + by + state.findings.length) % state.findings.length);
}

function drawLegend() {
  const context = at("legend").getContext("2d");
  const image = context.createImageData(256, 1);
  for (let level = 0; level < 256; level += 1) {
    image.data.set([...COLOURS.subarray(3 * level, 3 * level + 3), 255], 4 * level);
  }
  context.putImageData(image, 0, 0);
}

// ---- what the reader does

const KEYS = {
  o: () => at("file").click(),
  f: () => at("finding").focus(),
  j: () => step(1),
  k: () => step(-1),
  m: toggleMap,
  "[": () => setOpacity(state.opacity - 0.1),
  "]": () => setOpacity(state.opacity + 0.1),
  "+": () => view.scale(1.25),
  "=": () => view.scale(1.25),
  "-": () => view.scale(0.8),
  w: toggleDrag,
  i: () => at("invert").click(),
  0: reset,
  "?": () => at("keys").showModal(),
};

function onKey(event) {
  const writes = event.target.matches("input:not([type=range], [type=radio]), textarea, select");
  if (event.key === "Escape" && !at("keys").open) event.target.blur();
  if (writes || event.ctrlKey || event.metaKey || event.altKey || at("keys").open) return;
  const act = KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
}

function listen() {
  at("choose").addEventListener("click", () => at("file").click());
  at("drop").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", () => {
    open(at("file").files[0]);
    at("file").value = "";
  });
  at("asking").addEventListener("submit", (event) => {
    event.preventDefault();
    add(at("finding").value);
    at("finding").value = "";
  });
  at("finding").addEventListener("keydown", (event) => {
    if (event.key === "Backspace" && !at("finding").value && state.findings.length) {
      remove(state.findings.length - 1);
      at("finding").focus();
    }
  });
  for (const name of ["level", "width"]) {
    at(name).addEventListener("input", () => setWindow(Number(at("level").value), Number(at("width").value)));
  }
  at("zoom").addEventListener("input", () => view.scale(Number(at("zoom").value) / view.zoom));
  at("opacity").addEventListener("input", () => setOpacity(Number(at("opacity").value) / 100));
  at("map").addEventListener("click", toggleMap);
  at("drag").addEventListener("click", toggleDrag);
  at("invert").addEventListener("click", () => setWindow(state.shown.level, state.shown.width, !state.shown.inverted));
  at("reset").addEventListener("click", reset);
  at("help").addEventListener("click", () => at("keys").showModal());
  document.addEventListener("keydown", onKey);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("over", kind === "dragover");
    });
  }
  document.addEventListener("drop", (event) => open(event.dataTransfer.files[0]));
  new ResizeObserver(draw).observe(at("viewers"));
  addEventListener("pagehide", release);
}

async function start() {
  drawLegend();
  state.server = await (await ask("/models")).json();
  const actions = {
    windows: () => state.windows,
    adjust: (width, level) => setWindow(state.shown.level + level, state.shown.width + 2 * width),
  };
  state.viewers = state.server.models.map((model) => new Viewer(model.model, model.digest.slice(0, 8), view, actions));
  at("viewers").replaceChildren(...state.viewers.map((viewer) => viewer.figure));
  at("suggestions").replaceChildren(...state.server.suggestions.map((value) => new Option(value, value)));
  listen();
  tellSliders();
  const named = state.server.models.map((model) => `${model.model} (${model.run})`).join(" and ");
  say(`Ready: ${named}.`);
  document.documentElement.dataset.ready = "";
}

start().catch(report);
