// Brightness and contrast of all pictures of the page; what is kept and signed is not changed by them.

const part = (id) => document.getElementById(id);
const NAMES = ["brightness", "contrast"];

export function setUpLight() {
  const show = () => {
    let changed = false;
    for (const name of NAMES) {
      const value = Number(part(name).value);
      changed ||= value !== 100;
      document.documentElement.style.setProperty(`--${name}`, `${value}%`);
      part(`${name}-says`).textContent = `${value} %`;
      localStorage.setItem(`wbcdet-${name}`, value);
    }
    document.body.classList.toggle("lit", changed);
    part("light-button").classList.toggle("changed", changed);
  };
  for (const name of NAMES) {
    part(name).value = Number(localStorage.getItem(`wbcdet-${name}`)) || 100;
    part(name).addEventListener("input", show);
  }
  part("light-reset").addEventListener("click", () => {
    for (const name of NAMES) part(name).value = 100;
    show();
  });
  const toggle = (open) => {
    part("light").hidden = !open;
    part("light-button").setAttribute("aria-expanded", String(open));
  };
  part("light-button").addEventListener("click", () => toggle(part("light").hidden));
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("#light, #light-button")) toggle(false);
  });
  part("light").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    toggle(false);
    part("light-button").focus();
  });
  show();
}
