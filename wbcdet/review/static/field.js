// A cell within its field: the picture, boxes over it, and a box to draw.

import { keyOf } from "./model.js";
import { Tiles } from "./tiles.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST_NAMED = 400;

export class FieldView {
  constructor(model, tile, does) {
    Object.assign(this, { model, does });
    const part = (id) => document.getElementById(id);
    this.section = part("field");
    this.view = part("view");
    this.tiles = new Tiles(part("tiles"), tile, (number, text) => number === this.number && this.#say(text));
    this.svg = part("boxes");
    this.note = part("view-note");
    this.says = part("field-says");
    this.number = null;
    this.focus = null;
    this.drawing = false;
    this.box = null; // the box that is being drawn or moved, pixels of the field
    this.shaping = null; // the cell whose box is being moved
    this.list = null; // fields to step through; null steps through all
    this.boxes = true;
    this.pointers = new Map();
    new ResizeObserver(() => this.#resized()).observe(this.view);
    this.view.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      this.view.addEventListener(kind, (event) => this.#pointer(event));
    }
  }

  get open() {
    return this.number !== null;
  }

  // Shows a field, with a cell in the middle where one is given.
  show(number, key = null) {
    const other = number !== this.number;
    this.number = number;
    this.focus = key;
    this.section.hidden = false;
    if (this.shaping && (other || this.shaping !== key)) this.stopShaping();
    if (other) {
      this.tiles.clear();
      this.stopDrawing();
      this.note.hidden = true;
      this.scale = null;
    }
    const field = this.model.fields[number];
    const count = this.model.ofField(number).length;
    const about = field.problems.length ? `; ${field.problems.map((one) => t(one)).join(", ")}` : "";
    const folder = document.createElement("span");
    folder.textContent = field.file.slice(0, field.file.lastIndexOf("/") + 1);
    document.getElementById("field-name").replaceChildren(folder,
      `${field.file.slice(folder.textContent.length)} (${t("{n} of {total}", { n: number + 1, total: this.model.fields.length })}), ${tn("{n} cell", "{n} cells", count)}${about}`);
    if (field.failure !== null) this.#say(t("This field could not be read: {why}", { why: field.failure }));
    if (this.scale === null) this.#place();
    else if (key) this.#center(key);
    this.draw();
  }

  close() {
    this.number = null;
    this.section.hidden = true;
    this.list = null;
    this.stopShaping();
    this.stopDrawing();
    this.tiles.clear();
  }

  // The first readable field of the slide, -1 without one.
  first() {
    return this.model.fields.findIndex((_, number) => this.#readable(number));
  }

  // The next field with something to see: cells or not, but readable.
  step(by) {
    const next = this.list ? this.#nextInList(by) : this.#next(by);
    if (next === undefined) return;
    const first = this.model.ofField(next)[0];
    this.show(next, first ? first.key : null);
    this.does.focused(this.focus);
  }

  #next(by) {
    let next = this.number + by;
    while (this.model.fields[next] && !this.#readable(next)) next += by;
    return this.model.fields[next] ? next : undefined;
  }

  // A field that has left the list, since a cell was marked in it, still has its place.
  #nextInList(by) {
    return by > 0
      ? this.list.find((number) => number > this.number)
      : this.list.findLast((number) => number < this.number);
  }

  #readable(number) {
    const { failure, group } = this.model.fields[number];
    return failure === null && (this.model.group === null || group === this.model.group);
  }

  cellStep(by) {
    const cells = this.model.ofField(this.number);
    if (!cells.length) return;
    const at = cells.findIndex((cell) => cell.key === this.focus);
    const next = cells[at + by] || (at < 0 ? cells[0] : null);
    if (!next) return this.step(by);
    this.focus = next.key;
    this.#center(next.key);
    this.draw();
    this.does.focused(next.key);
  }

  zoom(by, x = this.view.clientWidth / 2, y = this.view.clientHeight / 2) {
    const least = Math.min(this.#fitScale(), 1), scale = Math.min(8, Math.max(least, this.scale * by));
    this.x += x / this.scale - x / scale;
    this.y += y / this.scale - y / scale;
    this.scale = scale;
    this.draw();
  }

  fit() {
    const { width, height } = this.model.fields[this.number];
    this.scale = this.#fitScale();
    this.x = (width - this.view.clientWidth / this.scale) / 2;
    this.y = (height - this.view.clientHeight / this.scale) / 2;
    this.draw();
  }

  pan(dx, dy) {
    this.x += (dx * this.view.clientWidth) / 4 / this.scale;
    this.y += (dy * this.view.clientHeight) / 4 / this.scale;
    this.draw();
  }

  toggleBoxes() {
    this.boxes = !this.boxes;
    document.getElementById("field-boxes").setAttribute("aria-pressed", String(this.boxes));
    this.draw();
  }

  // Begins with a box of a cell's size in the middle, for the keyboard; a drag draws another one.
  startDrawing() {
    this.stopShaping();
    this.drawing = true;
    document.getElementById("field-draw").setAttribute("aria-pressed", "true");
    this.view.classList.add("drawing");
    const cells = this.model.ofField(this.number).map((cell) => cell.box);
    const sides = cells.map((box) => Math.max(box[2] - box[0], box[3] - box[1])).sort((a, b) => a - b);
    const half = (sides[sides.length >> 1] || 80 / this.scale) / 2;
    const x = this.x + this.view.clientWidth / 2 / this.scale;
    const y = this.y + this.view.clientHeight / 2 / this.scale;
    this.box = [x - half, y - half, x + half, y + half];
    this.draw();
  }

  stopDrawing() {
    this.drawing = false;
    this.box = null;
    this.view.classList.remove("drawing");
    document.getElementById("field-draw").setAttribute("aria-pressed", "false");
    if (this.open) this.draw();
  }

  // The box of the cell in focus, to be moved by its middle and resized by its corners and sides.
  startShaping() {
    const cell = this.focus && this.model.cells.get(this.focus);
    if (!cell) return false;
    this.stopDrawing();
    this.shaping = cell.key;
    this.box = [...cell.box];
    this.view.classList.add("shaping");
    document.getElementById("field-shape").setAttribute("aria-pressed", "true");
    this.draw();
    return true;
  }

  stopShaping() {
    if (this.shaping === null) return;
    this.shaping = null;
    this.box = null;
    this.view.classList.remove("shaping");
    document.getElementById("field-shape").setAttribute("aria-pressed", "false");
    if (this.open) this.draw();
  }

  // Which sides of the box a pointer holds: -1 and 1 are the sides, 0 neither, null is beside it.
  #grip([x, y]) {
    const [x0, y0, x1, y1] = this.box, reach = 14 / this.scale;
    if (x < x0 - reach || x > x1 + reach || y < y0 - reach || y > y1 + reach) return null;
    const side = (at, low, high) => {
      const near = Math.min(reach, (high - low) / 4);
      return at < low + near ? -1 : at > high - near ? 1 : 0;
    };
    return [side(x, x0, x1), side(y, y0, y1)];
  }

  #shape(pointer, [x, y]) {
    if (!pointer.grip) return;
    const { width, height } = this.model.fields[this.number];
    const dx = x - pointer.inField[0], dy = y - pointer.inField[1], [h, v] = pointer.grip;
    const box = [...pointer.box];
    if (!h && !v) {
      const within = (move, low, high, size) => Math.min(Math.max(move, -low), size - high);
      const right = within(dx, box[0], box[2], width), down = within(dy, box[1], box[3], height);
      this.box = [box[0] + right, box[1] + down, box[2] + right, box[3] + down];
      return;
    }
    const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
    if (h < 0) box[0] = clamp(box[0] + dx, 0, box[2] - 6);
    if (h > 0) box[2] = clamp(box[2] + dx, box[0] + 6, width);
    if (v < 0) box[1] = clamp(box[1] + dy, 0, box[3] - 6);
    if (v > 0) box[3] = clamp(box[3] + dy, box[1] + 6, height);
    this.box = box;
  }

