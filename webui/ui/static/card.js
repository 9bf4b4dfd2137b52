// One card of a model, and what a press of it does: the prompt gets its tag and words, or loses them again.
atelier.card = (() => {
  const { el } = atelier;
  const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`);
  const HEADERS = ["checkpoint", "lora"]; // kinds whose headers may hold a picture

  function draw(card) {
    const short = card.name.split("/").at(-1);
    const about = [card.family_name, size(card.bytes)].filter(Boolean).join(" · ");
    const badge = card.pickle ? el("span", { class: "a-card-sign", title: "A pickle: convert it first" }, "pickle") : card.bad ? el("span", { class: "a-card-sign a-card-bad", title: "It cannot be used; its details say why" }, "!") : null;
    const words = el("span", { class: "a-card-words" }, el("strong", {}, short), el("small", {}, about));
    const use = el("button", { type: "button", class: "a-card-use", title: card.name, onclick: () => press(card) }, face(card, short), badge, words);
    const info = el("button", { type: "button", class: "a-card-more", "aria-label": `About ${short}`, title: "Details", onclick: () => atelier.cardinfo.open(card) }, "i");
    return el("div", { class: "a-card", "data-id": card.id, "data-tag": card.tag, "data-kind": card.kind, "data-name": card.name }, use, info);
  }

  /** Its picture, or its first letters on a colour of its own. */
  function face(card, short) {
    let hue = 0;
    for (const letter of card.name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
    const tile = el("span", { class: "a-card-face", style: `--hue: ${hue}` }, el("span", { "aria-hidden": "true" }, short.slice(0, 2)));
    if (card.picture || (HEADERS.includes(card.kind) && !card.pickle && !card.bad)) {
      const image = el("img", { src: thumb(card), alt: "", loading: "lazy", decoding: "async", onerror: () => image.remove() });
      tile.append(image);
    }
    return tile;
  }

  const thumb = (card) => `${atelier.cards.path}/${card.id}/thumb.webp?v=${card.picture || 0}`;

  /** What a press does: choose a checkpoint or a VAE, put a tag into the prompt or take it out, else tell about it. */
  function press(card) {
    if (card.bad || card.pickle) return atelier.cardinfo.open(card);
    if (card.kind === "checkpoint") return void atelier.models.use(card.name);
    if (card.kind === "vae") return void choose("vae", isOn(card) ? "Automatic" : card.name);
    if (card.tag) return void toggle(card);
    return atelier.cardinfo.open(card);
  }

  const tab = () => atelier.tabs.drawing();
  const value = (name) => atelier.form.value(tab(), name) ?? "";

  function choose(field, chosen) {
    atelier.form.fill(tab(), { [field]: chosen });
    setTimeout(mark, 300);
  }

  function toggle(card) {
    const on = isOn(card);
    const prompt = on ? without(value("prompt"), card) : joined(value("prompt"), [written(card), card.activation]);
    const fields = { prompt };
    if (card.negative) fields.negative_prompt = on ? cut(value("negative_prompt"), card.negative) : joined(value("negative_prompt"), [card.negative]);
    atelier.form.fill(tab(), fields);
    setTimeout(mark, 300);
  }

  const written = (card) => (card.tag.includes(":") && card.kind !== "embedding" ? `<${card.tag}:${card.weight || 1}>` : card.tag);
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

  /** A tag of any weight, or the word of an embedding where it stands alone. */
  function pattern(card) {
    if (card.kind === "embedding") return new RegExp(`(?<![\\w-])${escaped(card.tag)}(?![\\w-])`, "gi");
    return new RegExp(`<${escaped(card.tag)}(:[^<>]*)?>`, "gi");
  }

  const joined = (text, parts) => [text.trim().replace(/,$/, ""), ...parts].filter(Boolean).join(", ");
  const tidy = (text) => text.split(",").map((part) => part.replace(/ {2,}/g, " ")).filter((part, index, all) => part.trim() || all.length === 1).join(",").trim();

  /** Text without a piece that was put into it. */
  function cut(text, piece) {
    const at = piece ? text.indexOf(piece) : -1;
    return at < 0 ? text : tidy(text.slice(0, at) + text.slice(at + piece.length));
  }

  const without = (prompt, card) => cut(tidy(prompt.replace(pattern(card), "")), card.activation);

  function isOn(card) {
    if (card.kind === "checkpoint") return atelier.models.chosen() === card.name;
    if (card.kind === "vae") return value("vae") === card.name;
    return Boolean(card.tag) && pattern(card).test(value("prompt"));
  }

  /** Cards that are in use look so. */
  function mark() {
    for (const box of document.querySelectorAll("#a-cards .a-card")) {
      const on = isOn({ kind: box.dataset.kind, name: box.dataset.name, tag: box.dataset.tag });
      box.classList.toggle("a-on", on);
      box.querySelector(".a-card-use").setAttribute("aria-pressed", String(on));
    }
  }

  /** A single word into the prompt, or out of it. */
  function word(text) {
    const prompt = value("prompt");
    const has = prompt.split(",").some((part) => part.trim() === text);
    const next = has ? tidy(prompt.split(",").filter((part) => part.trim() !== text).join(",")) : joined(prompt, [text]);
    atelier.form.fill(tab(), { prompt: next });
    return !has;
  }

  const hasWord = (text) => value("prompt").split(",").some((part) => part.trim() === text);

  return { draw, face, press, mark, isOn, word, hasWord, size };
})();
