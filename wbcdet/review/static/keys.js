// Which key does what.

import { DELETED, UNCLASSIFIED } from "./model.js";

const LETTERS = { n: "neutrophil", e: "eosinophil", l: "lymphocyte", m: "monocyte", b: "basophil", a: "artefact", u: UNCLASSIFIED };

// `does` holds the gallery, the field and what the page can do.
export function setUpKeys(does) {
  document.addEventListener("keydown", (event) => onKey(event, does));
}

function onKey(event, does) {
  if (event.target.matches("input, select, textarea") || document.querySelector("dialog[open]")) return;
  // Brackets take AltGr on some keyboards, which is no Ctrl and no Alt.
  const typed = event.getModifierState("AltGraph"), control = (event.ctrlKey || event.metaKey) && !typed;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (does.fields.open && !control) {
    const plain = { Escape: does.closeFields, f: does.toggleFields, "?": () => document.getElementById("help").showModal() }[key];
    if (plain) {
      event.preventDefault();
      plain();
    }
    return;
  }
  const act = control ? controlKey(key, event, does) : event.altKey && !typed ? null : plainKey(key, event, does);
  if (!act) return;
  event.preventDefault();
  act();
}

function controlKey(key, event, { field, gallery, back }) {
  if (key === "z" && !event.shiftKey) return () => back("/api/undo");
  if (key === "y" || key === "z") return () => back("/api/redo");
  if (key === "a" && !field.open && document.getElementById("fields").hidden) return () => gallery.chooseAll();
  return null;
}

function plainKey(key, event, does) {
  const { call, field } = does;
  if (LETTERS[key]) return () => call(LETTERS[key]);
  const onButton = event.target.matches("button, a");
  const common = {
    o: does.callOther,
    d: does.toggleDrawing,
    r: does.toggleShaping,
    f: does.toggleFields,
    "?": () => document.getElementById("help").showModal(),
    Delete: () => call(DELETED),
    Backspace: () => call(DELETED),
    ...(onButton ? {} : { " ": () => call(null) }),
  };
  return common[key] || (field.open ? fieldKey(key, event, does) : galleryKey(key, event, onButton, does));
}

function galleryKey(key, event, onButton, { gallery, stepClass, openField }) {
  const select = event.shiftKey ? "range" : "none";
  const keys = {
    ArrowLeft: () => gallery.move(-1, 0, select),
    ArrowRight: () => gallery.move(1, 0, select),
    ArrowUp: () => gallery.move(0, -1, select),
    ArrowDown: () => gallery.move(0, 1, select),
    PageUp: () => gallery.page(-1, select),
    PageDown: () => gallery.page(1, select),
    Home: () => gallery.end(false, select),
    End: () => gallery.end(true, select),
    Escape: () => gallery.clear(),
    "+": () => gallery.zoom(1),
    "-": () => gallery.zoom(-1),
    "[": () => stepClass(-1),
    "]": () => stepClass(1),
    ...(onButton ? {} : { Enter: () => openField() }),
  };
  return keys[key];
}

function fieldKey(key, event, { field, closeField, showTargets, keepShape }) {
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key] || [0, 0];
  if (dx || dy) {
    if (field.drawing || field.shaping) return () => field.moveBox(dx, dy, event.shiftKey);
    if (event.shiftKey) return () => field.pan(dx, dy);
    return dx ? () => field.cellStep(dx) : () => field.step(dy);
  }
  const keys = {
    Escape: () => {
      if (field.shaping) field.stopShaping();
      else if (field.drawing) field.stopDrawing();
      else return closeField();
      return showTargets();
    },
    ...(field.shaping && !event.target.matches("button, a") ? { Enter: keepShape } : {}),
    "+": () => field.zoom(1.4),
    "-": () => field.zoom(1 / 1.4),
    0: () => field.fit(),
    x: () => field.toggleBoxes(),
  };
  return keys[key];
}
