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

// Adding zero turns -0 into 0: "-0.000" is no number that anybody writes.
const three = (value) => (Math.round(1000 * value) / 1000 + 0).toFixed(3);
const percent = (value) => `${(100 * value).toFixed(1)} %`;

function figure(value, about, range) {
  const box = make("div", "figure");
  box.append(make("span", "", about), make("b", "", value), make("span", "", range));
  return box;
}

function showFigures(found) {
  const { cells, same, share, kappa } = found;
  const alone = t("only the first {first}, only the second {second}", { first: found.only_first, second: found.only_second });
  part("figures").replaceChildren(
    figure(String(cells), t("Cells that both have read"), alone),
    figure(share ? percent(share[0]) : "–", t("Called the same"), share ? `${tn("{n} cell", "{n} cells", same)}; ${t("95 % interval {low} to {high}", { low: percent(share[1]), high: percent(share[2]) })}` : t("nothing to compare yet")),
    figure(kappa ? three(kappa[0]) : "–", t("Cohen's kappa"), kappa?.length > 1 ? t("95 % interval {low} to {high}", { low: three(kappa[1]), high: three(kappa[2]) }) : kappa ? t("too few or too even for an interval") : cells ? t("not defined: one name only") : t("nothing to compare yet")),
  );
}

function showTable({ labels, table, cells }) {
  if (!cells) return part("confusion").replaceChildren(make("p", "soft", t("The second reader starts with: wbcdet review REPORT --second")));
  const whole = make("table"), head = whole.createTHead().insertRow();
  head.append(make("th", "", t("first ↓ second →")), ...labels.map((label) => make("th", "", t(label))));
  const body = whole.createTBody();
  table.forEach((counts, down) => {
    const row = body.insertRow(), name = make("th", "", t(labels[down]));
    name.scope = "row";
    row.append(name, ...counts.map((count, across) => make("td", !count ? "none" : down === across ? "same" : "off", count || "·")));
  });
  const wide = make("div", "wide");
  wide.append(whole);
  part("confusion").replaceChildren(make("h2", "", t("Cell by cell")), wide);
}

function showDiffering(found) {
  part("differ-title").textContent = t("Cells that the readers call differently: {n}", { n: found.differing.length });
  part("differ-about").hidden = !found.differing.length;
  part("differing").replaceChildren(...found.differing.map(card));
}

function card(one) {
  const box = make("article", "differs"), frame = make("span", "frame");
  if (one.cell === null) {
    frame.append(make("span", "soft small", t("marked by the second reader only")));
  } else {
    const picture = make("img");
    picture.alt = t("Cell {n}", { n: one.number });
    picture.loading = "lazy";
    picture.src = `/crop/${one.field}/${one.cell}/192?mark=${report.mark}&box=${one.box.join()}`;
    picture.addEventListener("error", () => frame.replaceChildren(make("span", "soft small", t("no picture"))));
    frame.append(picture);
  }
  const title = make("p"), link = make("a", "", one.number === null ? t("In its field") : t("Cell {n}", { n: one.number }));
  link.href = one.cell === null ? `/#field=${one.field}` : `/#cell=${one.field}/${one.cell}`;
  title.append(link, make("span", "soft small", ` ${one.file}`));
  const said = make("p");
  said.append(make("b", "", t(one.first)), make("span", "soft small", ` ${t("first")}${one.by_first ? `, ${one.by_first}` : ""}`), make("br"),
    make("b", "", t(one.second)), make("span", "soft small", ` ${t("second")}${one.by_second ? `, ${one.by_second}` : ""}`));
  const now = one.now === DELETED || one.now === null ? NO_CELL : one.now;
  const row = make("p", "row");
  for (const name of [...new Set([one.first, one.second])]) {
    if (name === NO_CELL && one.cell === null) continue;
    const choose = make("button", "", t(name));
    choose.type = "button";
    choose.setAttribute("aria-pressed", String(now === name));
    choose.addEventListener("click", () => settle(one, name));
    row.append(choose);
  }
  const state = make("p", "soft small", `${now === one.first ? "" : "✓ "}${t("in the report: {label}", { label: t(now) })}`);
  box.classList.toggle("settled", now !== one.first);
  box.append(frame, title, said, row, state);
  return box;
}

async function settle(one, name) {
  const who = localStorage.getItem("wbcdet-who") || report.who;
  if (!who) return banner(t("Write your name on the review page first."));
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
    banner(error instanceof Refused ? t("Not done: {why}", { why: t(error.message) }) : t("The server does not answer: this was not kept."));
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
  part("notice").textContent = t(report.notice);
  await load();
}

start().catch((error) => banner(t("The agreement cannot be shown: {why}", { why: error.message })));
