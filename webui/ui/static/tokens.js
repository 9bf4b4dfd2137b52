// How many tokens the prompts have, and what may not be meant in them, while they are written.
atelier.tokens = (() => {
  const PAUSE = 400; // milliseconds without a key
  const PROMPTS = ["prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt"];
  const LIMIT = 20000;
  let timer = 0;
  let turn = 0;

  const box = (tab, name) => document.getElementById(`${tab}-${name}`);
  const text = (tab, name) => box(tab, name)?.querySelector("textarea")?.value ?? "";

  function badge(tab, name) {
    const home = box(tab, name);
    const found = home?.querySelector(".a-tokens");
    if (found || !home) return found;
    const made = document.createElement("span");
    made.className = "a-tokens";
    home.append(made);
    return made;
  }

  /** `12/75`, and `12 + 40/150` where the prompt takes two chunks; the notes are read by pointing at it. */
  function show(tab, name, { tokens, room, notes }) {
    const place = badge(tab, name);
    if (!place) return;
    place.textContent = text(tab, name).trim() ? `${tokens.join(" + ")}/${room * tokens.length}${notes.length ? " !" : ""}` : "";
    place.title = ["Tokens in each chunk of the prompt", ...notes].join("\n");
    place.classList.toggle("a-noted", notes.length > 0);
  }

  function clear(tab) {
    for (const name of PROMPTS) badge(tab, name)?.replaceChildren();
  }

  async function count(tab) {
    const own = ++turn;
    const prompts = Object.fromEntries(PROMPTS.map((name) => [name, text(tab, name)]));
    const [model, steps, hr_steps, emphasis] = ["model", "steps", "hr_steps", "emphasis"].map((name) => atelier.form.value(tab, name));
    const numbers = Object.entries({ steps, hr_steps }).filter(([, number]) => Number.isInteger(number));
    const known = { ...(model && { model }), ...Object.fromEntries(numbers), ...(emphasis && { emphasis }) };
    if (Object.values(prompts).some((prompt) => prompt.length > LIMIT)) return clear(tab);
    try {
      const headers = { "content-type": "application/json" };
      const found = await atelier.api("/api/v1/tokens", { method: "POST", headers, body: JSON.stringify({ ...prompts, ...known }) });
      if (own === turn) for (const name of PROMPTS) show(tab, name, found[name]);
    } catch {
      if (own === turn) clear(tab); // what is wrong is told when the picture is asked for
    }
  }

  function soon(tab) {
    clearTimeout(timer);
    timer = setTimeout(count, PAUSE, tab);
  }

  function typed(event) {
    if (event.target.closest?.(".a-prompt")) soon(atelier.tabs.current());
  }

  function wire() {
    for (const kind of ["input", "focusin"]) document.addEventListener(kind, typed);
  }

  return { wire, soon, PROMPTS };
})();
