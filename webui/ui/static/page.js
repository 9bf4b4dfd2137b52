// Which tab is open, light or dark, and the start.
atelier.tabs = (() => {
  const NAMES = ["txt2img", "img2img", "inpaint", "gallery", "models", "extensions"];
  const KEY = "atelier/tab";
  let drew = "txt2img"; // the tab with a form that was open last
  const button = (name) => document.getElementById(`tab-${name}-button`);

  const current = () => NAMES.find((name) => button(name)?.getAttribute("aria-selected") === "true") ?? "txt2img";
  const open = (name) => button(name)?.click();

  /** Gradio drew another tab: what was said of placeholders holds there too. */
  function changed() {
    const tab = current();
    atelier.session.set(KEY, tab);
    if (!atelier.form.forms[tab]) return;
    drew = tab;
    atelier.units.attach(tab);
    atelier.extras.attach(tab);
  }

  function restore() {
    const name = atelier.session.get(KEY);
    if (NAMES.includes(name) && name !== current()) open(name);
  }

  return { current, open, changed, restore, drawing: () => (atelier.form.forms[current()] ? current() : drew) };
})();

atelier.theme = (() => {
  const KEY = "atelier/theme";

  const set = (name) => document.body.classList.toggle("dark", name === "dark");

  function toggle() {
    const name = document.body.classList.contains("dark") ? "light" : "dark";
    atelier.local.set(KEY, name);
    set(name);
  }

  function restore() {
    const name = atelier.local.get(KEY);
    if (name) set(name);
  }

  return { toggle, restore };
})();

/** Gradio calls this when the page stands. */
atelier.start = async (forms) => {
  if (atelier.started) return;
  atelier.started = true;
  atelier.form.register(forms);
  atelier.zones.wire();
  atelier.extras.start(Object.keys(forms));
  atelier.extensions.start();
  atelier.units.start(Object.keys(forms));
  await atelier.appears("#a-panel");
  await atelier.appears("#a-state");
  atelier.theme.restore();
  atelier.result.wire();
  atelier.prompt.wire();
  atelier.tokens.wire();
  atelier.book.wire();
  atelier.fields.wire();
  atelier.memory.wire();
  atelier.find("#a-theme").addEventListener("click", atelier.theme.toggle);
  const form = atelier.form.restore();
  atelier.tabs.restore();
  atelier.status.look();
  await atelier.jobs.restore();
  await form;
  document.body.classList.add("a-up");
};
