"use strict";

const at = (id) => document.getElementById(id);
const states = {
  analysed: t("counting"), still: t("still picture"), blurred: t("blurred, not counted"),
  damaged: t("damaged picture, not counted"), paused: t("paused"), waiting: t("waiting for a picture"), "no signal": t("no signal"), ended: t("ended"),
};
const MOST_FAILED = 20;  // answers missed in a row, after which wbcdet is taken to have ended
let timer = 0;
let pictures = 0;
let failed = 0;

function cell(row, text, name) {
  const one = row.insertCell();
  one.textContent = text;
  if (name) one.className = name;
  return one;
}

function show(status) {
  at("title").textContent = `${t("wbcdet live")}: ${status.title}`;
  document.title = `${tn("{n} cell", "{n} cells", status.classified ?? 0)}, ${status.title}`;
  at("state").textContent = states[status.state] || status.state;
  at("state").dataset.state = status.state;
  at("notice").textContent = t(status.notice);
  const pause = at("pause");
  const paused = status.state === "paused";
  pause.textContent = paused ? t("Start") : t("Pause");
  pause.dataset.command = paused ? "start" : "pause";
  if (status.shares === undefined) return;
  at("slide").textContent = status.slide;
  at("message").textContent = t(status.message);
  at("warning").hidden = !status.warning;
  at("warning").textContent = t(status.warning);
  if (status.overview && status.overview.recent) overview(status.overview);
  names = [...FOUR, ...status.taught, "no cell", null];
  at("classified").textContent = status.classified;
  at("target").textContent = status.target ? ` ${t("of {n}", { n: status.target })}` : "";
  at("unclassified").textContent = status.unclassified;
  at("progress").hidden = !status.target;
  at("progress").max = status.target || 1;
  at("progress").value = Math.min(status.classified, status.target || 0);
  at("speed").textContent = t("{fps} frames a second, lag {lag} s", { fps: status.fps, lag: status.lag_s });
  at("thresholds").textContent = t("Thresholds in force: {thresholds}.", { thresholds: status.thresholds });
  const rows = [...status.shares, ...status.together].map((share) => {
    const row = document.createElement("tr");
    // The reference range of a type is of its parts too, which are named apart.
    const name = cell(row, (share.labels || [share.label]).map((label) => t(label)).join(" + "));
    if (share.colour) {
      const dot = document.createElement("span");
      dot.className = "dot";
      dot.style.background = share.colour;
      name.prepend(dot);
    }
    cell(row, share.count);
    cell(row, share.percent_text);
    cell(row, share.interval_text);
    const range = share.range ? `${share.range[0]} – ${share.range[1]}` : "";
    const flag = share.flag === "present" ? t("look at each") : t(share.flag);
    cell(row, share.flag ? `${range} ${flag}`.trim() : range, share.flag ? "flag" : "");
    return row;
  });
  at("shares").replaceChildren(...rows);
  const reasons = status.reasons.map((reason) => {
    const row = document.createElement("tr");
    cell(row, t(reason.label));
    cell(row, reason.count);
    cell(row, reason.percent_text);
    cell(row, reason.interval_text);
    cell(row, reason.flag ? t("look at each") : "", reason.flag ? "flag" : "");
    return row;
  });
  if (reasons.length) {
    const row = document.createElement("tr");
    cell(row, t("unclassified, % of all {n} white cells", { n: status.white_cells })).colSpan = 5;
    reasons.unshift(row);
  }
  at("reasons").replaceChildren(...reasons);
  at("ground").hidden = !status.ground;
  // Only where it changed, so that a screen reader says it once.
  const warning = status.ground ? t("This slide looks {unlike}", { unlike: status.ground }) : "";
  if (at("ground").textContent !== warning) at("ground").textContent = warning;
}

const FOUR = ["eosinophil", "lymphocyte", "monocyte", "neutrophil"];
let names = [...FOUR, "no cell", null];
let recentShown = "";

const said = (cell) => (cell.reason ? `${t(cell.label)} (${t(cell.reason)})` : t(cell.label));

