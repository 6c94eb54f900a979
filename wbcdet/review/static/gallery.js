// The gallery: only the rows in sight are in the page, so that 10,000 cells scroll like ten.

import { UNCLASSIFIED } from "./model.js";

const SIZES = [80, 104, 144, 200, 280];
const GAP = 8, CAPTION = 20, HEAD = 40, AHEAD = 400;

export class Gallery {
  constructor(model, element, does) {
    Object.assign(this, { model, element, does });
    this.space = element.querySelector("#space");
    this.size = 1;
    this.only = null; // the one label that is shown; null shows all
    this.chosen = new Set();
    this.focus = null;
    this.anchor = null;
    this.several = false; // a tap adds to the selection
    this.shown = new Map();
    this.rows = [];
    element.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(element);
    this.space.addEventListener("click", (event) => this.#click(event));
    this.space.addEventListener("dblclick", (event) => this.#open(event));
    this.space.addEventListener("dragstart", (event) => this.#drag(event));
  }

  rebuild() {
    this.sections = this.model.sections();
    this.layout();
  }

  layout() {
    if (!this.sections) return;
    const side = SIZES[this.size], width = this.element.clientWidth - GAP;
    if (width <= 0) return; // hidden
    const columns = Math.max(1, Math.floor(width / (side + GAP)));
    this.columns = columns;
    this.rows = [];
    this.flat = [];
    this.places = new Map();
    let top = 0;
    for (const section of this.sections) {
      if (this.only !== null && section.label !== this.only) continue;
      if (!section.cells.length && this.only === null) continue;
      this.rows.push({ top, height: HEAD, section });
      top += HEAD;
      for (let first = 0; first < section.cells.length; first += columns) {
        const cells = section.cells.slice(first, first + columns);
        for (const cell of cells) {
          this.places.set(cell.key, { at: this.flat.length, row: this.rows.length });
          this.flat.push(cell);
        }
        this.rows.push({ top, height: side + CAPTION + GAP, cells });
        top += side + CAPTION + GAP;
      }
    }
    this.space.style.height = `${top + GAP}px`;
    this.space.classList.toggle("empty", !this.flat.length);
    for (const key of this.chosen) if (!this.places.has(key)) this.chosen.delete(key);
    if (this.focus !== null && !this.places.has(this.focus)) this.focus = null;
    if (this.focus === null && this.flat.length) this.focus = this.flat[0].key;
    this.draw();
  }

  draw() {
    const from = this.element.scrollTop - AHEAD;
    const to = this.element.scrollTop + this.element.clientHeight + AHEAD;
    const keep = new Set();
    let low = 0, high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].top + this.rows[middle].height < from) low = middle + 1;
      else high = middle;
    }
    for (let at = low; at < this.rows.length && this.rows[at].top < to; at += 1) {
      const row = this.rows[at];
      if (row.section) {
        keep.add(`head ${row.section.label}`);
        this.#head(row);
      } else {
        row.cells.forEach((cell, column) => {
          keep.add(cell.key);
          this.#tile(cell, row.top, column);
        });
      }
    }
    for (const [key, node] of this.shown) {
      if (keep.has(key)) continue;
      node.querySelector("img")?.removeAttribute("src"); // stops a picture that is not needed any more
      node.remove();
      this.shown.delete(key);
    }
    if (this.focus) this.element.setAttribute("aria-activedescendant", `cell-${this.focus}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  #head(row) {
    const { label, total, open } = row.section, key = `head ${label}`;
    let node = this.shown.get(key);
    if (!node) {
      node = document.createElement("div");
      node.className = "head";
      node.setAttribute("role", "presentation");
      node.append(document.createElement("i"), document.createElement("b"), document.createElement("span"));
      this.space.append(node);
      this.shown.set(key, node);
    }
    node.firstChild.style.background = this.model.colour(label);
    node.style.top = `${row.top}px`;
    node.children[1].textContent = t(label);
    node.children[2].textContent = `${total}${open ? t(", {n} not reviewed", { n: open }) : ""}`;
  }

  #tile(cell, top, column) {
    const side = SIZES[this.size];
    let node = this.shown.get(cell.key);
    if (!node) {
      node = document.createElement("div");
      node.className = "tile";
      node.id = `cell-${cell.key}`;
      node.dataset.key = cell.key;
      node.draggable = true;
      node.setAttribute("role", "option");
      const picture = document.createElement("img");
      picture.alt = "";
      picture.draggable = false;
      picture.decoding = "async";
      picture.addEventListener("error", () => picture.getAttribute("src") && node.classList.add("blank"));
      const badge = document.createElement("b");
      const caption = document.createElement("span");
      node.append(picture, badge, caption);
      this.space.append(node);
      this.shown.set(cell.key, node);
    }
    const pixels = side * (window.devicePixelRatio || 1);
    const wanted = pixels <= 120
      ? this.model.cellPicture(cell, "thumb")
      : this.model.cellPicture(cell, "crop", pixels <= 220 ? "/192" : "/384");
    const [picture, badge, caption] = node.children;
    if (picture.getAttribute("src") !== wanted) {
      node.classList.remove("blank");
      picture.src = wanted;
    }
    node.style.width = `${side}px`;
    node.style.transform = `translate(${GAP + column * (side + GAP)}px, ${top}px)`;
    picture.style.width = picture.style.height = `${side}px`;
    badge.textContent = this.model.letter(cell.label) + (cell.reviewed ? " ✓" : "");
    badge.style.borderColor = this.model.colour(cell.label);
    const says = captionOf(cell);
    caption.replaceChildren(Object.assign(document.createElement("i"), { textContent: cell.number }), says);
    const chosen = this.chosen.has(cell.key), focused = cell.key === this.focus;
    node.classList.toggle("chosen", chosen);
    node.classList.toggle("focus", focused);
    node.classList.toggle("reviewed", cell.reviewed);
    node.setAttribute("aria-selected", String(chosen || (focused && !this.chosen.size)));
    node.setAttribute("aria-posinset", this.places.get(cell.key).at + 1);
    node.setAttribute("aria-setsize", this.flat.length);
    const state = cell.reviewed ? t("reviewed") : t("not reviewed");
    const named = t("cell {n}", { n: cell.number }), label = t(cell.label);
    node.setAttribute("aria-label", `${named}, ${label}, ${says}, ${state}`);
    node.title = `${this.model.fields[cell.field].file}, ${named}: ${label}, ${says}${cell.moved ? `, ${t("box moved")}` : ""}`;
  }

  // The cells that a key acts on.
  targets() {
    if (this.chosen.size) return this.flat.filter((cell) => this.chosen.has(cell.key));
    return this.focus ? [this.model.cells.get(this.focus)] : [];
  }

  // The cell to go to when these have been dealt with.
  after(keys) {
    const at = this.focus ? this.places.get(this.focus).at : 0;
    const free = (cell) => cell && !keys.has(cell.key);
    for (let next = at; next < this.flat.length; next += 1) if (free(this.flat[next])) return this.flat[next].key;
    for (let next = at; next >= 0; next -= 1) if (free(this.flat[next])) return this.flat[next].key;
    return this.focus;
  }

  go(key, select = "none") {
    if (!this.places.has(key)) return;
    if (select === "range") {
      this.anchor ??= this.focus ?? key;
      const [a, b] = [this.places.get(this.anchor)?.at ?? 0, this.places.get(key).at].sort((x, y) => x - y);
      this.chosen = new Set(this.flat.slice(a, b + 1).map((cell) => cell.key));
    } else if (select === "toggle") {
      if (!this.chosen.size && this.focus && this.focus !== key && !this.several) this.chosen.add(this.focus);
      if (this.chosen.has(key)) this.chosen.delete(key);
      else this.chosen.add(key);
      this.anchor = key;
    } else {
      this.chosen.clear();
      this.anchor = key;
    }
    this.focus = key;
    this.reveal();
    this.does.selected();
  }

  reveal() {
    const row = this.focus && this.rows[this.places.get(this.focus)?.row];
    if (row) {
      const view = this.element, above = row === this.rows[1] ? 0 : row.top - GAP;
      if (above < view.scrollTop) view.scrollTop = above;
      const below = row.top + row.height + GAP;
      if (below > view.scrollTop + view.clientHeight) view.scrollTop = below - view.clientHeight;
    }
    this.draw();
  }

  // Arrow keys; a step over rows keeps the column.
  move(dx, dy, select) {
    if (!this.focus) return;
    const { at, row } = this.places.get(this.focus);
    if (dx) {
      const next = this.flat[at + dx];
      if (next) this.go(next.key, select);
      return;
    }
    const column = this.rows[row].cells.findIndex((cell) => cell.key === this.focus);
    let next = row, left = Math.abs(dy), best = row;
    while (left > 0) {
      next += Math.sign(dy);
      if (!this.rows[next]) break;
      if (this.rows[next].cells) { best = next; left -= 1; }
    }
    const cells = this.rows[best].cells;
    this.go(cells[Math.min(column, cells.length - 1)].key, select);
  }

  page(sign, select) {
    const height = SIZES[this.size] + CAPTION + GAP;
    this.move(0, sign * Math.max(1, Math.floor(this.element.clientHeight / height) - 1), select);
  }

  end(last, select) {
    const cell = this.flat[last ? this.flat.length - 1 : 0];
    if (cell) this.go(cell.key, select);
  }

  // All cells of the type that the focus is in.
  chooseAll() {
    const label = this.focus && this.model.cells.get(this.focus).label;
    this.chosen = new Set(this.flat.filter((cell) => cell.label === label).map((cell) => cell.key));
    this.draw();
    this.does.selected();
  }

  clear() {
    this.chosen.clear();
    this.draw();
    this.does.selected();
  }

  zoom(step) {
    this.size = Math.min(SIZES.length - 1, Math.max(0, this.size + step));
    this.layout();
    this.reveal();
    this.does.selected();
  }

  #key(event) {
    return event.target.closest(".tile")?.dataset.key;
  }

  #click(event) {
    const key = this.#key(event);
    if (!key) return;
    this.element.focus({ preventScroll: true });
    const toggle = event.ctrlKey || event.metaKey || this.several;
    this.go(key, event.shiftKey ? "range" : toggle ? "toggle" : "none");
  }

  #open(event) {
    const key = this.#key(event);
    if (key && !this.several) this.does.open(key);
  }

  #drag(event) {
    const key = this.#key(event);
    if (!key) return;
    if (!this.chosen.has(key)) this.go(key);
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", key);
  }
}

export function captionOf(cell) {
  if (cell.machine === null) return t("drawn");
  if (cell.label !== cell.machine) return t("was {label}", { label: t(cell.machine) });
  if (cell.label === UNCLASSIFIED) return t(cell.reason || "");
  return cell.score.toFixed(2);
}
