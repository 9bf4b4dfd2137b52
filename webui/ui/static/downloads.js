// The box that fetches models, and how far downloads and conversions are.
atelier.downloads = (() => {
  const { el } = atelier;
  const PATH = "/api/v1/downloads";
  const FOLDERS = ["Stable-diffusion", "Lora", "embeddings", "hypernetworks", "VAE", "ControlNet", "ESRGAN", "VAE-approx", "text_encoder"];
  const busy = (errand) => ["waiting", "running"].includes(errand.state);
  let list = null;
  let following = false;
  const awaited = new Set(); // ids of what was begun or seen under way: the cards are read again when one is done

  function open() {
    const box = atelier.find("#a-downloads");
    if (!list) build(box);
    follow();
  }

  function build(box) {
    const input = (name, more) => el("input", { class: "a-input", name, ...more });
    const what = input("what", { placeholder: "Web address, or owner/repository of Hugging Face", "aria-label": "Address or repository", required: true });
    const choice = (value, text) => el("option", { value }, text);
    const to = el("select", { class: "a-input", name: "to" }, choice("", "By its kind"), ...FOLDERS.map((name) => choice(name, name)));
    const more = [
      el("label", {}, "Folder", to),
      el("label", {}, "Name", input("name", { placeholder: "as it is" })),
      el("label", {}, "SHA256", input("sha256", { placeholder: "checked where it is given" })),
      el("label", {}, "Revision", input("revision", { placeholder: "main" })),
      el("label", { title: "For the host of the address. It is not kept." }, "Token", input("token", { type: "password", autocomplete: "off" })),
      el("label", { class: "a-check" }, el("input", { type: "checkbox", name: "convert" }), "Convert a pickle"),
    ];
    const { details, body } = atelier.knobs.fold("Options");
    body.append(el("div", { class: "a-downloads-more" }, ...more));
    const form = el("form", {}, el("div", { class: "a-downloads-first" }, what, el("button", { class: "a-chip a-strong" }, "Download")), details);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      start(form);
    });
    list = el("div", { class: "a-errands" });
    box.append(form, list);
    const toggle = atelier.find("#a-downloads-open");
    toggle.addEventListener("click", () => {
      box.hidden = !box.hidden;
      toggle.setAttribute("aria-expanded", String(!box.hidden));
      if (!box.hidden) what.focus();
    });
  }

  async function start(form) {
    const given = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
    try {
      const { id } = await atelier.api(PATH, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ ...given, convert: form.elements.convert.checked }) });
      form.elements.what.value = form.elements.token.value = "";
      atelier.say("models");
      follow(id);
    } catch (problem) {
      atelier.say("models", problem);
    }
  }

  /** Looks at what runs until nothing does any more. */
  async function follow(id) {
    if (id) awaited.add(id);
    if (following || !list) return;
    following = true;
    try {
      for (;;) {
        const { downloads } = await atelier.api(PATH);
        draw(downloads);
        const under = downloads.filter(busy);
        const done = downloads.filter((errand) => errand.state === "done" && awaited.delete(errand.id));
        for (const errand of under) awaited.add(errand.id);
        if (done.length) await atelier.cards.again();
        if (!under.length) break;
        await new Promise((next) => setTimeout(next, 500));
      }
    } catch (problem) {
      atelier.say("models", problem);
    }
    following = false;
  }

  function draw(errands) {
    list.replaceChildren(...errands.toReversed().map(row));
    if (errands.some(busy)) {
      atelier.find("#a-downloads").hidden = false;
      atelier.find("#a-downloads-open").setAttribute("aria-expanded", "true");
    }
  }

  function row(errand) {
    const { size } = atelier.card;
    const far = errand.total ? `${size(errand.done)} of ${size(errand.total)}` : errand.done ? size(errand.done) : "";
    const left = errand.rate > 0 && errand.total ? atelier.duration((errand.total - errand.done) / errand.rate) : "";
    const words = { waiting: "Waiting", running: [far, errand.rate > 1e4 ? `${size(errand.rate)}/s` : "", left && `${left} left`].filter(Boolean).join(" · ") || "Working", done: errand.message, failed: `${errand.message} ${errand.cure}`, cancelled: "Stopped. What has come is kept for another time." }[errand.state];
    const stop = busy(errand) ? el("button", { type: "button", class: "a-chip", onclick: () => cancel(errand) }, "Stop") : null;
    const share = errand.total ? (100 * errand.done) / errand.total : 0;
    const bar = busy(errand) ? el("div", { class: `a-bar${errand.total ? "" : " a-unknown"}` }, el("i", { style: `width: ${share}%` })) : null;
    return el("div", { class: `a-errand a-errand-${errand.state}` }, el("div", { class: "a-errand-head" }, el("strong", {}, errand.title), stop), bar, el("p", { class: errand.state === "failed" ? "a-problem" : "a-soft" }, words));
  }

  async function cancel(errand) {
    try {
      await atelier.api(`${PATH}/${errand.id}/cancel`, { method: "POST" });
    } catch (problem) {
      atelier.say("models", problem);
    }
  }

  return { open, follow };
})();
