// The picture of a field, in tiles: coarse ones at once, sharp ones over them.

export class Tiles {
  constructor(element, side, failed) {
    Object.assign(this, { element, side, failed });
  }

  clear() {
    this.element.replaceChildren();
  }

  // What of a field is in sight, at the place (x, y, in pixels of the field) and scale of the view.
  draw({ number, x, y, scale, view, model }) {
    const { width, height } = model.fields[number];
    const sharp = Math.max(0, Math.floor(Math.log2(1 / (scale * (window.devicePixelRatio || 1)))));
    const rough = Math.max(sharp, Math.ceil(Math.log2(Math.max(width, height) / this.side)), 0);
    const keep = new Set();
    for (const level of new Set([rough, sharp])) {
      const span = this.side * 2 ** level;
      const first = (at) => Math.max(0, Math.floor(at / span));
      const right = Math.min(width, x + view.clientWidth / scale);
      const bottom = Math.min(height, y + view.clientHeight / scale);
      for (let row = first(y); row * span < bottom; row += 1) {
        for (let column = first(x); column * span < right; column += 1) {
          const source = model.picture(`/tile/${number}/${level}/${column}/${row}`);
          keep.add(source);
          let node = this.element.querySelector(`[src="${source}"]`);
          if (!node) {
            node = document.createElement("img");
            node.alt = "";
            node.draggable = false;
            node.addEventListener("error", () => this.#failed(number, source));
            node.src = source;
            // Rough ones lie below, and show while sharp ones are on their way.
            if (level === sharp && level !== rough) this.element.append(node);
            else this.element.prepend(node);
          }
          node.style.width = `${Math.min(span, width - column * span) * scale}px`;
          node.style.height = `${Math.min(span, height - row * span) * scale}px`;
          const left = (column * span - x) * scale, top = (row * span - y) * scale;
          node.style.transform = `translate(${left}px, ${top}px)`;
        }
      }
    }
    for (const node of [...this.element.children]) if (!keep.has(node.getAttribute("src"))) node.remove();
  }

  // Asks again for the words that say why.
  async #failed(number, source) {
    const response = await fetch(source, { credentials: "same-origin" }).catch(() => null);
    const said = response && !response.ok ? await response.text() : t("the field cannot be loaded");
    this.failed(number, said);
  }
}
