// The page: keys, buttons and what they do to the cells.

import { Refused, get, listen, post } from "./api.js";
import { FieldView } from "./field.js";
import { FieldList } from "./fields.js";
import { Gallery } from "./gallery.js";
import { setUpKeys } from "./keys.js";
import { setUpLight } from "./light.js";
import { DELETED, Model, UNCLASSIFIED } from "./model.js";
import { showClasses, showDifferential } from "./panel.js";
import { setUpSigning } from "./sign.js";

const part = (id) => document.getElementById(id);
const MOST_AT_ONCE = 20000;
let model, gallery, field, fields, report, signing;
let differential = null;

async function start() {
  report = await get("/api/report");
  document.title = `${report.title}: ${t("wbcdet review")}`;
  part("title").textContent = report.title;
  part("notice").textContent = t(report.notice);
  part("made").textContent = report.models.join("; ");
  part("who").value = firstName();
  model = new Model(report);
  gallery = new Gallery(model, part("gallery"), { selected: showTargets, open: openField });
  field = new FieldView(model, report.tile, { focused: showTargets, drawn: () => field.draw() });
  fields = new FieldList(model, report.tile, { open: openListed, close: closeFields });
  signing = setUpSigning({
    ask: () => ({ mark: report.mark, last: model.last, group: groupName() }),
    who, take, showOpen, slides: report.groups, slide: groupName,
  });
  setUpSlides();
  setUpActions();
  setUpButtons();
  setUpReturns();
  setUpLight();
  setUpKeys({
    gallery, field, fields, call, callOther, back, toggleDrawing, toggleShaping, keepShape, toggleFields, closeFields,
    openField, closeField, stepClass, showTargets,
  });
  part("useful-choice").hidden = !report.useful.length;
  part("second").hidden = !report.second;
  part("sign-button").hidden = report.second;
  part("readers-link").hidden = report.second;
  part("map-link").hidden = !report.slides;
  part("map-link").addEventListener("click", () => {
    const key = field.open ? field.focus : gallery.focus;
    part("map-link").href = key ? `/map#cell=${key}` : "/map";
  });
  part("signed").hidden = report.second;
  take(report);
  gallery.element.focus();
  openAddressed();
  window.addEventListener("hashchange", openAddressed);
  if (report.notes.length) banner(report.notes.join(" "));
  listen((last) => last > model.last && refresh(), line);
}

let down = false;

// After a break everything is asked for again: what was shown at once may not have been kept.
async function line(up) {
  const said = up === null
    ? t("wbcdet review was started again, with a new token: open the address that it has printed, then this page goes on by itself. Nothing is kept from here until then.")
    : t("The server does not answer: nothing is kept now. Start wbcdet review again, and open the address that it prints.");
  banner(up ? report.notes.join(" ") : said);
  if (up && down) {
    const now = await get("/api/report");
    if (!ours(now)) return;
    model.take(now);
    await refresh();
  }
  down = !up;
}

const groupName = () => (model.group === null ? null : report.groups[model.group]);

function since() {
  const group = groupName();
  return group === null ? { since: model.last } : { since: model.last, group };
}

const refresh = async () => take(await get(`/api/changes?${new URLSearchParams(since())}`));

// The server may have been started over for another report meanwhile: that is another page.
const ours = (news) => news.mark === report.mark || location.reload();

// Shows what the server says has changed; an answer may come after a later one.
function take(news) {
  if (!ours(news)) return;
  const current = news.last >= model.last;
  model.take(news);
  show(current ? news : null);
}

function show(news) {
  // The numbers of another slide: refused writes have those of all, and the choice may have changed.
  const other = news?.differential && news.group !== groupName();
  if (other) refresh();
  else if (news?.differential) {
    differential = news.differential;
    const name = groupName() ?? (report.groups.length ? t("All slides") : t("Differential"));
    showDifferential(model, differential, name);
  }
  if (news && "signed" in news) signing.show(news.signed);
  gallery.rebuild();
  showClasses(model, gallery.sections, gallery.only, { only: showOnly, drop: (label) => call(label) });
  fields.draw();
  if (field.open) field.show(field.number, field.focus && model.cells.get(field.focus).label !== DELETED ? field.focus : null);
  showTargets();
}

