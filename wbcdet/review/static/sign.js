// The sign-off: what is still open, the name, and the signatures so far.

import { Refused, get, post } from "./api.js";

const part = (id) => document.getElementById(id);

export function setUpSigning({ ask, who, take, showOpen, slides, slide }) {
  const dialog = part("sign");
  const choice = part("sign-slide");
  let shown = 0; // the last decision in what the dialog says of the cells
  part("sign-which").hidden = slides.length < 2;
  choice.replaceChildren(...["", ...slides].map((name) => new Option(name || t("all slides"), name)));
  choice.addEventListener("change", () => look());

  async function open() {
    say("");
    part("sign-name").value = who();
    choice.value = slide() ?? "";
    if (!dialog.open) dialog.showModal();
    await look();
  }

  // What cannot be asked for is said: nothing can be signed then.
  const look = () => state().catch((error) => {
    part("sign-state").textContent = "";
    part("sign-open").hidden = part("sign-show").hidden = part("sign-twice").hidden = true;
    say(error instanceof Refused ? t("Not signed: {why}", { why: t(error.message) }) : t("Not signed: the server does not answer."));
  });

  async function state() {
    // Nothing can be signed before the dialog says what it is.
    part("sign-go").disabled = true;
    const wanted = choice.value;
    const asked = new URLSearchParams({ since: 1000000000, ...(choice.value && { group: choice.value }) });
    const { differential: all, last } = await get(`/api/changes?${asked}`);
    if (choice.value !== wanted) return;
    shown = last;
    part("sign-state").textContent = `${tn("{n} cell", "{n} cells", all.cells)}: ${looked(all)}.`;
    part("sign-open").hidden = part("sign-show").hidden = !all.open;
    part("sign-open").textContent = all.open
      ? tn("{n} unclassified cell is not settled: name it, or confirm with U that it cannot be named.", "{n} unclassified cells are not settled: name each, or confirm with U that it cannot be named.", all.open)
      : "";
    part("sign-twice").hidden = !all.twice.length;
    part("sign-twice").textContent = tn("Boxes {numbers} hold one cell, which counts twice: delete one of them.", "{n} pairs of boxes hold one cell each, which counts twice: delete one of each ({numbers}).", all.twice.length, {
      numbers: all.twice.map((pair) => pair.join(" + ")).join(", "),
    });
    part("sign-go").disabled = all.open > 0;
    showLog(await get("/api/log"));
  }

  const looked = (found) => [
    [found.one_by_one, t("looked at one by one")],
    [found.in_bulk, t("confirmed together with others")],
    [found.unreviewed, t("left as the machine named them")],
  ].filter(([number]) => number).map(([number, what]) => `${number} ${what}`).join(", ") || t("none counted");

  function showLog(entries) {
    const lines = entries.slice().reverse().map((entry) => {
      const line = document.createElement("p");
      line.className = "small";
      line.textContent =
        `${entry.number}. ${entry.name}, ${entry.time.slice(0, 16).replace("T", " ")} UTC: ` +
        `${entry.slide ? `${entry.slide}, ` : ""}${tn("{n} cell", "{n} cells", entry.cells)}: ${looked(entry)}${entry.note ? `; ${entry.note}` : ""}`;
      return line;
    });
    if (entries.length) {
      const link = document.createElement("a");
      link.href = "/reviewed/report.html";
      link.target = "_blank";
      link.rel = "noopener";
      link.textContent = t("Open the signed report");
      const where = document.createElement("p");
      where.append(link);
      lines.unshift(where);
    }
    part("sign-log").replaceChildren(...lines);
  }

  function say(text, warn = true) {
    part("sign-error").textContent = text;
    part("sign-error").classList.toggle("warn", warn);
  }

  async function go() {
    const name = part("sign-name").value.trim();
    if (!name) {
      say(t("Write your name."));
      part("sign-name").focus();
      return;
    }
    part("sign-go").disabled = true;
    say(t("Writing the reviewed report …"), false);
    const { mark, last, group } = ask();
    // Another tab or person was at it: the page behind shows that, and the dialog not yet.
    if (last > shown) {
      say(t("Not signed: {why}", { why: t("a cell was changed meanwhile; look again, then sign") }));
      await state().catch(() => {});
      return;
    }
    const body = {
      mark, who: name, since: last, note: part("sign-note").value,
      ...(group === null ? {} : { group }), ...(choice.value && { slide: choice.value }),
    };
    try {
      take(await post("/api/sign", () => body));
      say(t("Signed."), false);
      part("sign-note").value = "";
    } catch (error) {
      say(error instanceof Refused ? t("Not signed: {why}", { why: t(error.message) }) : t("Not signed: the server does not answer."));
    }
    await state().catch(() => {});
  }

  part("sign-go").addEventListener("click", go);
  part("sign-form").addEventListener("submit", (event) => {
    if (event.submitter?.value !== "") return;
    dialog.close();
  });
  part("sign-show").addEventListener("click", () => {
    dialog.close();
    showOpen();
  });

  function sinceThen(signed) {
    if (signed.current) return "";
    return slides.length > 1 && !slide() ? `; ${t("not every slide is signed as it is now")}` : `; ${t("changed since, so sign again")}`;
  }

  return {
    open,
    show(signed) {
      part("signed").textContent = signed
        ? `${t("Signed by {name}", { name: signed.name })}${signed.slide && !slide() ? ` (${signed.slide})` : ""}, ${signed.time.slice(0, 16).replace("T", " ")} UTC${sinceThen(signed)}.`
        : t("Not signed yet.");
      part("signed").classList.toggle("warn", Boolean(signed && !signed.current));
    },
  };
}
