// The slide as a zoomable map with its cells; a click on a cell opens it in the review.

import { get, listen } from "./api.js";
import { DELETED, Model } from "./model.js";

const part = (id) => document.getElementById(id);
// px: how near a click must be to a cell; a cell wider than this is shown by its box.
const NEAR = 14, BOX = 22;
const ZONE = "#00821c", PART = "#5a5a5a", EDGE = "#c25e00";

const off = new Set(); // types that are not marked
const sizes = new Map(); // by field: its place on the slide
let report, model, slides, slide, viewer, cells = [], marked = null;

function banner(text) {
  part("banner").textContent = text;
  part("banner").hidden = !text;
}

async function start() {
  [report, slides] = await Promise.all([get("/api/report"), get("/api/slides")]);
  model = new Model(report);
  document.title = `${t("Map of {title}", { title: report.title })}: wbcdet review`;
  part("report-title").textContent = report.title;
  part("notice").textContent = t(report.notice);
  if (!slides.length) return banner(t("This report is of single fields: there is no slide to show as a map."));
  for (const [number, one] of slides.entries()) {
    for (const [field, x, y, , , by, edge] of one.parts) sizes.set(field, { slide: number, x, y, by, edge });
  }
  part("slide-choice").hidden = slides.length < 2;
  part("slide").append(...slides.map((one, at) => new Option(one.name, at)));
  part("slide").addEventListener("change", () => show(Number(part("slide").value)));
  withoutInlineStyle();
  viewer = OpenSeadragon({
    element: part("viewer"), drawer: "canvas", showNavigationControl: false, showNavigator: false,
    crossOriginPolicy: false, maxZoomPixelRatio: 4, visibilityRatio: 0.3, animationTime: 0.4,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    gestureSettingsTouch: { clickToZoom: false },
  });
  for (const event of ["update-viewport", "open", "resize"]) viewer.addHandler(event, draw);
  viewer.addHandler("canvas-click", (event) => {
    const cell = event.quick && nearest(event.position);
    if (cell) location.assign(`/#cell=${cell.key}`);
  });
  viewer.addHandler("tile-load-failed", (event) => event.tile.level > 0 && said(event.tile.getUrl()));
  viewer.innerTracker.moveHandler = ((before) => (event) => {
    before?.(event);
    hover(event.position);
  })(viewer.innerTracker.moveHandler);
  part("zoom-in").addEventListener("click", () => viewer.viewport.zoomBy(1.6).applyConstraints());
  part("zoom-out").addEventListener("click", () => viewer.viewport.zoomBy(1 / 1.6).applyConstraints());
  part("zoom-fit").addEventListener("click", () => viewer.viewport.goHome());
  for (const id of ["show-zone", "show-parts"]) part(id).addEventListener("change", draw);
  window.addEventListener("hashchange", openAddressed);
  const wanted = addressed();
  await show(wanted ? sizes.get(wanted.field).slide : 0, wanted);
  listen(refresh, (up) => banner(up ? slide.problem ?? "" : t("The server does not answer: start wbcdet review again.")));
}

// OpenSeadragon adds an inline style, which the rules of this page refuse, unless it finds such an element;
// this one is of no kind that a browser applies.
function withoutInlineStyle() {
  const inert = document.createElementNS("urn:wbcdet", "style");
  inert.setAttribute("data-openseadragon-mobile-css", "");
  document.head.append(inert);
}

// Why a tile is missing; the server says it in words.
let asked = false;
async function said(source) {
  if (asked) return;
  asked = true;
  const response = await fetch(source, { credentials: "same-origin" }).catch(() => null);
  if (response && !response.ok) banner(await response.text());
  setTimeout(() => { asked = false; }, 5000);
}

function addressed() {
  const [kind, key] = location.hash.slice(1).split("=");
  const cell = kind === "cell" ? model.cells.get(key) : null;
  return cell && sizes.has(cell.field) ? cell : null;
}

function openAddressed() {
  const cell = addressed();
  if (!cell) return;
  if (slides[sizes.get(cell.field).slide] !== slide) show(sizes.get(cell.field).slide, cell);
  else goTo(cell);
}

async function show(number, cell = null) {
  slide = slides[number];
  part("slide").value = number;
  banner(slide.problem ?? "");
  marked = cell;
  count();
  await new Promise((ready) => {
    viewer.addOnceHandler("open", ready);
    viewer.addOnceHandler("open-failed", ready);
    // Where the slide has gone its cells still show where they were.
    viewer.open(slide.problem
      ? { width: slide.width, height: slide.height, tileSize: 512, maxLevel: 0, getTileUrl: () => "data:," }
      : `/slide/${number}.dzi?mark=${report.mark}`);
  });
  if (cell) goTo(cell);
  draw();
}

function goTo(cell) {
  marked = cell;
  const [x0, y0, x1, y1] = boxOf(cell), reach = 12 * Math.max(x1 - x0, y1 - y0);
  const middle = [(x0 + x1) / 2, (y0 + y1) / 2];
  const around = new OpenSeadragon.Rect(middle[0] - reach, middle[1] - reach, 2 * reach, 2 * reach);
  viewer.viewport.fitBounds(viewer.world.getItemAt(0).imageToViewportRectangle(around), true);
}

function boxOf(cell) {
  const { x, y, by } = sizes.get(cell.field);
  return cell.box.map((value, at) => (at % 2 ? y : x) + value * by);
}

async function refresh(last) {
  if (last <= model.last) return;
  const news = await get(`/api/changes?since=${model.last}`);
  if (news.mark !== report.mark) return location.reload();
  model.take(news);
  count();
  draw();
}