// A name on the command line goes before the one that the browser remembers, until it is changed here.
function firstName() {
  if (report.given && localStorage.getItem("wbcdet-given") !== report.given) {
    localStorage.setItem("wbcdet-given", report.given);
    localStorage.setItem("wbcdet-who", report.who);
  }
  return localStorage.getItem("wbcdet-who") || report.who;
}

function who() {
  const name = part("who").value.trim();
  if (name) localStorage.setItem("wbcdet-who", name);
  return name;
}

function say(text) {
  part("says").textContent = text;
  part("says").classList.add("on");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => part("says").classList.remove("on"), 6000);
}

function banner(text) {
  part("banner").textContent = text;
  part("banner").hidden = !text;
}

// The cells that a key acts on.
function targets() {
  if (fields.open) return [];
  if (field.open) {
    const cell = field.focus && model.cells.get(field.focus);
    return cell && cell.label !== DELETED && cell.label !== null ? [cell] : [];
  }
  return gallery.targets();
}

// Calls the selected cells something; null confirms each as it is.
async function call(label) {
  if (field.open && field.shaping) await keepShape();
  if (field.open && field.drawing) return label === null || label === DELETED ? undefined : draw(label);
  const cells = targets().filter((cell) => label !== null || cell.label !== DELETED);
  if (!cells.length) return;
  if (!(await named())) return;
  const wanted = cells.map((cell) => ({ cell, label: label ?? cell.label }));
  const before = cells.map(({ label, reviewed, seen }) => ({ label, reviewed, seen }));
  const keys = new Set(cells.map((cell) => cell.key));
  const next = field.open ? null : gallery.after(keys);
  // Shown at once; what the server answers has the last word.
  for (const one of wanted) Object.assign(one.cell, { label: one.label, reviewed: true });
  gallery.chosen.clear();
  gallery.focus = next ?? gallery.focus;
  gallery.anchor = gallery.focus;
  show();
  gallery.reveal();
  if (field.open && label === DELETED) field.focus = null;
  const count = tn("{n} cell", "{n} cells", cells.length);
  // The server takes so many at once; each part is a step of its own.
  let done = null;
  for (let first = 0; first < wanted.length; first += MOST_AT_ONCE) {
    const some = wanted.slice(first, first + MOST_AT_ONCE);
    done = await send("/api/change", () => ({
      cells: some.map((one) => ({
        field: one.cell.field, cell: one.cell.id, seen: one.cell.seen, label: one.label,
      })),
    }));
    if (!done) break;
  }
  // As the server names them: "debris" has become an artefact there.
  if (done) say(label === null ? t("{cells} confirmed", { cells: count }) : `${count}: ${t(wanted[0].cell.label)}`);
  else cells.forEach((cell, at) => cell.seen === before[at].seen && Object.assign(cell, before[at]));
  if (!done) show();
}

async function keepShape() {
  const cell = model.cells.get(field.shaping), box = field.box;
  if (!cell || !(await named())) return;
  field.stopShaping();
  if (box.every((value, at) => value === cell.box[at])) return;
  const done = await send("/api/move", () => ({ field: cell.field, cell: cell.id, seen: cell.seen, box }));
  if (done) say(t("Box of cell {n} changed", { n: cell.number }));
  showTargets();
}

async function draw(label) {
  const box = field.box, number = field.number;
  if (!box || !(await named())) return;
  const done = await send("/api/draw", () => ({ field: number, box, label }));
  if (!done) return;
  field.drawnAs(...done.drawn);
  say(t("Missed cell added: {label}", { label: t(model.cells.get(done.drawn.join("/")).label) }));
}

// What undo and redo say: of cells, and where there is no step.
const BACK = {
  "/api/undo": () => [t("Undone:"), t("Nothing to undo")],
  "/api/redo": () => [t("Redone:"), t("Nothing to redo")],
};

async function back(path) {
  const [word, nothing] = BACK[path]();
  if (!(await named())) return;
  const done = await send(path, () => ({}));
  if (!done) return;
  say(done.touched.length ? `${word} ${tn("{n} cell", "{n} cells", done.touched.length)}` : nothing);
  const key = done.touched[0]?.join("/");
  if (key && !field.open) gallery.go(key);
  if (key && field.open && model.cells.get(key).field === field.number) field.show(field.number, model.cells.get(key).label ? key : null);
}

