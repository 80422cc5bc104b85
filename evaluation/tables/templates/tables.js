"use strict";
const form = document.getElementById("filters");
const count = document.getElementById("count");

function matches(row, section, wanted) {
  const own = row.dataset;
  const words = [section.firstElementChild, row].map((part) => part.textContent).concat(own.task).join(" ").toLowerCase();
  return (!wanted.paper || section.dataset.paper === wanted.paper)
    && (!wanted.method || [own.method, own.other].includes(wanted.method))
    && ["pretraining", "cohort", "task", "setting"].every((name) => !wanted[name] || own[name] === wanted[name])
    && (!wanted.measured || "measured" in own)
    && wanted.words.every((word) => words.includes(word));
}

function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  wanted.words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const filtered = Object.values(wanted).some((value) => value.length);
  let shown = 0;
  let all = 0;
  for (const section of document.querySelectorAll("main section:not(.always)")) {
    let own = 0;
    for (const row of section.querySelectorAll("tbody tr")) {
      row.hidden = !matches(row, section, wanted);
      own += !row.hidden;
      all += 1;
    }
    section.hidden = Boolean(filtered) && own === 0;
    shown += own;
  }
  document.body.classList.toggle("searching", Boolean(wanted.text));
  count.textContent = `${shown} of ${all} rows`;
}

function value(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? cell.textContent.trim();
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
}

function sort(heading) {
  const table = heading.closest("table");
  const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [value(row, heading.cellIndex), row]);
  const empty = (pair) => pair[0] === "";  // at the end, whatever the direction
  rows.sort((one, other) => empty(one) - empty(other) || sign * compare(one[0], other[0]));
  table.tBodies[0].append(...rows.map((pair) => pair[1]));
}

function fold(table) {
  const rows = table.querySelectorAll("[data-published]");
  if (!rows.length) return;
  const button = document.createElement("button");
  const show = (folded) => {
    table.classList.toggle("folded", folded);
    button.textContent = `${folded ? "Show" : "Hide"} ${rows.length} rows without a measured number`;
    button.setAttribute("aria-expanded", String(!folded));
  };
  button.type = "button";
  button.className = "fold";
  button.addEventListener("click", () => show(!table.classList.contains("folded")));
  table.parentElement.after(button);
  show(true);
}

// A number links to its entry, which lies in closed details.
function open() {
  const entry = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let one = entry; one; one = one.parentElement) if (one.localName === "details") one.open = true;
  if (entry) entry.scrollIntoView();
}

for (const table of document.querySelectorAll("main table")) fold(table);
addEventListener("hashchange", open);
open();
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sort(button.parentElement));
}
filter();
