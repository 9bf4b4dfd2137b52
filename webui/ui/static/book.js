// Styles: those of this server, written into the prompts, saved from them, edited and deleted.
atelier.book = (() => {
  const { el } = atelier;
  const PROMPTS = ["prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt"];
  const HINT = "{prompt} in a style stands for the prompt; without it the style follows behind a comma.";
  let list = [];

  /** Reads the styles of the server, and tells the forms which there are. */
  async function read() {
    try {
      take(await atelier.api("/api/v1/styles"));
    } catch (problem) {
      atelier.say("result", problem);
    }
  }

  function take({ styles, locked }) {
    list = styles;
    document.body.classList.toggle("a-styles-locked", Boolean(locked));
    atelier.form.offer("styles", styles.map(({ name }) => name));
  }

  const send = (path, method, body) => atelier.api(path, { method, ...(body && { body: JSON.stringify(body), headers: { "content-type": "application/json" } }) });

  /** The chosen styles become words of the prompts. */
  async function apply(tab) {
    const prompts = Object.fromEntries(PROMPTS.map((name) => [name, atelier.form.value(tab, name) ?? ""]));
    try {
      const laid = await send("/api/v1/styles/apply", "POST", { ...prompts, styles: atelier.form.value(tab, "styles") ?? [] });
      atelier.form.fill(tab, { ...laid, styles: [] });
    } catch (problem) {
      atelier.say(tab, problem);
    }
  }

  /** The dialog. It begins with the chosen style where one is chosen, else with the prompts of the form. */
  function open(tab) {
    const chosen = atelier.form.value(tab, "styles") ?? [];
    const words = (name) => atelier.form.value(tab, name) ?? "";
    let [dropping, replacing] = [false, ""]; // what the next press takes away: the style, or the other one of this name

    const which = el("select", { "aria-label": "Style", onchange: () => show(which.value) });
    const name = el("input", { type: "text", "aria-label": "Name", placeholder: "Name", maxlength: "500", oninput: () => refresh() });
    const prompt = el("textarea", { "aria-label": "Prompt of the style", placeholder: "Prompt", rows: "4" });
    const negative = el("textarea", { "aria-label": "Negative prompt of the style", placeholder: "Negative prompt", rows: "3" });
    const note = el("p", { class: "a-book-note", role: "status" });
    const button = (text, act, title = null, more = "") => el("button", { type: "button", class: `a-chip ${more}`, title, onclick: act }, text);
    const remove = button("Delete", drop);
    const keep = button("Save", save, null, "a-strong");
    const foot = el("div", { class: "a-book-foot" }, button("From the form", fromForm, "Take the prompts of the form"), remove, button("Close", close), keep);
    const frame = el("div", { class: "a-book-frame" }, el("strong", {}, "Styles"), which, name, prompt, negative, el("p", { class: "a-soft" }, HINT), note, foot);
    const box = el("div", { class: "a-book a-html", role: "dialog", "aria-modal": "true", "aria-label": "Styles", tabindex: "-1" }, frame);
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      if (event.key === "Tab" && atelier.dialog.within(event, box)) event.preventDefault();
    });
    box.addEventListener("pointerdown", (event) => event.target === box && close());

    function close() {
      box.remove();
    }

    function fromForm() {
      [prompt.value, negative.value] = [words("prompt"), words("negative_prompt")];
    }

    /** A style of the list, or a new one. */
    function show(wanted) {
      const style = list.find((one) => one.name === wanted);
      which.replaceChildren(el("option", { value: "" }, "New style"), ...list.map((one) => el("option", { value: one.name }, one.name)));
      which.value = name.value = style?.name ?? "";
      if (style) [prompt.value, negative.value] = [style.prompt, style.negative_prompt];
      else fromForm();
      refresh();
    }

    function refresh(text = "") {
      [dropping, replacing] = [false, ""];
      note.textContent = text;
      remove.hidden = !which.value;
      remove.textContent = "Delete";
      keep.disabled = !name.value.trim();
    }

    async function save() {
      const body = { name: name.value.trim(), prompt: prompt.value, negative_prompt: negative.value };
      await change(() => send("/api/v1/styles", "POST", { ...body, replace: [replacing, which.value].includes(body.name) }), body.name, "Saved.");
    }

    async function drop() {
      if (!dropping) {
        dropping = true;
        remove.textContent = "Really delete?";
        return;
      }
      await change(() => send(`/api/v1/styles?${new URLSearchParams({ name: which.value })}`, "DELETE"), "", "Deleted.");
    }

    async function change(work, then, told) {
      try {
        take(await work());
        atelier.find("#styles-refresh")?.click();
        show(then);
        refresh(told);
      } catch (problem) {
        refresh(`${problem.message} ${problem.cure}`);
        if (problem.code === "already_there") [replacing, note.textContent] = [name.value.trim(), `${problem.message} Press Save again to replace it.`];
      }
    }

    show(chosen.length === 1 ? chosen[0] : "");
    document.body.append(box);
    (name.value ? prompt : name).focus();
  }

  /** Buttons of all tabs; Gradio draws a tab when it is first opened. */
  function wire() {
    document.addEventListener("click", (event) => {
      const tab = event.target.closest?.(".a-styles")?.dataset.tab;
      if (tab && event.target.closest(".a-style-apply")) apply(tab);
      else if (tab && event.target.closest(".a-style-edit")) open(tab);
    });
  }

  return { read, wire };
})();
