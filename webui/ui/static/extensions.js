// The tab of extensions: every folder, what it touches, how it is, how long it takes; on, off, install, remove.
atelier.extensions = (() => {
  const { el } = atelier;
  const PATH = "/api/v1/extensions";
  const WORDS = { ready: "On", active: "On", disabled: "Off", blocked: "Blocked", invalid: "Not valid", failed: "Failed" };
  const on = (item) => ["ready", "active", "failed"].includes(item.state);

  async function look() {
    const answer = await atelier.api(PATH);
    atelier.extras.declare(answer.extensions);
    return answer;
  }

  async function open() {
    const list = await atelier.appears("#a-extensions");
    wireInstall();
    try {
      show(list, await look());
    } catch (problem) {
      atelier.say("extensions", problem);
    }
  }

  function show(list, { extensions, locked }) {
    const lock = atelier.find("#a-extensions-locked");
    lock.hidden = !locked;
    lock.textContent = locked;
    atelier.find("#a-extensions-install").hidden = Boolean(locked);
    const sorted = [...extensions].sort((one, other) => one.name.localeCompare(other.name));
    const own = sorted.filter((item) => !item.bundled);
    const bundled = sorted.filter((item) => item.bundled);
    const group = (title, items) => (items.length ? [el("h3", { class: "a-group" }, title), ...items.map((item) => card(item, Boolean(locked)))] : []);
    list.replaceChildren(...group("Installed by you", own), ...group("Part of Atelier", bundled));
  }

  function card(item, locked) {
    const state = el("span", { class: `a-badge a-is-${item.state}` }, WORDS[item.state] ?? item.state);
    const head = el("div", { class: "a-ext-head" }, el("strong", {}, item.name), el("span", { class: "a-soft" }, item.version), state, locked ? null : el("div", { class: "a-ext-acts" }, ...buttons(item)));
    const reason = item.reason ? el("p", { class: "a-problem" }, item.reason) : null;
    return el("article", { class: "a-ext", "data-id": item.id }, head, el("p", {}, item.description), reason, silenced(item), facts(item), files(item), settings(item, locked));
  }

  function buttons(item) {
    const button = (text, verb, title, strong) => el("button", { type: "button", class: `a-chip${strong ? " a-strong" : ""}`, title, onclick: () => act(item, verb) }, text);
    if (item.state === "invalid") return item.bundled ? [] : [button("Remove", "remove", "Delete its folder")];
    const allow = !item.bundled && !item.allowed;
    return [
      on(item) ? button("Turn off", "disable", "From the next job on") : allow ? button("Allow", "allow", "It can do anything you can: allow only what you trust", true) : button("Turn on", "enable", "From the next job on", true),
      on(item) ? button("Reload", "reload", "Read its files again") : null,
      item.bundled ? null : button("Remove", "remove", "Delete its folder"),
    ].filter(Boolean);
  }

  /** Says which hooks are not called any more. */
  function silenced(item) {
    if (!item.switched_off?.length) return null;
    return el("p", { class: "a-problem" }, `Failed three times in a row and is not called any more, until Reload: ${item.switched_off.join(", ")}`);
  }

  function facts(item) {
    const spent = new Map(Object.entries(item.seconds ?? {}));
    const took = (value) => (value < 0.001 ? "< 1 ms" : value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`);
    const told = (name) => (spent.has(name) ? `${name} ${took(spent.get(name))}` : name);
    const others = [...spent.keys()].filter((name) => !item.hooks.includes(name));
    const lines = [
      ["Preprocessors", item.preprocessors.map((made) => made.label).join(" · ")],
      ["Hooks", item.hooks.map(told).join(", ")],
      ["Also called", others.map(told).join(", ")],
      ["Load time", item.load_seconds == null ? "" : took(item.load_seconds)],
      ["Wants", item.permissions.join(", ")],
      ["Licence", item.bundled ? "" : item.license],
      ["By", item.bundled ? "" : item.authors.join(", ")],
    ].filter(([, value]) => value);
    return el("dl", { class: "a-facts" }, ...lines.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  /** The model files that it can use, and what fetches those that are not here. */
  function files(item) {
    if (!item.models.length) return null;
    const { details, body, mark } = atelier.knobs.fold("Model files", item.models.some((model) => model.running));
    const here = item.models.filter((model) => model.there);
    mark(`${here.length} of ${item.models.length} here`);
    const there = (model) => el("div", { class: "a-wanted a-soft" }, "Here: ", ...naming(model));
    body.append(...item.models.map((model) => (model.there ? there(model) : wanted(item.id, [model], open))));
    return details;
  }

  /** A file, its size, its licence and where it comes from: what the user agrees to, as parts of an element. */
  function naming(model) {
    const words = [model.file, size(model.bytes), model.license].filter(Boolean).join(", ");
    const from = model.repository;
    if (!from) return [words];
    return [`${words}, from `, from.startsWith("https://") ? el("a", { href: from, target: "_blank", rel: "noopener noreferrer" }, from) : from];
  }

  const size = (bytes) => (bytes ? `${Math.ceil(bytes / 1e6)} MB` : "");

  /** What says which files are missing and fetches them when it is pressed; `done` is called when they are there. */
  function wanted(id, models, done) {
    const words = el("span", { class: "a-soft" }, "Model file not here yet: ", ...models.flatMap((model, index) => [index ? "; " : "", ...naming(model)]));
    const button = el("button", { type: "button", class: "a-chip", onclick: begin }, "Fetch");
    const box = el("div", { class: "a-wanted" }, words, button);

    async function begin() {
      button.disabled = true;
      try {
        await send(`${PATH}/${id}/fetch`, { models: models.map((model) => model.id) });
        await follow();
      } catch (problem) {
        words.textContent = `${problem.message} ${problem.cure ?? ""}`;
        words.className = "a-problem";
        button.disabled = false;
      }
    }

    async function follow() {
      for (;;) {
        const now = (await look()).extensions.find((item) => item.id === id)?.models ?? [];
        const mine = now.filter((model) => models.some((other) => other.id === model.id));
        if (mine.every((model) => model.there)) return done();
        const broken = mine.find((model) => model.error && !model.running);
        if (broken) throw { message: broken.error };
        const running = mine.find((model) => model.running);
        words.textContent = running ? `Fetching ${running.file}: ${size(running.done) || "0 MB"}${running.total ? ` of ${size(running.total)}` : ""}` : "Waiting";
        await new Promise((next) => setTimeout(next, 700));
      }
    }

    if (models.some((model) => model.running)) begin();
    return box;
  }

  function settings(item, locked) {
    if (!item.settings.length || locked) return null;
    const save = atelier.debounce(async (name, value) => {
      try {
        await send(`${PATH}/${item.id}/settings`, { [name]: value });
      } catch (problem) {
        atelier.say("extensions", problem);
      }
    }, 400);
    const knobs = item.settings.map((field) => atelier.knobs.knob(field, item.values[field.id], (value) => save(field.id, value)));
    const { details, body } = atelier.knobs.fold("Settings", false);
    body.append(el("div", { class: "a-knobs a-own-params" }, ...knobs));
    return details;
  }

  const send = (path, body) => atelier.api(path, { method: "POST", body: JSON.stringify(body ?? {}), headers: { "content-type": "application/json" } });

  async function act(item, verb) {
    if (verb === "remove" && !(await sure(item))) return;
    await change(() => send(`${PATH}/${item.id}/${verb}`), `${item.name}: done.`);
  }

  /** Asks in the card itself; the second press within some seconds means yes. */
  const asked = new Map();
  async function sure(item) {
    const before = asked.get(item.id) ?? 0;
    asked.set(item.id, Date.now());
    if (Date.now() - before < 6000) return true;
    atelier.say("extensions", { level: "warning", message: `The folder of ${item.name} will be deleted.`, cure: "Press Remove once more to do it." });
    return false;
  }

  async function change(work, words) {
    document.getElementById("a-extensions").classList.add("a-waiting");
    try {
      const answer = await work();
      atelier.say("extensions", { level: "info", message: answer.message || words });
      await open();
      await atelier.units.look();
    } catch (problem) {
      atelier.say("extensions", problem);
    }
    document.getElementById("a-extensions").classList.remove("a-waiting");
  }

  function wireInstall() {
    const source = atelier.find("#a-extensions-source");
    const file = atelier.find("#a-extensions-zip");
    if (!source || source.dataset.wired) return;
    source.dataset.wired = "yes";
    atelier.find("#a-extensions-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (source.value.trim()) change(() => send(`${PATH}/install`, { source: source.value.trim() }), "Installed. Allow it to turn it on.");
    });
    file.addEventListener("change", () => {
      const body = file.files[0];
      file.value = "";
      if (body) change(() => atelier.api(`${PATH}/install-zip`, { method: "POST", body, headers: { "content-type": "application/zip" } }), "Installed. Allow it to turn it on.");
    });
    atelier.find("#a-extensions-pick").addEventListener("click", () => file.click());
    atelier.find("#a-extensions-again").addEventListener("click", () => change(() => send(`${PATH}/refresh`), "The folders were read again."));
  }

  async function start() {
    try {
      await look();
    } catch {
      setTimeout(start, 3000);
    }
  }

  return { open, start, wanted };
})();