  moveBox(dx, dy, resize) {
    const step = 8 / this.scale, box = this.box;
    if (resize) {
      box[2] = Math.max(box[0] + 6, box[2] + dx * step);
      box[3] = Math.max(box[1] + 6, box[3] + dy * step);
    } else {
      box[0] += dx * step; box[2] += dx * step;
      box[1] += dy * step; box[3] += dy * step;
    }
    this.draw();
  }

  draw() {
    if (!this.open || this.scale === null) return;
    this.tiles.draw(this);
    this.#drawBoxes();
    const cell = this.focus && this.model.cells.get(this.focus);
    this.says.textContent = this.shaping
      ? t("Box of the cell: drag it, its corners or sides, or use the arrows (Shift: size). Enter keeps it, Esc leaves it as it was.")
      : this.drawing
      ? t("Missed cell: draw a box around it, or move this one with the arrows (Shift: size); then press the key of its type.")
      : cell ? describe(cell) : "";
  }

  #drawBoxes() {
    const parts = [];
    if (this.boxes) {
      const right = this.x + this.view.clientWidth / this.scale;
      const bottom = this.y + this.view.clientHeight / this.scale;
      const inView = (box) => box[2] > this.x && box[0] < right && box[3] > this.y && box[1] < bottom;
      const seen = this.model.ofField(this.number).filter(({ box }) => inView(box));
      for (const cell of seen) if (cell.key !== this.shaping) parts.push(...this.#boxOf(cell, seen.length <= MOST_NAMED));
      for (const box of this.model.nucleiOf(this.number).filter(inView)) {
        parts.push(this.#rect(box, "nucleus"), this.#text(box, t("missed?")));
      }
    }
    if (this.box) parts.push(this.#rect(this.box, this.shaping ? "new shaped" : "new"));
    if (this.shaping) parts.push(...this.#handles());
    this.svg.replaceChildren(...parts);
  }

  #handles() {
    const [x0, y0, x1, y1] = this.box, size = 9 / this.scale;
    const xs = [x0, (x0 + x1) / 2, x1], ys = [y0, (y0 + y1) / 2, y1];
    return xs.flatMap((x, h) => ys.map((y, v) => [x, y, h, v]))
      .filter(([, , h, v]) => h !== 1 || v !== 1)
      .map(([x, y]) => this.#rect([x - size / 2, y - size / 2, x + size / 2, y + size / 2], "handle"));
  }

  #boxOf(cell, named) {
    const rim = this.#rect(cell.box, "rim"), line = this.#rect(cell.box, "line");
    line.style.stroke = this.model.colour(cell.label);
    if (!cell.reviewed) line.classList.add("open");
    if (cell.left) line.classList.add("left");
    if (cell.key === this.focus) rim.classList.add("focus");
    if (!named) return [rim, line];
    const says = `${this.model.letter(cell.label)} ${cell.number}${cell.reviewed ? " ✓" : ""}`;
    return [rim, line, this.#text(cell.box, says)];
  }

  #text(box, says) {
    const text = document.createElementNS(SVG, "text");
    text.setAttribute("x", (box[0] - this.x) * this.scale);
    text.setAttribute("y", (box[1] - this.y) * this.scale - 6);
    text.textContent = says;
    return text;
  }

  #rect(box, name) {
    const node = document.createElementNS(SVG, "rect");
    node.setAttribute("class", name);
    node.setAttribute("x", (Math.min(box[0], box[2]) - this.x) * this.scale);
    node.setAttribute("y", (Math.min(box[1], box[3]) - this.y) * this.scale);
    node.setAttribute("width", Math.abs(box[2] - box[0]) * this.scale);
    node.setAttribute("height", Math.abs(box[3] - box[1]) * this.scale);
    return node;
  }

  #say(text) {
    this.note.textContent = text;
    this.note.hidden = false;
  }

