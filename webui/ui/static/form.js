// The forms of the tabs: what they hold becomes a payload, and values from elsewhere come into them.
// Gradio keeps a control's value also while its tab is closed, so values only move through Gradio's own events.
atelier.form = (() => {
  const forms = {}; // tab -> fields, in the order of the tab's inputs
  const wanted = {}; // tab -> values that wait for `filled`
  const unsaved = {}; // tab -> values that are not in the stores yet
  const present = {}; // tab -> values as they stand
  const known = {}; // field -> what its list offers, once that is told
  let restored = false;
  const PICTURES = (tab) => `atelier/pictures/${tab}`;
  const HIRES_OWN = ["hr_sampler_name", "hr_scheduler", "hr_cfg", "hr_prompt", "hr_negative_prompt"];
  const UNCHANGED = { __type__: "update" };
  const KEY = (tab) => `atelier/form/${tab}`;

  const field = (tab, name) => forms[tab].find((item) => item.name === name);

  /** One JSON text of all that a press of Generate needs. */
  function collect(tab, names, values) {
    atelier.say(tab);
    const entries = names.map((name, index) => [name, values[index] ?? null]);
    const isField = ([name]) => name === "model" || field(tab, name);
    const fields = Object.fromEntries(entries.filter(isField).map(([name, value]) => [name, outgoing(field(tab, name), value)]));
    const pictures = Object.fromEntries(entries.filter((entry) => !isField(entry)));
    atelier.session.set(PICTURES(tab), { ...pictures, editor: withoutMask(pictures.editor) });
    const more = { control: atelier.units.collect(tab), ext: atelier.extras.collect(tab), absent_ext: atelier.extras.absent(tab) };
    const form = { tab, fields: { ...fields, ...more, model: fields.model ?? "" }, pictures };
    return [JSON.stringify({ ...form, key: atelier.jobs.press(tab, JSON.stringify(form)) })];
  }

  // Gradio 6.31 puts a layer that comes with its picture in the wrong place unless the picture is square.
  const withoutMask = (value) => value && { background: value.background, layers: [], composite: null };

  /** A number that may be left open stands in a text field: empty is null. What is no number goes on as it is, so that
   *  the server tells what is wrong with it, and where. */
  function outgoing(item, value) {
    if (item?.type === "tuple") return value ?? [];
    if (!item?.optional) return item?.type === "str" ? (value ?? "") : value;
    const text = String(value ?? "").trim();
    if (text === "") return null;
    return Number.isFinite(Number(text)) ? Number(text) : text;
  }

  /** Puts values (and pictures) into a tab's form, also into one that was never opened. Returns the names of the
   *  values that could not be used. */
  function fill(tab, { control, ext, absent_ext, ...values }, pictures = {}) {
    if (control) atelier.units.fill(tab, control);
    if (ext || absent_ext) atelier.extras.fill(tab, { ...absent_ext, ...ext });
    const names = Object.keys(values).filter((name) => field(tab, name));
    const good = names.filter((name) => usable(field(tab, name), values[name]));
    const before = wanted[tab] ?? { values: {}, pictures: {} };
    const chosen = Object.fromEntries(good.map((name) => [name, offered(tab, name, values[name])]));
    wanted[tab] = { values: { ...before.values, ...chosen }, pictures: { ...before.pictures, ...pictures } };
    deliver(tab);
    return names.filter((name) => !good.includes(name));
  }

  /** Presses the tab's hidden button until Gradio, which may still be drawing the page, has come for the values. */
  async function deliver(tab) {
    while (wanted[tab]) {
      (await atelier.appears(`#${tab}-fill`)).click();
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  function usable(item, value) {
    if (!item) return false;
    if (value === null) return item.optional;
    if (item.type === "tuple") return Array.isArray(value) && value.every((one) => typeof one === "string");
    if (item.choices) return item.choices.includes(value);
    if (item.type === "int" || item.type === "float") return typeof value === "number" && Number.isFinite(value);
    return item.type === "bool" ? typeof value === "boolean" : typeof value === "string";
  }

  /** What a list offers from now on: what is chosen and not there any more is let go. */
  function offer(name, values) {
    known[name] = values;
    for (const tab of Object.keys(forms)) {
      const chosen = wanted[tab]?.values[name] ?? present[tab]?.[name] ?? [];
      if (chosen.some((one) => !values.includes(one))) fill(tab, { [name]: chosen });
    }
  }

  function offered(tab, name, value) {
    const gone = Array.isArray(value) && known[name] ? value.filter((one) => !known[name].includes(one)) : [];
    if (!gone.length) return value;
    atelier.say(tab, { level: "warning", message: `${field(tab, name).title} that are not here any more are left out: ${gone.join(", ")}.` });
    return value.filter((one) => !gone.includes(one));
  }

  /** What changes in the form: the values that `fill` wants, and nothing else. Gradio calls it. */
  function filled(tab, pictureNames) {
    const { values = {}, pictures = {} } = wanted[tab] ?? {};
    delete wanted[tab];
    const fields = forms[tab].map((item) => (item.name in values ? incoming(item, values[item.name]) : UNCHANGED));
    return [...fields, ...pictureNames.map((name) => pictures[name] ?? UNCHANGED)];
  }

  function incoming(item, value) {
    if (item.optional) return value === null ? "" : String(value);
    return item.top ? stretched(value, item.top, item.maximum) : value;
  }

  /** A slider that ends earlier than the declared bound grows when a larger value is typed or comes in. */
  function stretched(value, top, bound) {
    return { __type__: "update", value, maximum: value > top ? bound : top };
  }

  /** A picture that the server laid ready for a tab: the value of the component that shows it. */
  function received(tab, slot, ticket) {
    const { file, brush, eraser, error } = atelier.ticket(ticket);
    if (!file) {
      atelier.say("result", error);
      return UNCHANGED;
    }
    atelier.tabs.open(tab);
    if (slot === "image") return file;
    return { __type__: "update", value: { background: file, layers: [], composite: null }, brush, eraser };
  }

  /** Remembers the form. What Gradio tells while it still draws the page is not the user's. */
  function keep(tab, values) {
    if (!restored) return;
    const kept = Object.fromEntries(forms[tab].map((item, index) => [item.name, outgoing(item, values[index] ?? null)]));
    if ("enable_hr" in kept) markHires(kept);
    if (atelier.tokens.PROMPTS.some((name) => kept[name] !== present[tab]?.[name])) atelier.tokens.soon(tab);
    unsaved[tab] = present[tab] = kept;
    saveSoon();
  }

  /** What is folded away and has a say is marked. */
  function markHires(kept) {
    document.body.classList.toggle("a-hires", kept.enable_hr === true);
    document.body.classList.toggle("a-hires-own", HIRES_OWN.some((name) => kept[name]));
  }

  function save() {
    for (const [tab, kept] of Object.entries(unsaved)) {
      atelier.session.set(KEY(tab), kept);
      atelier.local.set(KEY(tab), kept);
      delete unsaved[tab];
    }
  }
  const saveSoon = atelier.debounce(save, 250);
  window.addEventListener("pagehide", save);

  /** After a reload: this window's own values, else those of the last window. Pictures as they were when Generate was
   *  last pressed. */
  async function restore() {
    for (const tab of Object.keys(forms)) {
      const kept = atelier.session.get(KEY(tab)) ?? atelier.local.get(KEY(tab));
      const pictures = atelier.session.get(PICTURES(tab));
      if (kept || pictures) fill(tab, kept ?? {}, pictures ?? {});
    }
    restored = true;
    while (Object.keys(wanted).length) await new Promise((done) => setTimeout(done, 30));
  }

  /** A value as it stands; null: open, or never touched. */
  const value = (tab, name) => (name === "model" ? atelier.models.chosen() : (present[tab]?.[name] ?? null));

  return { collect, fill, offer, value, filled, received, keep, restore, stretched, register: (all) => Object.assign(forms, all), forms };
})();
