// The tab of models: cards by kind, folder and words, a page at a time; the server knows them all and sends some.
atelier.cards = (() => {
  const { el } = atelier;
  const PATH = "/api/v1/model-files";
  const KEY = "atelier/cards";
  const PAGE = 120;
  const KINDS = {
    checkpoint: "Checkpoints", lora: "LoRA", embedding: "Embeddings", hypernetwork: "Hypernetworks", vae: "VAE",
    controlnet: "ControlNet", upscaler: "Upscalers", vae_approx: "Previews", text_encoder: "Text encoders", preprocessor: "Preprocessors",
  };
  const ALWAYS = ["checkpoint", "lora", "embedding", "vae"]; // shown where there are none, too
  let wanted = { kind: "checkpoint", search: "", folder: "", sort: "name", fits: true };
  let shown = []; // cards on the page, in order
  let total = 0;
  let turn = 0; // of the latest question: an answer to an older one is thrown away
  let asking = false;
  let watching = null;
  let looks = 0; // at the hashes: the latest goes on

  async function open() {
    await atelier.appears("#a-cards");
    wire();
    await ask({ fresh: true });
    atelier.downloads.open();
    lookAtHashes();
  }

  const filled = ({ kind, search, folder, sort, fits }, more) => {
    const [by, down] = sort.split("-");
    const family = fits && kind !== "checkpoint" && atelier.models.familyName() ? atelier.models.family() : "";
    return new URLSearchParams({ kind, search, folder, sort: by, down: down ? "true" : "false", family, limit: PAGE, ...more });
  };

  /** Shows the first page of what is wanted. fresh: the server looks at its folders first. */
  async function ask({ fresh = false } = {}) {
    const mine = ++turn;
    asking = true;
    try {
      const answer = await atelier.api(`${PATH}?${filled(wanted, { offset: 0, fresh })}`);
      if (mine !== turn) return;
      shown = [];
      atelier.find("#a-cards").replaceChildren();
      atelier.find("#a-cards-locked").hidden = !answer.locked;
      atelier.find("#a-cards-locked").textContent = answer.locked;
      atelier.find("#a-downloads-open").hidden = Boolean(answer.locked);
      drawBar(answer);
      add(answer);
    } catch (problem) {
      atelier.say("models", problem);
    } finally {
      if (mine === turn) asking = false;
    }
  }

  /** The next page, when the end of the present one comes into sight. */
  async function more() {
    if (asking || shown.length >= total) return;
    asking = true;
    const mine = turn;
    try {
      const answer = await atelier.api(`${PATH}?${filled(wanted, { offset: shown.length })}`);
      if (mine === turn) add(answer);
    } catch (problem) {
      atelier.say("models", problem);
    } finally {
      if (mine === turn) asking = false;
    }
    if (mine === turn && endInSight()) more();
  }

  const endInSight = () => {
    const end = atelier.find("#a-cards-end");
    return end?.offsetParent !== null && end.getBoundingClientRect().top < window.innerHeight + 600;
  };

  function add({ cards, total: all }) {
    total = all;
    shown.push(...cards);
    atelier.find("#a-cards").append(...cards.map(atelier.card.draw));
    atelier.find("#a-cards-count").textContent = total === 1 ? "1 file" : `${total.toLocaleString("en")} files`;
    const empty = atelier.find("#a-cards-empty");
    empty.hidden = total > 0;
    empty.textContent = wanted.search || wanted.folder ? "Nothing here is called so." : "Nothing of this kind is here yet.";
    atelier.card.mark();
  }

  function drawBar({ kinds, folders }) {
    const listed = Object.keys(KINDS).filter((kind) => kinds[kind] || ALWAYS.includes(kind));
    const button = (kind) => {
      const chosen = kind === wanted.kind;
      const words = [KINDS[kind], el("small", {}, String(kinds[kind] ?? 0))];
      return el("button", { type: "button", role: "radio", "aria-checked": String(chosen), "data-kind": kind, onclick: () => want({ kind, folder: "" }) }, ...words);
    };
    atelier.find("#a-cards-kinds").replaceChildren(...listed.map(button));
    const choice = (folder) => el("option", { value: folder, selected: folder === wanted.folder }, folder || "All folders");
    const list = atelier.find("#a-cards-folder");
    list.replaceChildren(...["", ...folders].map(choice));
    list.hidden = !folders.length;
    const family = atelier.models.familyName();
    atelier.find("#a-cards-fits").checked = wanted.fits;
    atelier.find("#a-cards-fits-name").textContent = family ? `Fits ${family}` : "Fits the model";
    atelier.find("#a-cards-fits").parentElement.hidden = wanted.kind === "checkpoint" || !family;
  }

  function want(changes) {
    wanted = { ...wanted, ...changes };
    const { search, ...kept } = wanted;
    atelier.session.set(KEY, kept);
    ask();
  }

  function wire() {
    if (watching) return;
    wanted = { ...wanted, ...atelier.session.get(KEY) };
    const search = atelier.find("#a-cards-search");
    const find = atelier.debounce(() => want({ search: search.value.trim() }), 150);
    search.addEventListener("input", find);
    const sort = atelier.find("#a-cards-sort");
    sort.value = wanted.sort;
    sort.addEventListener("change", () => want({ sort: sort.value }));
    atelier.find("#a-cards-folder").addEventListener("change", (event) => want({ folder: event.target.value }));
    atelier.find("#a-cards-fits").addEventListener("change", (event) => want({ fits: event.target.checked }));
    atelier.find("#a-cards-again").addEventListener("click", again);
    atelier.find("#a-cards").addEventListener("keydown", walk);
    watching = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), { rootMargin: "600px" });
    watching.observe(atelier.find("#a-cards-end"));
  }

  /** Files have come or gone: the cards and the lists of the forms are read again. */
  async function again() {
    atelier.models.again();
    if (watching) await ask({ fresh: true });
  }

  /** The arrow keys go from card to card. */
  function walk(event) {
    const card = event.target.closest(".a-card");
    if (!card || !event.key.startsWith("Arrow")) return;
    const all = [...card.parentElement.children];
    const across = all.filter((other) => other.offsetTop === all[0].offsetTop).length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    const next = all[all.indexOf(card) + step];
    if (!next) return;
    event.preventDefault();
    next.querySelector(".a-card-use").focus();
  }

  async function lookAtHashes() {
    const line = atelier.find("#a-cards-hashing");
    const mine = ++looks;
    try {
      const { state, files, files_done: done } = await atelier.api(`${PATH}/hashing`);
      const under = ["looking", "reading", "paused"].includes(state);
      line.replaceChildren(...(under && files > done ? [`Hashes known: ${done} of ${files} `, pausing(state === "paused")] : []));
      if (under && line.offsetParent) setTimeout(() => mine === looks && lookAtHashes(), 2000);
    } catch {
      line.replaceChildren();
    }
  }

  function pausing(paused) {
    const act = () => atelier.api(`${PATH}/hashing/${paused ? "resume" : "pause"}`, { method: "POST" }).then(lookAtHashes, (problem) => atelier.say("models", problem));
    return el("button", { type: "button", class: "a-plain", title: "Files are read in the background to know them by their hash", onclick: act }, paused ? "Go on" : "Pause");
  }

  return { open, ask, again, path: PATH, known: () => shown };
})();
