// The sign-off: what is still open, the name, and the signatures so far.

import { Refused, get, post } from "./api.js";

const part = (id) => document.getElementById(id);

export function setUpSigning({ ask, who, take, showOpen, slides, slide }) {
  const dialog = part("sign");
  const choice = part("sign-slide");
  part("sign-which").hidden = slides.length < 2;
  choice.replaceChildren(...["", ...slides].map((name) => new Option(name || "all slides", name)));
  choice.addEventListener("change", () => state());

  async function open() {
    part("sign-error").textContent = "";
    part("sign-name").value = who();
    choice.value = slide() ?? "";
    if (!dialog.open) dialog.showModal();
    await state();
  }

  async function state() {
    const asked = new URLSearchParams({ since: 1000000000, ...(choice.value && { group: choice.value }) });
    const { differential: all } = await get(`/api/changes?${asked}`);
    part("sign-state").textContent = `${all.cells} cells: ${looked(all)}.`;
    part("sign-open").hidden = part("sign-show").hidden = !all.open;
    part("sign-open").textContent = all.open
      ? `${all.open} unclassified ${all.open === 1 ? "cell is" : "cells are"} not settled: name each, or confirm with U that it cannot be named.`
      : "";
    part("sign-go").disabled = all.open > 0;
    showLog(await get("/api/log"));
  }

  const looked = (found) => [
    [found.one_by_one, "looked at one by one"],
    [found.in_bulk, "confirmed together with others"],
    [found.unreviewed, "left as the machine named them"],
  ].filter(([number]) => number).map(([number, what]) => `${number} ${what}`).join(", ") || "none counted";

  function showLog(entries) {
    const lines = entries.slice().reverse().map((entry) => {
      const line = document.createElement("p");
      line.className = "small";
      line.textContent =
        `${entry.number}. ${entry.name}, ${entry.time.slice(0, 16).replace("T", " ")} UTC: ` +
        `${entry.slide ? `${entry.slide}, ` : ""}${entry.cells} cells: ${looked(entry)}${entry.note ? `; ${entry.note}` : ""}`;
      return line;
    });
    if (entries.length) {
      const link = document.createElement("a");
      link.href = "/reviewed/report.html";
      link.target = "_blank";
      link.rel = "noopener";
      link.textContent = "Open the signed report";
      const where = document.createElement("p");
      where.append(link);
      lines.unshift(where);
    }
    part("sign-log").replaceChildren(...lines);
  }

  async function go() {
    const name = part("sign-name").value.trim();
    if (!name) {
      part("sign-error").textContent = "Write your name.";
      part("sign-name").focus();
      return;
    }
    part("sign-go").disabled = true;
    part("sign-error").textContent = "Writing the reviewed report …";
    const { mark, last, group } = ask();
    const body = {
      mark, who: name, since: last, note: part("sign-note").value,
      ...(group === null ? {} : { group }), ...(choice.value && { slide: choice.value }),
    };
    try {
      take(await post("/api/sign", () => body));
      part("sign-error").textContent = "Signed.";
      part("sign-note").value = "";
    } catch (error) {
      part("sign-error").textContent = error instanceof Refused ? `Not signed: ${error.message}` : "Not signed: the server does not answer.";
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
    return signed.slide && !slide() ? "; not every slide is signed as it is now" : "; changed since, so sign again";
  }

  return {
    open,
    show(signed) {
      part("signed").textContent = signed
        ? `Signed${signed.slide && !slide() ? ` (${signed.slide})` : ""} by ${signed.name}, ${signed.time.slice(0, 16).replace("T", " ")} UTC${sinceThen(signed)}.`
        : "Not signed yet.";
      part("signed").classList.toggle("warn", Boolean(signed && !signed.current));
    },
  };
}