async function send(path, make) {
  try {
    const news = await post(path, () => ({ mark: report.mark, who: who(), ...since(), ...make() }));
    take(news);
    return news;
  } catch (error) {
    if (error instanceof Refused) {
      if (error.answer.cells) take(error.answer);
      say(t("Not done: {why}", { why: t(error.message) }));
    } else {
      banner(t("The server does not answer: this was not kept. Start wbcdet review again."));
    }
    return null;
  }
}

// Asks for the name of the person where it is not known yet.
async function named() {
  if (who()) return true;
  const name = await ask(t("Your name, as it is kept with every decision"));
  if (name) part("who").value = name;
  return Boolean(who());
}

function ask(title) {
  const dialog = part("ask");
  part("ask-title").textContent = title;
  part("ask-text").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  part("ask-text").focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close", () => resolve(dialog.returnValue === "ok" ? part("ask-text").value.trim() : ""), { once: true },
    );
  });
}

async function callOther() {
  if (!targets().length && !field.drawing) return;
  // Names that stand in the report come first: another spelling would be a type of its own.
  const known = part("ask-known"), there = [...known.children].map((one) => one.value);
  const given = model.sections().map((one) => one.label).filter((label) => !model.keys.get(label));
  known.prepend(...given.filter((label) => !there.includes(label)).map((label) => new Option(label, label)));
  const label = await ask(t("What is it?"));
  if (label) call(label.toLowerCase());
}

function showOnly(label) {
  fields.hide();
  gallery.only = label;
  gallery.chosen.clear();
  gallery.focus = null;
  gallery.element.scrollTop = 0;
  closeField();
  show();
}

function showOpen() {
  part("only-open").checked = model.onlyOpen = true;
  showOnly(UNCLASSIFIED);
}

function stepClass(by) {
  const labels = [null, ...gallery.sections.map((one) => one.label)];
  showOnly(labels[(labels.indexOf(gallery.only) + by + labels.length) % labels.length]);
}

function openField(key) {
  const cell = model.cells.get(key ?? gallery.focus);
  // Where there is no cell there may be missed ones.
  const number = cell ? cell.field : field.first();
  if (number < 0) return;
  openNumber(number, cell ? cell.key : null);
}

function openNumber(number, key) {
  part("gallery").hidden = true;
  fields.hide();
  field.show(number, key);
  part("view").focus();
  showTargets();
}

// A field of the list; the steps to the next one stay within the list as it was.
function openListed(number) {
  const first = model.ofField(number)[0];
  openNumber(number, first ? first.key : null);
  field.list = [...fields.numbers];
  document.getElementById("field-close").firstChild.textContent = `${t("← Fields")} `;
}

// What the page of two readers and the map lead to.
function openAddressed() {
  const [kind, where] = location.hash.slice(1).split("=");
  if (kind === "cell" && model.cells.get(where)?.label != null) openNumber(model.cells.get(where).field, where);
  else if (kind === "field" && model.fields[where]?.failure === null) openNumber(Number(where), null);
  if (location.hash) history.replaceState(null, "", "/");
}

function toggleFields() {
  if (fields.open) return closeFields();
  field.list = null;
  closeField();
  part("gallery").hidden = true;
  fields.show();
  part("fields-button").setAttribute("aria-pressed", "true");
  showTargets();
  return part("fields-search").focus();
}

function closeFields() {
  if (!fields.open) return;
  fields.hide();
  showGallery();
}

function showGallery() {
  part("fields-button").setAttribute("aria-pressed", "false");
  part("gallery").hidden = false;
  gallery.layout();
  gallery.reveal();
  gallery.element.focus();
  showTargets();
}

function closeField() {
  if (!field.open) return;
  const key = field.focus, listed = field.list !== null, number = field.number;
  field.close();
  document.getElementById("field-close").firstChild.textContent = `${t("← Gallery")} `;
  if (listed) {
    fields.show();
    fields.list.querySelector(`[data-field="${number}"]`)?.focus();
    return showTargets();
  }
  showGallery();
  if (key && gallery.places.has(key)) gallery.go(key);
  return undefined;
}

function toggleShaping() {
  if (!field.open) openField();
  if (!field.open) return;
  if (field.shaping) field.stopShaping();
  else if (!field.startShaping()) say(t("Choose a cell first: click its box"));
  part("view").focus();
  showTargets();
}

function toggleDrawing() {
  if (!field.open) {
    openField();
    if (!field.open) return;
  }
  if (field.drawing) field.stopDrawing();
  else field.startDrawing();
  part("view").focus();
  showTargets();
}

