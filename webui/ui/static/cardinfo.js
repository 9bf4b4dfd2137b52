// All that is known of one model: what it is, how it was trained, the words that call it, what the user says of it.
atelier.cardinfo = (() => {
  const { el } = atelier;
  const USES = { checkpoint: "Use this checkpoint", lora: "Into the prompt", embedding: "Into the prompt", hypernetwork: "Into the prompt", vae: "Use this VAE" };
  const NOTE = [["description", "Description", 2], ["activation", "Trigger words, put into the prompt with it", 1], ["negative", "Words for the negative prompt", 1], ["notes", "Notes", 2]];
  let back = null; // what had the focus before
  const path = (id, rest = "") => `${atelier.cards.path}/${id}${rest}`;
  const button = (text, act, more = {}) => el("button", { type: "button", class: "a-chip", onclick: act, ...more }, text);

  async function open(card) {
    back ??= document.activeElement;
    try {
      show(await atelier.api(path(card.id)));
    } catch (problem) {
      atelier.say("models", problem);
    }
  }

  function close() {
    atelier.find(".a-about")?.remove();
    back?.focus?.();
    back = null;
  }

  function show(info) {
    atelier.find(".a-about")?.remove();
    const short = info.name.split("/").at(-1);
    const head = el("div", { class: "a-about-head" }, el("strong", {}, short), el("button", { type: "button", class: "a-close", "aria-label": "Close", title: "Close", onclick: close }, "×"));
    const top = el("div", { class: "a-about-top" }, atelier.card.face(info, short), el("div", { class: "a-about-first" }, facts(firstOf(info)), acts(info)));
    const messages = el("div", { class: "a-messages", "data-tab": "about", role: "alert" });
    const parts = [head, messages, problem(info), top, words(info), note(info), training(info), tensors(info), metadata(info)];
    const box = el("div", { class: "a-about a-html", role: "dialog", "aria-modal": "true", "aria-label": `About ${short}`, tabindex: "-1" }, el("div", { class: "a-about-frame" }, ...parts.filter(Boolean)));
    box.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") close();
      if (event.key === "Tab" && atelier.dialog.within(event, box)) event.preventDefault();
    });
    box.addEventListener("click", (event) => event.target === box && close());
    document.body.append(box);
    box.querySelector(".a-close").focus();
  }

  function problem({ error, guess }) {
    if (!error) return null;
    return el("p", { class: "a-problem" }, error, guess && !error.includes("looks like") ? ` ${guess}` : "");
  }

  const label = (name) => name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase()).replace(" snr", " SNR");

  function firstOf(info) {
    const { bytes, parameters, ...rest } = info.facts;
    const told = { ...rest, Size: atelier.card.size(info.bytes), ...(parameters ? { Parameters: counted(parameters) } : {}), File: info.file, Read_with: info.beside.join(", "), SHA256: info.sha256 ?? "" };
    return Object.entries(told).filter(([, value]) => value !== "" && value !== false).map(([name, value]) => [label(name), value === true ? "yes" : String(value)]);
  }

  const counted = (number) => (number >= 1e9 ? `${(number / 1e9).toFixed(2)} billion` : number >= 1e6 ? `${(number / 1e6).toFixed(1)} million` : number.toLocaleString("en"));
  const facts = (pairs) => el("dl", { class: "a-facts" }, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));

  function acts(info) {
    const use = USES[info.kind] && !info.error && (info.kind in { checkpoint: 1, vae: 1 } || info.tag) ? useButton(info) : null;
    const change = info.may_change;
    const convert = info.pickle && change ? button("Convert to safetensors", () => act(() => send(path(info.id, "/convert")), "It is being converted: see below Download."), { class: "a-chip a-strong" }) : null;
    const last = atelier.result.id();
    const picture = change && last ? button("Preview from the chosen picture", () => act(async () => {
      await send(path(info.id, "/picture"), { image: last });
      await atelier.cards.ask();
      await open(info);
    }, "The preview is set.")) : null;
    return el("div", { class: "a-about-acts" }, ...[use, convert, picture].filter(Boolean));
  }

  function useButton(info) {
    const words = () => (!atelier.card.isOn(info) ? USES[info.kind] : info.kind === "checkpoint" ? "In use" : info.kind === "vae" ? "Use it no more" : "Out of the prompt");
    const made = button(words(), () => {
      atelier.card.press({ ...info, bad: false, activation: info.note.activation, negative: info.note.negative, weight: info.note.weight || info.weight });
      setTimeout(() => (made.textContent = words()), 400);
    }, { class: "a-chip a-strong" });
    return made;
  }

  /** Words that call it, as chips that go into the prompt and out of it. */
  function words(info) {
    const chip = (text, count) => {
      const made = button(text, () => made.setAttribute("aria-pressed", String(atelier.card.word(text))), { "aria-pressed": String(atelier.card.hasWord(text)), title: "Into the prompt, or out of it" });
      if (count) made.append(el("small", {}, String(count)));
      return made;
    };
    const row = (title, chips) => (chips.length ? el("section", {}, el("h4", {}, title), el("div", { class: "a-about-words" }, ...chips)) : null);
    const counted = new Set(info.tags.map(([tag]) => tag));
    const own = info.triggers.filter((text) => info.note.activation || !counted.has(text));
    const parts = [row("Trigger words", own.map((text) => chip(text))), row("Tags of the training pictures", info.tags.map(([tag, count]) => chip(tag, count)))];
    return parts.some(Boolean) ? el("div", {}, ...parts.filter(Boolean)) : null;
  }

  function note(info) {
    const said = info.note;
    if (!info.may_change) {
      const lines = NOTE.filter(([name]) => said[name]).map(([name, title]) => [title, said[name]]);
      return lines.length ? facts(lines) : null;
    }
    const fields = Object.fromEntries(NOTE.map(([name, , rows]) => [name, el("textarea", { class: "a-input", rows })]));
    for (const [name, field] of Object.entries(fields)) field.value = said[name];
    const weight = el("input", { class: "a-input", type: "number", step: "0.05", min: "-10", max: "10", value: said.weight || "", placeholder: "1" });
    const form = el("form", { class: "a-about-note" }, ...NOTE.map(([name, title]) => el("label", {}, title, fields[name])), el("label", {}, "Preferred weight", weight), el("button", { class: "a-chip a-strong" }, "Save"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const body = { ...Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value.trim()])), weight: Number(weight.value) || 0 };
      act(async () => {
        await send(path(info.id, "/note"), body);
        await atelier.cards.ask();
        await open(info);
      }, "Saved.");
    });
    const link = said.link ? el("a", { href: said.link, target: "_blank", rel: "noopener noreferrer" }, said.link) : null;
    return fold("What you say of it", el("div", {}, link, form), NOTE.some(([name]) => said[name]));
  }

  const training = ({ training: told }) => {
    const pairs = Object.entries(told).map(([name, value]) => [label(name), value]);
    return pairs.length ? fold("Training", facts(pairs)) : null;
  };

  /** What of the file is of no use, or is needed and is not there. */
  const tensors = ({ unread, missing }) => {
    const pairs = [["Missing", missing], ["Not understood", unread]].filter(([, names]) => names.length);
    return pairs.length ? fold("Tensors", facts(pairs.map(([name, names]) => [name, names.join(", ")])), missing.length > 0) : null;
  };

  const metadata = ({ metadata: told }) => (Object.keys(told).length ? fold("Metadata", facts(Object.entries(told))) : null);

  function fold(title, inner, isOpen = false) {
    const { details, body } = atelier.knobs.fold(title, isOpen);
    body.append(inner);
    return details;
  }

  const send = (address, body) => atelier.api(address, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body ?? {}) });

  async function act(work, words) {
    try {
      const answer = await work();
      atelier.say("about", { level: "info", message: words });
      if (answer?.state) atelier.downloads.follow(answer.id);
    } catch (problem) {
      atelier.say("about", problem);
    }
  }

  return { open, close, isOpen: () => atelier.find(".a-about") !== null };
})();
