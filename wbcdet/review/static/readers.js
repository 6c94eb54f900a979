// Two readers of one report: how far they agree, and every cell that they call differently.

import { Refused, get, post } from "./api.js";
import { DELETED } from "./model.js";

const part = (id) => document.getElementById(id);
const NO_CELL = "no cell";
let report;

const make = (name, className, text) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

function banner(text) {
  part("banner").textContent = text;
  part("banner").hidden = !text;
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;

function figure(value, about, range) {
  const box = make("div", "figure");
  box.append(make("span", "", about), make("b", "", value), make("span", "", range));
  return box;
}

function showFigures(found) {
  const { cells, same, share, kappa } = found;
  const alone = `only the first ${found.only_first}, only the second ${found.only_second}`;
  part("figures").replaceChildren(
    figure(String(cells), "Cells that both have read", alone),
    figure(share ? percent(share[0]) : "–", "Called the same", share ? `${same} cells; 95 % interval ${percent(share[1])} to ${percent(share[2])}` : "nothing to compare yet"),
    figure(kappa ? kappa[0].toFixed(3) : "–", "Cohen's kappa", kappa ? `95 % interval ${kappa[1].toFixed(3)} to ${kappa[2].toFixed(3)}` : cells ? "not defined: one name only" : "nothing to compare yet"),
  );
}

function showTable({ labels, table, cells }) {
  if (!cells) return part("confusion").replaceChildren();
  const whole = make("table"), head = whole.createTHead().insertRow();
  head.append(make("th", "", "first ↓ second →"), ...labels.map((label) => make("th", "", label)));
  const body = whole.createTBody();
  table.forEach((counts, down) => {
    const row = body.insertRow(), name = make("th", "", labels[down]);
    name.scope = "row";
    row.append(name, ...counts.map((count, across) => make("td", !count ? "none" : down === across ? "same" : "off", count || "·")));
  });
  const wide = make("div", "wide");
  wide.append(whole);
  part("confusion").replaceChildren(make("h2", "", "Cell by cell"), wide);
}

function showDiffering(found) {
  part("differ-title").textContent = `Cells that the readers call differently: ${found.differing.length}`;
  part("differ-about").hidden = !found.differing.length;
  part("differing").replaceChildren(...found.differing.map(card));
}

function card(one) {
  const box = make("article", "differs"), frame = make("span", "frame");
  if (one.cell === null) {
    frame.append(make("span", "soft small", "marked by the second reader only"));
  } else {
    const picture = make("img");
    picture.alt = `Cell ${one.number}`;
    picture.loading = "lazy";
    picture.src = `/crop/${one.field}/${one.cell}/192?mark=${report.mark}&box=${one.box.join()}`;
    picture.addEventListener("error", () => frame.replaceChildren(make("span", "soft small", "no picture")));
    frame.append(picture);
  }
  const title = make("p"), link = make("a", "", one.number === null ? "In its field" : `Cell ${one.number}`);
  link.href = one.cell === null ? `/#field=${one.field}` : `/#cell=${one.field}/${one.cell}`;
  title.append(link, make("span", "soft small", ` ${one.file}`));
  const said = make("p");
  said.append(make("b", "", one.first), make("span", "soft small", ` first${one.by_first ? `, ${one.by_first}` : ""}`), make("br"),
    make("b", "", one.second), make("span", "soft small", ` second${one.by_second ? `, ${one.by_second}` : ""}`));
  const now = one.now === DELETED || one.now === null ? NO_CELL : one.now;
  const row = make("p", "row");
  for (const name of [...new Set([one.first, one.second])]) {
    const choose = make("button", "", name);
    choose.type = "button";
    choose.setAttribute("aria-pressed", String(now === name));
    choose.addEventListener("click", () => settle(one, name));
    row.append(choose);
  }
  if (one.cell === null) row.replaceChildren(...[...row.children].filter((node) => node.textContent !== NO_CELL));
  const state = make("p", "soft small", now === one.first ? `in the report: ${now}` : `✓ in the report: ${now}`);
  box.classList.toggle("settled", now !== one.first);
  box.append(frame, title, said, row, state);
  return box;
}

async function settle(one, name) {
  const who = localStorage.getItem("wbcdet-who") || report.who;
  if (!who) return banner("Write your name on the review page first.");
  const common = { mark: report.mark, who, since: report.last };
  try {
    if (one.cell === null) {
      await post("/api/draw", () => ({ ...common, field: one.field, box: one.box, label: name }));
    } else {
      const label = name === NO_CELL ? DELETED : name;
      await post("/api/change", () => ({ ...common, cells: [{ field: one.field, cell: one.cell, seen: one.seen, label }] }));
    }
    banner("");
  } catch (error) {
    banner(error instanceof Refused ? `Not done: ${error.message}` : "The server does not answer: this was not kept.");
  }
  await load();
}

async function load() {
  const found = await post("/api/readers", () => ({ mark: report.mark }));
  showFigures(found);
  showTable(found);
  showDiffering(found);
}

async function start() {
  report = await get("/api/report");
  part("report-title").textContent = report.title;
  part("notice").textContent = report.notice;
  await load();
}

start().catch((error) => banner(`The agreement cannot be shown: ${error.message}`));
