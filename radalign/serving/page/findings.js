"use strict";

const DIGITS = 3;

function make(tag, text = "", className = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}

/** The findings as a list of which each can be taken away. */
export function listFindings(list, findings, remove) {
  list.replaceChildren(...findings.map((finding, number) => {
    const item = make("li");
    const button = make("button", "×");
    button.type = "button";
    button.setAttribute("aria-label", `Remove ${finding}`);
    button.addEventListener("click", () => remove(number));
    item.append(make("span", finding), button);
    return item;
  }));
}

/** The number that stands for a finding, or nothing. */
export function shortScore({ score, calibrated }) {
  return score === null ? "" : (calibrated?.probability ?? score).toFixed(DIGITS);
}

/** A score in words. */
export function describeScore(row) {
  if (row.score === null) return "no score";
  if (row.calibrated) return `calibrated probability ${row.calibrated.probability.toFixed(DIGITS)}`;
  return `score ${row.score.toFixed(DIGITS)}, not a probability`;
}

/** A row per finding, a column per model; the chosen finding is the one whose map is shown. */
export function tabulate(table, models, findings, chosen, choose) {
  const head = table.tHead.rows[0];
  head.replaceChildren(make("th", "Finding"), ...models.map((model) => make("th", model.model)));
  for (const cell of head.cells) cell.scope = "col";
  const rows = findings.flatMap((finding, number) => {
    const answers = models.map((model) => model.findings[number]);
    const row = make("tr", "", number === chosen ? "chosen" : "");
    row.append(nameCell(finding, number, number === chosen, choose), ...answers.map(scoreCell));
    const remarks = collectRemarks(models, answers);
    return remarks.length ? [row, remarkRow(remarks, models.length + 1, row.className)] : [row];
  });
  table.tBodies[0].replaceChildren(...rows);
  table.hidden = !findings.length;
}

function nameCell(finding, number, chosen, choose) {
  const cell = make("th");
  const label = cell.appendChild(make("label"));
  const radio = Object.assign(make("input"), { type: "radio", name: "shown", value: number, checked: chosen });
  radio.addEventListener("change", () => choose(number));
  label.append(radio, make("span", finding));
  cell.scope = "row";
  return cell;
}

function scoreCell(answer) {
  const cell = make("td");
  if (answer.score === null) {
    cell.append(make("span", "no score"));
    return cell;
  }
  const shown = answer.calibrated ? answer.calibrated.probability : answer.score;
  const number = cell.appendChild(make("div", "", "number"));
  const meter = Object.assign(make("meter"), { min: 0, max: 1, value: shown });
  meter.setAttribute("aria-hidden", "true");
  number.append(make("b", shown.toFixed(DIGITS)), meter);
  cell.append(make("small", describeKind(answer)));
  return cell;
}

function describeKind({ calibrated, score }) {
  if (!calibrated) return "score, not a probability";
  const { data, images, positives } = calibrated;
  return `calibrated probability, on ${data} (${images} images, ${positives} with it); score ${score.toFixed(DIGITS)}`;
}

/** What is said of the answers, each sentence once, with the models that say it. */
function collectRemarks(models, answers) {
  const said = new Map();
  answers.forEach((answer, number) => {
    for (const text of [answer.warning, answer.problem].filter(Boolean)) {
      said.set(text, [...(said.get(text) ?? []), models[number].model]);
    }
  });
  return [...said].map(([text, names]) => (models.length > 1 ? `${names.join(" and ")}: ${text}` : text));
}

function remarkRow(remarks, columns, className) {
  const row = make("tr", "", `remark ${className}`);
  const cell = row.appendChild(make("td"));
  cell.colSpan = columns;
  cell.append(...remarks.map((text) => make("p", text)));
  return row;
}
