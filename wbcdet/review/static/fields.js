// The list of fields: search and filters, so that those with missed cells are found.

const AT_ONCE = 120, SIDE = 220;

const make = (name, className, text) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

const FILTERS = [
  ["empty", "Without a cell", (one) => one.read && !one.cells.length],
  ["missed", "Nuclei outside the boxes", (one) => one.nuclei.length > 0],
  ["quality", "Doubtful quality", (one) => one.field.problems.length > 0],
  ["unlike", "Unknown ground", (one) => Boolean(one.field.unlike)],
  ["open", "Not reviewed", (one) => one.cells.some((cell) => !cell.reviewed && !cell.left)],
  ["unread", "Not read", (one) => !one.read],
];

export class FieldList {
  constructor(model, tile, does) {
    Object.assign(this, { model, tile, does });
    const part = (id) => document.getElementById(id);
    this.section = part("fields");
    this.list = part("fields-list");
    this.count = part("fields-count");
    this.search = part("fields-search");
    this.more = part("fields-more");
    this.on = new Set();
    this.most = AT_ONCE;
    this.numbers = []; // fields that pass, in the order of the list
    this.search.addEventListener("input", () => this.#again());
    // Escape empties the search first, as browsers do, and then leaves the list.
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.search.value) this.does.close();
    });
    this.more.addEventListener("click", () => {
      this.most += AT_ONCE;
      this.draw();
    });
    this.chips = FILTERS.map(([id, name]) => {
      const chip = make("button", "chip");
      chip.type = "button";
      chip.dataset.filter = id;
      chip.append(make("span", "", t(name)), make("b"));
      chip.setAttribute("aria-pressed", "false");
      chip.addEventListener("click", () => {
        if (!this.on.delete(id)) this.on.add(id);
        this.#again();
      });
      return chip;
    });
    part("fields-filters").append(...this.chips);
  }

  get open() {
    return !this.section.hidden;
  }

  show() {
    this.section.hidden = false;
    this.draw();
  }

  hide() {
    this.section.hidden = true;
  }

  #again() {
    this.most = AT_ONCE;
    this.list.scrollTop = 0;
    this.draw();
  }

  draw() {
    if (!this.open) return;
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = this.model.fields
      .map((field, number) => ({ field, number, read: field.failure === null, cells: this.model.ofField(number), nuclei: this.model.nucleiOf(number) }))
      .filter(({ field }) => this.model.group === null || field.group === this.model.group);
    const named = all.filter(({ field }) => words.every((word) => field.file.toLowerCase().includes(word)));
    for (const [at, [id, , test]] of FILTERS.entries()) {
      const chip = this.chips[at], count = named.filter(test).length;
      chip.lastChild.textContent = count;
      chip.setAttribute("aria-pressed", String(this.on.has(id)));
      chip.hidden = !this.on.has(id) && !all.some(test);
    }
    const found = named.filter((one) => FILTERS.every(([id, , test]) => !this.on.has(id) || test(one)));
    this.numbers = found.filter((one) => one.read).map((one) => one.number);
    this.count.textContent = found.length === all.length
      ? tn("{n} field", "{n} fields", all.length)
      : t("{n} of {fields}", { n: found.length, fields: tn("{n} field", "{n} fields", all.length) });
    const before = new Map([...this.list.children].map((node) => [node.dataset.field, node]));
    const nodes = found.slice(0, this.most).map((one) => this.#card(one, before.get(String(one.number))));
    const focused = document.activeElement;
    this.list.replaceChildren(...(nodes.length ? nodes : [make("p", "soft", t("No field is like that."))]));
    if (focused?.dataset?.field && focused.isConnected) focused.focus({ preventScroll: true });
    this.more.hidden = found.length <= this.most;
    this.more.textContent = t("Show more ({n} left)", { n: found.length - this.most });
  }

  #card({ field, number, read, cells, nuclei }, known) {
    const card = known || this.#newCard(field, number, read);
    const open = cells.filter((cell) => !cell.reviewed && !cell.left).length;
    const left = cells.filter((cell) => cell.left).length;
    const notes = [];
    if (!read) notes.push(["bad", t("not read: {why}", { why: field.failure })]);
    if (read && !cells.length) notes.push(["bad", t("no cell")]);
    if (nuclei.length) notes.push(["bad", tn("{n} nucleus outside the boxes", "{n} nuclei outside the boxes", nuclei.length)]);
    for (const problem of field.problems) notes.push(["bad", t(problem)]);
    if (field.unlike) notes.push(["bad", t("unknown ground")]);
    if (open) notes.push(["", t("{n} not reviewed", { n: open })]);
    else if (cells.length > left) notes.push(["done", t("✓ reviewed")]);
    const counted = cells.length ? `${tn("{n} cell", "{n} cells", cells.length)}${left ? t(", {n} in no count", { n: left }) : ""}` : "";
    card.querySelector(".cells").textContent = counted;
    card.querySelector(".notes").replaceChildren(...notes.map(([kind, text]) => make("em", kind, text)));
    return card;
  }

  #newCard(field, number, read) {
    const card = make("button", "card");
    card.type = "button";
    card.dataset.field = number;
    card.title = field.file;
    const frame = make("span", "frame");
    if (read) {
      // One tile shows the whole field, halved until it is small.
      const longest = Math.max(field.width, field.height);
      let level = 0;
      while (longest / 2 ** (level + 1) >= SIDE || this.tile * 2 ** level < longest) level += 1;
      const picture = make("img");
      picture.loading = "lazy";
      picture.decoding = "async";
      picture.alt = "";
      picture.addEventListener("error", () => frame.replaceChildren(make("span", "soft small", t("no picture"))));
      picture.src = this.model.picture(`/tile/${number}/${level}/0/0`);
      frame.append(picture);
      card.addEventListener("click", () => this.does.open(number));
    } else {
      card.disabled = true;
    }
    const name = make("strong");
    const at = field.file.lastIndexOf("/") + 1;
    name.append(make("span", "soft", field.file.slice(0, at)), field.file.slice(at));
    card.append(frame, name, make("span", "cells soft"), make("span", "notes"));
    return card;
  }
}