// The cells of the slide, and how many there are of each type.
function count() {
  const number = slides.indexOf(slide);
  cells = [...model.cells.values()].filter(
    (cell) => sizes.get(cell.field)?.slide === number && cell.label !== null && cell.label !== DELETED && !cell.left,
  );
  const counts = new Map();
  for (const { label } of cells) counts.set(label, (counts.get(label) ?? 0) + 1);
  const order = [...new Set([...model.labels, ...counts.keys()])].filter((label) => counts.has(label));
  part("types").replaceChildren(...order.map((label) => {
    const node = document.createElement("button"), swatch = document.createElement("i"), figure = document.createElement("b");
    node.type = "button";
    node.dataset.label = label;
    swatch.className = "swatch";
    swatch.style.background = model.colour(label);
    figure.textContent = counts.get(label);
    node.append(swatch, `${t(label)} `, figure);
    node.setAttribute("aria-pressed", String(!off.has(label)));
    node.addEventListener("click", () => {
      if (!off.delete(label)) off.add(label);
      node.setAttribute("aria-pressed", String(!off.has(label)));
      draw();
    });
    return node;
  }));
  const reviewed = cells.filter((cell) => cell.reviewed).length;
  part("counted").textContent = [
    tn("{n} cell", "{n} cells", cells.length), t("parts of the slide: {n}", { n: slide.parts.length }), t("reviewed: {n}", { n: reviewed }),
  ].join(", ");
}

// Pixels of the slide to those of the view: the view is never turned.
function frame() {
  const item = viewer.world.getItemAt(0);
  if (!item) return null;
  const at = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
  const far = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(slide.width, 0));
  return { x: at.x, y: at.y, scale: (far.x - at.x) / slide.width };
}

function nearest({ x, y }) {
  const view = frame();
  if (!view) return null;
  let best = null, least = Infinity;
  for (const cell of cells) {
    if (off.has(cell.label)) continue;
    const [x0, y0, x1, y1] = boxOf(cell);
    const away = Math.hypot(view.x + (x0 + x1) / 2 * view.scale - x, view.y + (y0 + y1) / 2 * view.scale - y);
    const reach = Math.max(NEAR, Math.max(x1 - x0, y1 - y0) / 2 * view.scale);
    if (away < reach && away < least) [best, least] = [cell, away];
  }
  return best;
}

function hover(position) {
  const cell = nearest(position);
  part("viewer").classList.toggle("on-cell", Boolean(cell));
  part("hint").textContent = cell
    ? [t(cell.label), t("cell {n}", { n: cell.number }), ...(cell.reviewed ? [t("reviewed")] : [])].join(", ")
    : "";
}

function draw() {
  const canvas = part("marks"), by = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = part("viewer");
  if (canvas.width !== Math.round(width * by)) canvas.width = Math.round(width * by);
  if (canvas.height !== Math.round(height * by)) canvas.height = Math.round(height * by);
  const pen = canvas.getContext("2d"), view = frame();
  pen.setTransform(by, 0, 0, by, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!view) return;
  const { x, y, scale } = view;
  if (part("show-zone").checked) {
    pen.strokeStyle = ZONE;
    pen.lineWidth = 2;
    for (const ring of slide.zone) {
      pen.beginPath();
      for (const [a, b] of ring) pen.lineTo(x + a * scale, y + b * scale);
      pen.stroke();
    }
  }
  if (part("show-parts").checked) {
    pen.lineWidth = 1;
    for (const [, x0, y0, x1, y1, , edge] of slide.parts) {
      pen.strokeStyle = edge ? EDGE : PART;
      pen.strokeRect(x + x0 * scale, y + y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale);
    }
  }
  for (const cell of cells) {
    if (off.has(cell.label)) continue;
    const [x0, y0, x1, y1] = boxOf(cell).map((value, at) => (at % 2 ? y : x) + value * scale);
    if (x1 < 0 || y1 < 0 || x0 > width || y0 > height) continue;
    mark(pen, cell, x0, y0, x1, y1);
  }
  showScale(scale);
}

function mark(pen, cell, x0, y0, x1, y1) {
  const colour = model.colour(cell.label), wide = x1 - x0 > BOX;
  const cx = (x0 + x1) / 2, cy = (y0 + y1) / 2;
  pen.beginPath();
  if (wide) pen.rect(x0, y0, x1 - x0, y1 - y0);
  else pen.arc(cx, cy, cell.reviewed ? 5 : 4, 0, 7);
  pen.strokeStyle = "#222";
  pen.lineWidth = wide ? 4 : 2;
  pen.stroke();
  if (wide) {
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.stroke();
  } else {
    pen.fillStyle = colour;
    pen.fill();
  }
  if (marked && cell.key === marked.key) {
    pen.beginPath();
    pen.arc(cx, cy, Math.max(12, (x1 - x0) * 0.8), 0, 7);
    pen.strokeStyle = "#0b5394";
    pen.lineWidth = 3;
    pen.stroke();
  }
}

// A length that reads well and takes about a hundred pixels.
function showScale(scale) {
  const um = slide.um_per_px / scale * 110, ten = 10 ** Math.floor(Math.log10(um));
  const length = [5, 2, 1].map((one) => one * ten).find((one) => one <= um) ?? ten;
  part("scale-text").textContent = length >= 1000 ? t("{n} mm", { n: length / 1000 }) : t("{n} µm", { n: length });
  part("scale-bar").style.width = `${length / slide.um_per_px * scale}px`;
}

start().catch((error) => banner(t("The map cannot be shown: {why}", { why: t(error.message) })));