  #fitScale() {
    const { width, height } = this.model.fields[this.number];
    return Math.min(this.view.clientWidth / (width || 1), this.view.clientHeight / (height || 1));
  }

  // The whole field where that shows the cell large enough, else closer.
  #place() {
    if (!this.view.clientWidth) return;
    this.fit();
    const cell = this.focus && this.model.cells.get(this.focus);
    // Where a cell may have been missed, the whole field is to be seen.
    if (!cell || this.model.nucleiOf(this.number).length) return;
    const side = Math.max(cell.box[2] - cell.box[0], cell.box[3] - cell.box[1]);
    if (side * this.scale < 70) this.scale = Math.min(2, 110 / side);
    this.#center(this.focus);
  }

  #center(key) {
    const { box } = this.model.cells.get(key), { width, height } = this.model.fields[this.number];
    const across = this.view.clientWidth / this.scale, down = this.view.clientHeight / this.scale;
    const along = (middle, size, shown) =>
      size <= shown ? (size - shown) / 2 : Math.min(size - shown, Math.max(0, middle - shown / 2));
    this.x = along((box[0] + box[2]) / 2, width, across);
    this.y = along((box[1] + box[3]) / 2, height, down);
  }

  #resized() {
    if (!this.open || !this.view.clientWidth) return;
    if (this.scale === null) this.#place();
    this.draw();
  }

  #at(event) {
    const frame = this.view.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  #wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), ...this.#at(event));
  }

  #pointer(event) {
    const [x, y] = this.#at(event), inField = [this.x + x / this.scale, this.y + y / this.scale];
    if (event.type === "pointerdown") {
      if (event.button !== 0) return;
      this.view.setPointerCapture(event.pointerId);
      this.view.focus({ preventScroll: true });
      const hold = this.shaping ? { grip: this.#grip(inField), box: [...this.box] } : {};
      this.pointers.set(event.pointerId, { x, y, start: [x, y], inField, ...hold });
      return;
    }
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) return;
    if (event.type === "pointermove") {
      const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, one]) => one);
      if (others.length === 1) {
        const before = Math.hypot(pointer.x - others[0].x, pointer.y - others[0].y);
        const now = Math.hypot(x - others[0].x, y - others[0].y);
        if (before > 0) this.zoom(now / before, (x + others[0].x) / 2, (y + others[0].y) / 2);
      } else if (this.shaping && pointer.grip) {
        this.#shape(pointer, inField);
      } else if (this.drawing) {
        this.box = [...pointer.inField, ...inField];
      } else {
        this.x -= (x - pointer.x) / this.scale;
        this.y -= (y - pointer.y) / this.scale;
      }
      pointer.x = x;
      pointer.y = y;
      this.draw();
      return;
    }
    this.pointers.delete(event.pointerId);
    const still = Math.hypot(x - pointer.start[0], y - pointer.start[1]) < 5;
    if (this.drawing) {
      if (this.box) this.box = [
        Math.min(this.box[0], this.box[2]), Math.min(this.box[1], this.box[3]),
        Math.max(this.box[0], this.box[2]), Math.max(this.box[1], this.box[3]),
      ];
      if (!still) this.does.drawn();
    } else if (still && event.type === "pointerup" && !this.shaping) {
      this.#choose(inField);
    }
  }

  #choose([x, y]) {
    const hits = this.model.ofField(this.number).filter(
      ({ box }) => x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3],
    );
    const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
    hits.sort((a, b) => area(a) - area(b));
    if (!hits.length) return;
    this.focus = hits[0].key;
    this.draw();
    this.does.focused(this.focus);
  }

  // The key of the box that was drawn, once it is a cell.
  drawnAs(field, id) {
    this.stopDrawing();
    this.focus = keyOf(field, id);
    this.show(this.number, this.focus);
    this.does.focused(this.focus);
  }
}

function describe(cell) {
  const machine = cell.machine === null
    ? t("drawn by a person")
    : t("machine: {label}, best score {score}", {
        label: `${t(cell.machine)}${cell.reason && cell.label === cell.machine ? ` (${t(cell.reason)})` : ""}`,
        score: cell.score.toFixed(2),
      });
  const left = cell.left ? `; ${t("in no count ({why})", { why: t(cell.left) })}` : "";
  const by = cell.reviewed ? `; ${t("reviewed by {name}", { name: cell.who })}` : `; ${t("not reviewed")}`;
  const box = cell.moved ? `; ${t("box moved")}` : "";
  return `${t("Cell {n}", { n: cell.number })}: ${t(cell.label)}; ${machine}${by}${box}${left}`;
}
