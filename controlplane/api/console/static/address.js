// The end of the page's address says the section and the text that is looked for, so that a link shows somebody else
// the same: #models&filter=bert. It is sent nowhere.

const KEY = "filter";
const LONGEST = 200;

// What such an end says: its section and the text, each empty where there is none.
export function read(hash) {
  const said = new URLSearchParams(hash.slice(1));
  const [key, value] = [...said][0] ?? ["", ""];
  return { section: value === "" && key !== KEY ? key : "", text: (said.get(KEY) ?? "").slice(0, LONGEST) };
}

export function written(section, text) {
  const said = text ? new URLSearchParams([[KEY, text]]).toString() : "";
  return `#${[section, said].filter(Boolean).join("&")}`;
}

// Joins the input and the address: what is typed is written there, and what comes there, by a link or by going back,
// into the input. Every link of the page keeps the text. `changed` is called when there is another one.
export function join(input, changed) {
  const keep = () => {
    const { text } = read(location.hash);
    for (const link of document.querySelectorAll("a[href^='#']")) link.setAttribute("href", written(read(link.hash).section, text));
  };
  const come = () => {
    const { section, text } = read(location.hash);
    if (input.value !== text) input.value = text;
    keep();
    changed();
    go(section);
  };
  input.addEventListener("input", () => {
    history.replaceState(null, "", written(read(location.hash).section, input.value));
    keep();
    changed();
  });
  document.addEventListener("click", ({ target }) => {
    const link = target.closest?.("a[href^='#']");
    if (link?.hash === location.hash) go(read(link.hash).section);
  });
  document.addEventListener("keydown", (event) => {
    const typed = event.target.closest?.("input, textarea, select");
    if (event.key === "/" && !typed && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
  addEventListener("hashchange", come);
  come();
}

// To a section, which the browser does not find behind the text.
export function go(section) {
  const target = section ? document.querySelector(`main#${CSS.escape(section)}, section#${CSS.escape(section)}`) : null;
  target?.scrollIntoView();
  target?.focus({ preventScroll: true });
}
