// Controls of our own, drawn from a description {id, label, type, min, max, step, default, choices, help}: parameters
// of control units, of preprocessors, and whatever an extension's manifest declares. `change` is told every new value.
atelier.knobs = (() => {
  const { el } = atelier;

  function knob(spec, value, change) {
    const now = value ?? spec.default;
    if (spec.type === "bool") return check(spec, now, change);
    if (spec.choices?.length) return choice(spec, now, change);
    if (spec.type === "text") return text(spec, now, change);
    return spec.min != null && spec.max != null ? slider(spec, now, change) : number(spec, now, change);
  }

  const frame = (spec, kind, ...inside) => el("div", { class: `a-knob a-knob-${kind}`, "data-id": spec.id, title: spec.help ?? "" }, ...inside);
  const head = (spec, ...more) => el("label", { class: "a-knob-head" }, el("span", {}, spec.label), ...more);

  /** A number and a slider that say the same. What is typed is moved into its bounds when the field is left. */
  function slider(spec, value, change) {
    const limits = { min: spec.min, max: spec.max, step: spec.step ?? (spec.type === "int" ? 1 : "any") };
    const box = el("input", { type: "number", class: "a-input", ...limits });
    const range = el("input", { type: "range", "aria-label": spec.label, ...limits });
    const show = (now, but) => {
      for (const input of [box, range]) if (input !== but) input.value = now;
      range.style.setProperty("--fill", `${(100 * (now - spec.min)) / (spec.max - spec.min || 1)}%`);
    };
    const take = (input) => {
      const now = bounded(spec, input.value);
      show(now, input);
      change(now);
    };
    range.addEventListener("input", () => take(range));
    box.addEventListener("input", () => box.value !== "" && take(box));
    box.addEventListener("change", () => show(bounded(spec, box.value)));
    show(bounded(spec, value));
    return frame(spec, "slider", head(spec, box), range);
  }

  function bounded(spec, given) {
    const value = given === "" || !Number.isFinite(Number(given)) ? Number(spec.default ?? spec.min ?? 0) : Number(given);
    const inside = Math.min(spec.max ?? Infinity, Math.max(spec.min ?? -Infinity, value));
    return spec.type === "int" ? Math.round(inside) : Number(inside.toFixed(6));
  }

  function number(spec, value, change) {
    const box = el("input", { type: "number", class: "a-input", min: spec.min, max: spec.max, step: spec.step ?? "any", value });
    box.addEventListener("change", () => change(Number((box.value = bounded(spec, box.value)))));
    return frame(spec, "number", head(spec), box);
  }

  function check(spec, value, change) {
    const box = el("input", { type: "checkbox", checked: value === true });
    box.addEventListener("change", () => change(box.checked));
    return frame(spec, "check", el("label", { class: "a-check" }, box, el("span", {}, spec.label)));
  }

  function text(spec, value, change) {
    const tall = spec.lines > 1;
    const box = el(tall ? "textarea" : "input", { ...(tall ? { rows: spec.lines } : { type: "text", value }), class: "a-input", placeholder: spec.placeholder ?? (tall ? spec.help : "") });
    if (tall) box.value = value;
    box.addEventListener("input", () => change(box.value));
    return frame(spec, tall ? "lines" : "text", head(spec), box);
  }

  /** choices: texts, or [value, text] pairs; in groups where `spec.groups` holds {label: choices}. */
  function choice(spec, value, change) {
    const option = (item) => {
      const [key, label] = Array.isArray(item) ? item : [item, item];
      return el("option", { value: key, selected: key === value }, label);
    };
    const groups = Object.entries(spec.groups ?? {}).map(([label, items]) => el("optgroup", { label }, ...items.map(option)));
    const select = el("select", { class: "a-input", "aria-label": spec.label }, ...(spec.groups ? groups : spec.choices.map(option)));
    if (select.value !== String(value)) select.prepend(el("option", { value, selected: true }, `${value} (not here)`));
    select.addEventListener("change", () => change(select.value));
    return frame(spec, "choice", head(spec), select);
  }

  /** A few choices side by side. */
  /** reason: why none of them can be chosen, "" where one can. */
  function segments(spec, value, change, reason = "") {
    const buttons = spec.choices.map((item) => {
      const [key, label] = Array.isArray(item) ? item : [item, item];
      const press = (event) => {
        buttons.forEach((other) => other.setAttribute("aria-checked", String(other === event.currentTarget)));
        change(key);
      };
      return el("button", { type: "button", role: "radio", "aria-checked": String(key === value && !reason), disabled: Boolean(reason), onclick: press }, label);
    });
    const told = reason ? el("small", { class: "a-soft" }, reason) : null;
    return frame(spec, "segments", head(spec), el("div", { class: "a-segments", role: "radiogroup", "aria-label": spec.label }, ...buttons), told);
  }

  /** A part that folds away. `open` is told when it is opened or closed. */
  function fold(title, isOpen, ...inside) {
    const badge = el("span", { class: "a-badge", hidden: true });
    const body = el("div", { class: "a-fold-body" }, ...inside);
    const details = el("details", { class: "a-fold", open: isOpen }, el("summary", {}, el("span", {}, title), badge), body);
    const mark = (words) => {
      badge.hidden = !words;
      badge.textContent = words;
    };
    return { details, body, mark };
  }

  return { knob, segments, fold };
})();
