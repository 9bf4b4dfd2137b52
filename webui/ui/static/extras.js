// The accordions that extensions declare in their manifests, one for each in each of its tabs.
atelier.extras = (() => {
  const KEY = (tab) => `atelier/ext/${tab}`;
  const ABSENT = (tab) => `atelier/absent-ext/${tab}`;
  const SWITCHES = (tab) => `atelier/ext-switches/${tab}`;
  const values = {}; // tab -> extension -> field -> value
  const kept = {}; // the same, as a picture brought it, of extensions that have no accordion in the tab
  const switches = {}; // tab -> accordion -> whether it takes part, where the user or a picture said so
  let declared = []; // accordions: {ext, label, tabs, fields}
  const SWITCH = { id: "takes-part", label: "Enable", type: "bool", help: "On as soon as a value is changed. On by hand: it takes part with all values at their defaults, too" };
  const views = {}; // tab -> the element that holds them

  /** What Generate sends: the accordions that take part, each with all its fields. */
  function collect(tab) {
    const sent = {};
    for (const item of here(tab)) if (takesPart(tab, item)) sent[item.ext] = { ...sent[item.ext], ...now(tab, item) };
    return sent;
  }

  const now = (tab, { ext, fields }) => Object.fromEntries(fields.map((field) => [field.id, values[tab]?.[ext]?.[field.id] ?? field.default]));

  /** What its switch says; where nobody has touched that, whether something is not at its default. */
  function takesPart(tab, item) {
    const given = now(tab, item);
    const changed = item.fields.some((field) => given[field.id] !== field.default);
    return hasSwitch(item) ? (switches[tab]?.[name(item)] ?? changed) : changed;
  }

  /** A field `enabled` is an extension's own switch. */
  const hasSwitch = ({ fields }) => !fields.some((field) => field.id === "enabled");
  const name = ({ ext, label }) => `${ext}/${label}`;

  /** What goes on into the texts of new pictures, without effect on them. */
  const absent = (tab) => kept[tab] ?? {};

  const here = (tab) => declared.filter((item) => item.tabs.includes(tab));

  /** Values from elsewhere; what is not named goes back to its default. */
  function fill(tab, sent) {
    [values[tab], kept[tab], switches[tab]] = [{}, { ...sent }, {}];
    adopt(tab);
    keep(tab);
    draw(tab);
  }

  /** What is kept for extensions that have an accordion here goes into it. Returns whether there was such. */
  function adopt(tab) {
    const own = here(tab).filter(({ ext }) => ext in absent(tab));
    for (const item of own) switches[tab] = { ...switches[tab], [name(item)]: true };
    for (const ext of new Set(own.map((item) => item.ext))) {
      values[tab] = { ...values[tab], [ext]: kept[tab][ext] };
      delete kept[tab][ext];
    }
    return own.length > 0;
  }

  function keep(tab) {
    for (const store of [atelier.session, atelier.local]) {
      store.set(KEY(tab), values[tab]);
      store.set(ABSENT(tab), kept[tab]);
      store.set(SWITCHES(tab), switches[tab]);
    }
  }

  function draw(tab) {
    const folds = here(tab).map((item) => {
      const { ext, label, fields } = item;
      const given = values[tab]?.[ext] ?? {};
      const control = (field) => (field.type === "image" ? picture : atelier.knobs.knob)(field, given[field.id], (value) => change(field, value), tab);
      const knobs = fields.map(control);
      const { details, body, mark } = atelier.knobs.fold(label, false);
      details.dataset.ext = ext;
      const toggle = atelier.knobs.knob(SWITCH, false, (on) => flip(on));
      body.append(atelier.el("div", { class: "a-knobs a-own-params" }, hasSwitch(item) ? toggle : null, ...knobs));
      const told = () => {
        const on = takesPart(tab, item);
        toggle.querySelector("input").checked = on;
        mark(on ? "on" : "");
      };
      const flip = (on) => {
        switches[tab] = { ...switches[tab], [name(item)]: on };
        keep(tab);
        told();
      };
      const change = (field, value) => {
        values[tab] = { ...values[tab], [ext]: { ...values[tab]?.[ext], [field.id]: value } };
        keep(tab);
        told();
      };
      told();
      return details;
    });
    views[tab] ??= atelier.el("div", { class: "a-folds" });
    views[tab].replaceChildren(...folds, ...leftover(tab));
  }

  /** Says what is kept for extensions that are off or not there, and lets go of it. */
  function leftover(tab) {
    const ids = Object.keys(absent(tab));
    if (!ids.length) return [];
    const forget = () => {
      kept[tab] = {};
      keep(tab);
      draw(tab);
    };
    const words = atelier.el("span", { class: "a-soft" }, `Kept in the text of new pictures, without effect: the values of ${ids.join(", ")}`);
    return [atelier.el("div", { class: "a-wanted a-kept" }, words, atelier.el("button", { type: "button", class: "a-chip", onclick: forget }, "Forget"))];
  }

  /** A field that takes a picture: dropped, pasted, chosen, or painted in the colours that it declares. */
  function picture(field, value, change, tab) {
    let sha = value?.sha256 ?? "";
    const box = atelier.el("div", { class: "a-knob a-knob-image", "data-id": field.id, title: field.help });
    const take = (next) => {
      sha = next;
      change(next ? { sha256: next } : null);
    };
    const buttons = field.colours.length ? [{ text: "Paint", title: field.help, act: () => paint() }] : [];
    const show = () => box.replaceChildren(atelier.zones.zone({ label: field.label, sha, place: tab, change: take, buttons }));
    async function paint() {
      try {
        const own = await atelier.units.own(tab);
        const size = [atelier.form.value(tab, "width") || 512, atelier.form.value(tab, "height") || 512].map(Number);
        const below = { picture: own && atelier.zones.url(own), layer: sha && atelier.zones.url(sha) };
        const blob = await atelier.paint.open({ title: field.label, mask: true, colours: field.colours, size, ...below });
        if (!blob) return;
        take(await atelier.zones.upload(blob));
        show();
      } catch (problem) {
        atelier.say(tab, problem);
      }
    }
    show();
    return box;
  }

  /** The extensions changed: their accordions come and go, without a reload of the page. */
  function declare(extensions) {
    const on = extensions.filter((item) => item.state === "ready" || item.state === "active");
    declared = on.flatMap((item) => item.accordions.map((accordion) => ({ ext: item.id, ...accordion })));
    Object.keys(views).filter(adopt).forEach(keep);
    Object.keys(views).forEach(draw);
  }

  async function attach(tab) {
    const slot = await atelier.appears(`.a-extras[data-tab="${tab}"]`);
    if (views[tab] && !slot.contains(views[tab])) slot.replaceChildren(views[tab]);
  }

  function start(tabs) {
    for (const tab of tabs) {
      const stored = (key) => atelier.session.get(key) ?? atelier.local.get(key) ?? {};
      [values[tab], kept[tab], switches[tab]] = [KEY, ABSENT, SWITCHES].map((key) => stored(key(tab)));
      draw(tab);
      attach(tab);
    }
  }

  return { start, attach, declare, collect, absent, fill };
})();
