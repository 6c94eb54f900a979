// The cells as they stand, sorted into types; knows nothing of how they are shown.

export const UNCLASSIFIED = "unclassified";
export const DELETED = "deleted";
export const ARTEFACT = "artefact";

export const keyOf = (field, cell) => `${field}/${cell}`;

function fromRow(row) {
  const [field, id, label, reviewed, seen, box, machine, score, reason, left, who, number, moved] = row;
  return {
    key: keyOf(field, id), field, id, label, reviewed: Boolean(reviewed), seen, box, machine,
    score, reason, left, who, number, moved: Boolean(moved),
  };
}

// Doubt: of the unclassified those first that nearly had a name, of the others the lowest score.
function byDoubt(a, b) {
  if (a.machine !== b.machine) return a.machine < b.machine ? -1 : 1;
  if (a.machine === UNCLASSIFIED) {
    if (a.reason !== b.reason) return (a.reason || "") < (b.reason || "") ? -1 : 1;
    return b.score - a.score || a.field - b.field;
  }
  return a.score - b.score || a.field - b.field;
}

export class Model {
  constructor(report) {
    this.labels = report.labels.map((one) => one.label);
    this.keys = new Map(report.labels.map((one) => [one.label, one.key]));
    this.colours = new Map([
      ...report.labels.map((one) => [one.label, one.colour]), ...Object.entries(report.colours),
    ]);
    this.fields = report.fields;
    this.mark = report.mark;
    this.cells = new Map();
    this.order = [];
    this.last = report.last;
    this.group = null; // number of the slide that is shown; null shows all
    this.onlyOpen = false;
    // Cells whose review teaches most, the first ones first (review --most-useful).
    this.useful = new Map(report.useful.map(([field, cell], place) => [keyOf(field, cell), place]));
    this.onlyUseful = this.useful.size > 0;
    for (const row of report.cells) this.put(fromRow(row));
    const place = (cell) => this.useful.get(cell.key) ?? this.useful.size;
    this.order.sort((a, b) => place(a) - place(b) || byDoubt(a, b));
    this.byField = null;
  }

  put(cell) {
    const known = this.cells.get(cell.key);
    if (known) {
      if (cell.seen >= known.seen) Object.assign(known, cell);
    } else {
      this.cells.set(cell.key, cell);
      this.order.push(cell);
      this.byField = null;
    }
  }

  // Takes what the server says has changed.
  take(news) {
    for (const row of news.cells) this.put(fromRow(row));
    for (const [label, colour] of Object.entries(news.colours)) this.colours.set(label, colour);
    this.last = Math.max(this.last, news.last);
  }

  // The address of a picture; with the mark of the report, as the browser keeps pictures by address.
  picture(path) {
    return `${path}?mark=${this.mark}`;
  }

  // The address of a cell's picture; another one once its box was moved.
  cellPicture(cell, kind, side = "") {
    const moved = cell.moved ? `&box=${cell.box.join()}` : "";
    return `${this.picture(`/${kind}/${cell.key}${side}`)}${moved}`;
  }

  colour(label) {
    // Until the server has answered to a name that is new.
    return this.colours.get(label) || "#787878";
  }

  // Black or white, whichever is read better on the colour of a label.
  ink(label) {
    const [red, green, blue] = this.colour(label).match(/\w\w/g).map((part) => (parseInt(part, 16) / 255) ** 2.2);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#000" : "#fff";
  }

  letter(label) {
    if (label === DELETED) return "✕";
    // Two letters of an added type, so that a blast is told from a basophil.
    const name = label || "?";
    return this.keys.get(label) || name[0].toUpperCase() + name.slice(1, 2);
  }

  inGroup(cell) {
    return this.group === null || this.fields[cell.field].group === this.group;
  }

  counted(cell) {
    return cell.label !== null && cell.label !== DELETED && !cell.left;
  }

  // Sections of the gallery: label, how many cells it has, and those that are shown.
  sections() {
    const found = new Map(this.labels.map((label) => [label, { own: [], moved: [], total: 0, open: 0 }]));
    for (const cell of this.order) {
      if (cell.label === null || !this.inGroup(cell)) continue;
      if (cell.left && cell.label !== DELETED) continue;
      if (!found.has(cell.label)) found.set(cell.label, { own: [], moved: [], total: 0, open: 0 });
      const part = found.get(cell.label);
      part.total += 1;
      part.open += !cell.reviewed;
      if (this.onlyOpen && cell.reviewed) continue;
      if (this.onlyUseful && !this.useful.has(cell.key)) continue;
      (cell.label === cell.machine ? part.own : part.moved).push(cell);
    }
    const rank = (label) => {
      const at = this.labels.indexOf(label);
      return at < 0 ? this.labels.length - 2.5 : at;
    };
    return [...found]
      .sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1))
      .map(([label, part]) => ({
        label,
        total: part.total,
        open: label === DELETED ? 0 : part.open,
        cells: [...part.own, ...part.moved.sort((a, b) => a.seen - b.seen)],
      }));
  }

  // Cells of a field, from top to bottom, those that are left out too.
  /** Boxes of the nuclei of a field that lie in no cell: what the detector may have missed. */
  nucleiOf(number) {
    const cells = this.ofField(number);
    return this.fields[number].nuclei.filter(([x0, y0, x1, y1]) => {
      const x = (x0 + x1) / 2, y = (y0 + y1) / 2;
      return !cells.some(({ box }) => box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3]);
    });
  }

  ofField(number) {
    if (this.byField === null) {
      this.byField = new Map();
      for (const cell of this.cells.values()) {
        if (!this.byField.has(cell.field)) this.byField.set(cell.field, []);
        this.byField.get(cell.field).push(cell);
      }
      for (const cells of this.byField.values()) cells.sort((a, b) => a.box[1] - b.box[1] || a.id - b.id);
    }
    return (this.byField.get(number) || []).filter((cell) => cell.label !== null && cell.label !== DELETED);
  }
}
