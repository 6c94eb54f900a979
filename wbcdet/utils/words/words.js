// Translates the page that loads it: its own text and attributes at once, what is said later by t and tn.
// LANGUAGE and WORDS stand before this; a text that WORDS lacks stays as it is.

const FORMS = new Intl.PluralRules(LANGUAGE);
const CATEGORIES = LANGUAGE === "ru" ? ["one", "few", "many"] : ["one", "other"];
const TRANSLATED = ["title", "aria-label", "placeholder", "alt", "data-ask"];

const filled = (text, values) =>
  values ? text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? values[name] : all)) : text;
const found = (text) => (typeof text === "string" && Object.hasOwn(WORDS, text) ? WORDS[text] : text);

// A text, with values in the places of {name}.
function t(text, values) {
  return filled(found(text), values);
}

// The form of a text that goes with the number n.
function tn(one, many, n, values) {
  const forms = found(one);
  const english = n === 1 ? one : many;
  const form = Array.isArray(forms) ? forms[CATEGORIES.indexOf(FORMS.select(n))] ?? forms.at(-1) : english;
  return filled(form, { n, ...values });
}

function translatePage() {
  document.documentElement.lang = LANGUAGE;
  const texts = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    if (node.parentElement.closest("script, style, kbd, code")) continue;
    const text = node.data.trim().replace(/\s+/g, " ");
    if (text) node.data = node.data.replace(node.data.trim(), () => t(text));
  }
  for (const name of TRANSLATED) {
    for (const node of document.querySelectorAll(`[${name}]`)) node.setAttribute(name, t(node.getAttribute(name)));
  }
}

translatePage();