function setUpSlides() {
  if (!report.groups.length) return;
  part("slide-choice").hidden = false;
  part("slide").append(new Option(t("all slides"), ""), ...report.groups.map((name, at) => new Option(name, at)));
  part("slide").addEventListener("change", async () => {
    const chosen = part("slide").value;
    model.group = chosen === "" ? null : Number(chosen);
    gallery.focus = null;
    gallery.chosen.clear();
    gallery.element.scrollTop = 0;
    const listed = fields.open;
    if (!listed) closeField();
    await refresh();
  });
}

const button = (text, key, does, label) => {
  const node = document.createElement("button");
  node.type = "button";
  if (label) {
    const swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.style.background = model.colour(label);
    node.append(swatch);
    node.dataset.label = label;
  }
  node.append(t(text), " ");
  if (key) node.append(Object.assign(document.createElement("kbd"), { textContent: key }));
  node.addEventListener("click", does);
  return node;
};

function setUpActions() {
  const names = report.labels.filter(({ label }) => label !== DELETED);
  const several = button("Select several", "", () => {
    gallery.several = !gallery.several;
    several.setAttribute("aria-pressed", String(gallery.several));
    if (!gallery.several) gallery.clear();
  });
  several.id = "several";
  several.setAttribute("aria-pressed", "false");
  const count = Object.assign(document.createElement("span"), { id: "count" });
  part("actions").append(
    count, several,
    button("Confirm", "Space", () => call(null)),
    ...names.map(({ label, key }) => button(label, key, () => call(label), label)),
    button("other", "O", callOther),
    button("delete", "Del", () => call(DELETED)),
    button("Field", "Enter", () => (field.open ? closeField() : openField())),
  );
}

function setUpButtons() {
  const on = (id, does) => part(id).addEventListener("click", does);
  on("undo", () => back("/api/undo"));
  on("redo", () => back("/api/redo"));
  on("help-button", () => part("help").showModal());
  on("sign-button", () => signing.open());
  on("field-close", closeField);
  on("field-back", () => field.step(-1));
  on("field-next", () => field.step(1));
  on("field-draw", toggleDrawing);
  on("field-shape", toggleShaping);
  on("shape-keep", keepShape);
  on("fields-button", toggleFields);
  on("fields-close", closeFields);
  on("field-boxes", () => field.toggleBoxes());
  on("field-in", () => field.zoom(1.4));
  on("field-out", () => field.zoom(1 / 1.4));
  on("field-fit", () => field.fit());
  part("zoom").value = gallery.size;
  part("zoom").addEventListener("input", () => gallery.zoom(Number(part("zoom").value) - gallery.size));
  part("only-open").addEventListener("change", () => {
    model.onlyOpen = part("only-open").checked;
    show();
  });
  part("only-useful").addEventListener("change", () => {
    model.onlyUseful = part("only-useful").checked;
    show();
  });
  part("who").addEventListener("change", who);
}

// What was clicked gives the keys back to the cells: Space would press a button again and name the next cell, where
// it is to confirm it, and a letter would choose another slide. Who goes to a button by Tab stays on it.
function setUpReturns() {
  let byPointer = false;
  const toCells = () => {
    if (byPointer && !fields.open) (field.open ? part("view") : gallery.element).focus({ preventScroll: true });
  };
  document.addEventListener("pointerdown", () => { byPointer = true; }, true);
  document.addEventListener("keydown", () => { byPointer = false; }, true);
  // Before the button acts, which may have its own place for the keys, as a dialog that comes back to where they were.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.closest("#top, #classes, #field-head, #actions") && !button.closest("#light")) toCells();
  }, true);
  part("slide").addEventListener("change", toCells);
  for (const id of ["only-open", "only-useful", "zoom"]) part(id).addEventListener("click", toCells);
}

function showTargets() {
  const cells = targets();
  part("shape-keep").hidden = !field.shaping;
  for (const node of part("actions").querySelectorAll("button")) node.disabled = fields.open;
  part("count").textContent = fields.open
    ? t("choose a field")
    : field.drawing
    ? t("missed cell:")
    : cells.length > 1 ? t("{n} selected:", { n: cells.length }) : cells.length ? `${t(cells[0].label)}:` : t("nothing selected");
  part("zoom").value = gallery.size;
}

start().catch((error) => banner(t("The report cannot be shown: {why}", { why: error.message })));
