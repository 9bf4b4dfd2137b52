// Keys, and pictures dropped on a prompt.
atelier.prompt = (() => {
  const STEP = 0.1;
  const NETWORK_STEP = 0.05;
  const NO_TEXT = {
    level: "warning",
    message: "This picture carries no generation text.",
    cure: "Only pictures made by a Stable Diffusion program do, and not after being edited or sent by a messenger.",
  };
  const NETWORK = /<[\w]+:[^<>]*>/g;

  /** The text with the weight of the selected words changed by `sign` steps: `word` -> `(word:1.1)`; in `<lora:x:0.8>`
   *  the last number. Weight 1 needs no brackets. Returns {text, start, end} with the words still selected. */
  function reweigh(text, start, end, sign) {
    const network = [...text.matchAll(NETWORK)].find((match) => match.index <= start && end <= match.index + match[0].length);
    if (network) return reweighNetwork(text, network, sign, start);
    const bracket = enclosing(text, start, end);
    const [from, to] = bracket ? [bracket.from, bracket.to] : word(text, start, end);
    if (from === to) return { text, start, end };
    const words = text.slice(from, to);
    const weight = tidy((bracket?.weight ?? 1) + sign * STEP);
    const [before, after] = bracket ? [text.slice(0, from - 1), text.slice(bracket.close + 1)] : [text.slice(0, from), text.slice(to)];
    if (weight === 1) return { text: before + words + after, start: before.length, end: before.length + words.length };
    return { text: `${before}(${words}:${weight})${after}`, start: before.length + 1, end: before.length + 1 + words.length };
  }

  const tidy = (weight) => Math.max(0, Math.round(weight * 100) / 100);

  function reweighNetwork(text, match, sign, caret) {
    const inner = match[0].slice(1, -1).split(":");
    const has = inner.length > 2 && Number.isFinite(Number(inner.at(-1)));
    const weight = tidy((has ? Number(inner.at(-1)) : 1) + sign * NETWORK_STEP);
    const changed = `<${(has ? inner.slice(0, -1) : inner).join(":")}:${weight}>`;
    const result = text.slice(0, match.index) + changed + text.slice(match.index + match[0].length);
    return { text: result, start: caret, end: caret };
  }

  /** The brackets `(words:weight)` whose words hold the selection, where there are such. */
  function enclosing(text, start, end) {
    for (const match of text.matchAll(/\(([^()]*?)(?::\s*([\d.]+))?\)/g)) {
      const from = match.index + 1;
      const to = from + match[1].length;
      const weight = match[2] === undefined ? 1.1 : Number(match[2]);
      if (match.index <= start && end <= match.index + match[0].length) return { from, to, weight, close: match.index + match[0].length - 1 };
    }
    return null;
  }

  /** The selection without the spaces around it, or the word at the caret. */
  function word(text, start, end) {
    if (start === end) {
      while (start > 0 && /[^\s,()<>]/.test(text[start - 1])) start--;
      while (end < text.length && /[^\s,()<>]/.test(text[end])) end++;
    }
    while (start < end && /\s/.test(text[start])) start++;
    while (end > start && /\s/.test(text[end - 1])) end--;
    return [start, end];
  }

  function changeWeight(area, sign) {
    const changed = reweigh(area.value, area.selectionStart, area.selectionEnd, sign);
    area.value = changed.text;
    area.setSelectionRange(changed.start, changed.end);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  const isPrompt = (element) => element instanceof HTMLTextAreaElement && element.closest(".a-prompt");
  const press = (name) => document.getElementById(`${atelier.tabs.current()}-${name}`)?.click();

  function onKey(event) {
    if (atelier.dialog.isOpen()) return; // it has the keys
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key === "Enter") press("generate");
    else if (event.altKey && event.key === "Enter") atelier.jobs.skip();
    else if (control && isPrompt(event.target) && (event.key === "ArrowUp" || event.key === "ArrowDown")) changeWeight(event.target, event.key === "ArrowUp" ? 1 : -1);
    else if (event.key === "Escape" && !atelier.viewer.isOpen() && !document.querySelector("[role=listbox]")) return void atelier.jobs.interrupt();
    else if (isTyping(event.target) || !atelier.viewer.key(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  const isTyping = (element) => element.matches?.("input, textarea, [contenteditable]");

  /** Fills the form of the tab from the text that made a picture. */
  async function readPicture(file, tab) {
    try {
      const headers = { "content-type": file.type || "application/octet-stream" };
      const { fields, notes = [] } = await atelier.api("/api/v1/png-info", { method: "POST", body: file, headers });
      atelier.say(tab, ...(Object.keys(fields).length ? fillFrom(fields, notes, tab) : [NO_TEXT]));
    } catch (problem) {
      atelier.say(tab, problem);
    }
  }

  /** What is to be said after filling the form. The model stays: nobody asked for another one. */
  function fillFrom({ model, ...values }, notes, tab) {
    const refused = atelier.form.fill(tab, values).map((name) => `${name} stays: ${values[name]} is not known here.`);
    const made = model ? `It was made with the model ${model}.` : "";
    const warnings = [...refused, ...notes].map((message) => ({ level: "warning", message }));
    return [{ level: "info", message: "The form is filled from the picture.", cure: made }, ...warnings];
  }

  const dropTarget = (event) => (event.target.closest?.(".a-prompts") && [...(event.dataTransfer?.types ?? [])].includes("Files") ? event.target.closest(".a-prompts") : null);

  function wire() {
    document.addEventListener("keydown", onKey, true);
    for (const kind of ["dragover", "dragleave", "drop"]) {
      document.addEventListener(kind, (event) => {
        const target = dropTarget(event);
        if (!target) return;
        target.classList.toggle("a-drop", kind === "dragover");
        if (kind === "dragleave") return;
        event.preventDefault();
        event.stopPropagation();
        if (kind === "drop" && event.dataTransfer.files.length) readPicture(event.dataTransfer.files[0], atelier.tabs.current());
      }, true);
    }
  }

  return { wire, reweigh, readPicture };
})();
