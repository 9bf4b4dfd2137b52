// What the chosen model can draw: its friendly line, prompts to click, its own size.
atelier.models = (() => {
  const KEY = "atelier/model";
  const FAMILIES = { sd1: "SD 1.x", sd2: "SD 2.x", sdxl: "SDXL", sdxl_refiner: "the SDXL refiner" };
  let list = [];
  let first = "";
  let now = ""; // the chosen one
  let asked = ""; // what a card of the models' tab wants to be chosen

  /** Reads the list again and says which model shall be chosen: the present one, the last one used, or the default. */
  async function open(name) {
    try {
      const answer = await atelier.api("/api/v1/models");
      list = answer.models;
      first = answer.default ?? list.find((model) => !model.error)?.name ?? "";
    } catch (problem) {
      atelier.say("result", problem);
    }
    atelier.book.read();
    const wanted = [asked, name, atelier.session.get(KEY), atelier.local.get(KEY), first];
    const choice = wanted.find((candidate) => list.some((model) => model.name === candidate)) ?? "";
    asked = "";
    choose(choice);
    return [choice];
  }

  async function choose(name) {
    const model = list.find((candidate) => candidate.name === name);
    if (!model) return;
    now = name;
    atelier.session.set(KEY, name);
    atelier.local.set(KEY, name);
    await atelier.appears("#a-hint");
    draw(model);
    atelier.card.mark();
  }

  /** Chooses a model from elsewhere on the page. */
  function use(name) {
    asked = name;
    again();
  }

  /** Reads all lists of files again, as the button beside the model does. */
  const again = () => atelier.find("#model-refresh")?.click();

  function draw(model) {
    const part = (name) => atelier.find(`#a-hint .a-${name}`);
    document.body.dataset.extra = model.extra ?? "none"; // what only some models have controls for
    part("hint-text").textContent = model.hint || "";
    part("hint-problem").textContent = model.error || "";
    part("examples").replaceChildren(...model.examples.map((prompt) => example(prompt, model.settings)));
    atelier.find("#a-hint").hidden = false;
    for (const input of document.querySelectorAll("[id$='-width'] input, [id$='-height'] input")) {
      input.placeholder = input.closest("[id^='txt2img']") ? `auto (${model.native_size})` : "auto";
    }
  }

  /** A prompt to click; the settings that suit the model come with it. */
  function example(prompt, settings) {
    const use = () => {
      const tab = atelier.form.forms[atelier.tabs.current()] ? atelier.tabs.current() : "txt2img";
      atelier.form.fill(tab, { ...settings, prompt });
      atelier.tabs.open(tab);
    };
    return atelier.el("button", { class: "a-chip a-example", title: "Use this prompt", onclick: use }, prompt);
  }

  /** The family of the chosen model: "sd1". */
  const family = () => present()?.family ?? "";

  /** The same in words: "SD 1.x"; "" for one that nothing else is made for. */
  const familyName = () => FAMILIES[family()] ?? "";

  /** The size of picture that it was trained on, in pixels; 0 where it is not known. */
  const size = () => present()?.native_size ?? 0;

  const present = () => list.find((model) => model.name === now);

  return { open, choose, use, again, chosen: () => now, family, familyName, size };
})();
