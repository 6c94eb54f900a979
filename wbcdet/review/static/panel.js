// The differential, machine and reviewed side by side, and the list of types.

import { DELETED } from "./model.js";

const make = (name, text, className) => {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};

function shareCell(share) {
  const cell = make("td");
  cell.append(make("b", share.percent === null ? "–" : `${share.percent_text} %`));
  cell.append(" ", make("span", share.count, "count"));
  if (share.low !== null) cell.append(make("small", share.interval_text));
  return cell;
}

function bar(share, colour, name) {
  const box = make("div", undefined, `bar ${name}`);
  if (share.percent === null) return box;
  const fill = make("i"), range = make("u");
  fill.style.width = `${share.percent}%`;
  fill.style.background = colour;
  range.style.left = `${share.low}%`;
  range.style.width = `${Math.max(0.5, share.high - share.low)}%`;
  box.append(fill, range);
  return box;
}

const flagText = (flag) => (
  flag === "present" ? t("● look at each") : flag === "low" ? t("▼ low") : t("▲ high")
);

export function showDifferential(model, found, title) {
  document.getElementById("panel-title").textContent = title;
  const body = document.querySelector("#differential tbody");
  const rows = found.rows.flatMap((row) => {
    const line = make("tr"), name = make("th");
    const swatch = make("i", undefined, "swatch");
    swatch.style.background = model.colour(row.label);
    name.append(swatch, t(row.label));
    name.scope = "row";
    const now = shareCell(row.reviewed);
    if (row.flag) now.append(make("em", flagText(row.flag)));
    line.append(name, shareCell(row.machine), now);
    const chart = make("tr", undefined, "chart"), cell = make("td");
    cell.colSpan = 3;
    cell.append(
      bar(row.machine, model.colour(row.label), "before"), bar(row.reviewed, model.colour(row.label), "now"),
    );
    chart.append(cell);
    chart.setAttribute("aria-hidden", "true");
    return [line, chart];
  });
  const total = make("tr", undefined, "total");
  total.append(make("th", t("classified")), make("td", found.machine.classified), make("td", found.reviewed.classified));
  // The reference range of a type is of its parts too, which are named apart.
  const together = found.together.map((one) => {
    const line = make("tr", undefined, "apart"), now = shareCell(one.reviewed);
    if (one.flag) now.append(make("em", flagText(one.flag)));
    line.append(make("th", one.labels.map((label) => t(label)).join(" + ")), shareCell(one.machine), now);
    return line;
  });
  const apart = ["unclassified", "artefacts"].map((name) => {
    const line = make("tr", undefined, "apart");
    line.append(make("th", t(name)), make("td", found.machine[name]), make("td", found.reviewed[name]));
    return line;
  });
  const reasons = found.reasons.map((one) => {
    const line = make("tr", undefined, "apart reason"), name = make("th", t(one.reason));
    if (one.flag) name.append(make("em", t("● look at each")));
    line.append(name, make("td", one.machine), make("td", one.reviewed));
    return line;
  });
  body.replaceChildren(...rows, ...together, total, apart[0], ...reasons, apart[1]);
  document.getElementById("warning").textContent = found.warning || "";
  const done = found.cells - found.unreviewed;
  document.getElementById("progress-text").textContent =
    t("{done} of {cells} reviewed", { done, cells: found.cells }) +
    (found.open ? t(", {n} unclassified to go", { n: found.open }) : "");
  const share = found.cells ? (100 * done) / found.cells : 0;
  document.querySelector("#progress-bar i").style.width = `${share}%`;
}

// The list of types, each a button and a place to drop cells on.
export function showClasses(model, sections, only, does) {
  const list = document.getElementById("classes");
  const total = sections.filter((one) => one.label !== DELETED).reduce((sum, one) => sum + one.total, 0);
  const open = sections.reduce((sum, one) => sum + one.open, 0);
  const lines = [{ label: null, total, open }, ...sections];
  const before = new Map([...list.children].map((node) => [node.dataset.label, node]));
  const nodes = lines.map((section) => {
    const name = section.label ?? "";
    let node = before.get(name);
    if (!node) {
      node = make("button");
      node.type = "button";
      node.dataset.label = name;
      node.append(make("i", "", "swatch"), make("span"), make("b"), make("small"));
      node.addEventListener("click", () => does.only(section.label));
      if (section.label !== null) {
        node.addEventListener("dragover", (event) => { event.preventDefault(); node.classList.add("over"); });
        node.addEventListener("dragleave", () => node.classList.remove("over"));
        node.addEventListener("drop", (event) => {
          event.preventDefault();
          node.classList.remove("over");
          does.drop(section.label);
        });
      }
    }
    const [swatch, label, count, left] = node.children;
    if (section.label) Object.assign(swatch.style, { background: model.colour(section.label), color: model.ink(section.label) });
    swatch.textContent = section.label ? model.letter(section.label) : "";
    label.textContent = t(section.label ?? "all types");
    count.textContent = section.total;
    left.textContent = section.open ? t("{n} to go", { n: section.open }) : "";
    node.setAttribute("aria-pressed", String(only === section.label));
    return node;
  });
  list.replaceChildren(...nodes);
}