function overview(found) {
  at("maps").textContent = found.maps > 1 ? t("({n} maps that do not meet yet)", { n: found.maps }) : "";
  const shown = JSON.stringify(found.recent);
  if (shown !== recentShown) {
    recentShown = shown;
    at("recent").replaceChildren(...found.recent.map((one) => {
      const button = document.createElement("button");
      button.type = "button";
      button.style.borderBottomColor = one.colour;
      button.title = t("Cell {n}: {label}. Click to name it", { n: one.cell, label: said(one) });
      const picture = document.createElement("img");
      picture.src = `cell/${one.cell}.jpg`;
      picture.alt = t("Cell {n}", { n: one.cell });
      // A declined cell says what it looks like: that is what one wants to know of it.
      button.append(picture, one.reason ? t(one.reason) : `${t(one.label)}${one.by_person ? " ✓" : ""}`);
      button.addEventListener("click", () => naming(one));
      return button;
    }));
  }
  drawMap(found);
}

function shape(name, values) {
  const one = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(values)) one.setAttribute(key, value);
  return one;
}

function drawMap(found) {
  const corners = found.here ? [...found.scanned, found.here] : found.scanned;
  if (!corners.length) return at("map").replaceChildren();
  const low = [0, 1].map((side) => Math.min(...corners.map((one) => one[side])));
  const high = [2, 3].map((side) => Math.max(...corners.map((one) => one[side])));
  const size = Math.max(high[0] - low[0], high[1] - low[1]);
  const box = ([x0, y0, x1, y1], more) => shape("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, ...more });
  at("map").setAttribute("viewBox", [...low, high[0] - low[0], high[1] - low[1]].join(" "));
  at("map").replaceChildren(
    ...found.scanned.map((one) => box(one, { fill: "#fff" })),
    ...found.cells.map(([x, y, colour]) => shape("circle", { cx: x, cy: y, r: size / 70, fill: colour, stroke: "#0006", "stroke-width": size / 400 })),
    ...(found.here ? [box(found.here, { fill: "none", stroke: "#1c2330", "stroke-width": size / 150 })] : []),
  );
}

// Who named a cell must not go on in the belief that it counts so.
async function send(path, body) {
  let why = t("no answer");
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (response.ok) return;
    const { detail } = await response.json().catch(() => ({}));
    why = typeof detail === "string" ? t(detail) : response.status;
  } catch {
    // No answer, as it says.
  }
  alert(t("Not done: {why}", { why }));
}

function naming(cell) {
  at("naming-cell").textContent = `${cell.cell}: ${said(cell)}`;
  at("naming-picture").src = `cell/${cell.cell}.jpg`;
  at("naming-buttons").replaceChildren(...names.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = t(name || "as wbcdet named it");
    button.addEventListener("click", async () => {
      at("naming").close();
      await send("relabel", { cell: cell.cell, label: name });
      ask();
    });
    return button;
  }));
  at("naming").showModal();
}

// A picture is shown when it is there: the last one stays when the stream ends.
function next(pause) {
  if (pictures < 0) return;
  setTimeout(() => {
    const picture = new Image();
    picture.onload = () => {
      picture.id = "live";
      picture.alt = at("live").alt;
      at("live").replaceWith(picture);
      next(80);
    };
    picture.onerror = () => next(500);
    picture.src = `live.jpg?${++pictures}`;
  }, pause);
}

function end(text) {
  pictures = -1;
  if (at("message").textContent !== text) at("message").textContent = text;
  for (const button of document.querySelectorAll("button")) button.disabled = true;
}

async function ask() {
  try {
    const response = await fetch("status");
    if (!response.ok) throw new Error(response.statusText);
    const status = await response.json();
    failed = 0;
    if (pictures >= 0 || status.state !== "ended") show(status);
    if (status.state === "ended") {
      const last = status.message ? `${t(status.message)}. ` : "";
      if (!status.report_at) return end(`${last}${t("The stream has ended; its report is being written.")}`);
      if (at("report")) return;
      end(`${last}${t("The stream has ended; its report:")} `);
      // It is served as long as this page asks.
      const link = document.createElement("a");
      link.id = "report";
      link.href = status.report_at;
      link.target = "_blank";
      link.textContent = status.report;
      at("message").append(link);
    }
  } catch {
    at("state").textContent = t("no answer");
    at("state").dataset.state = "no signal";
    // The report that is open in another tab stays there.
    if (++failed >= MOST_FAILED) clearInterval(timer);
    if (failed >= MOST_FAILED) end(t("wbcdet does not answer any more: see its terminal, or load this page again."));
  }
}

for (const button of document.querySelectorAll("#buttons button")) {
  button.addEventListener("click", async () => {
    if (button.dataset.ask && !confirm(button.dataset.ask)) return;
    await send("command", { command: button.dataset.command });
    ask();
  });
}

next(0);
ask();
timer = setInterval(ask, 500);
