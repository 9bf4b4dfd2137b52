// The accordions that extensions declare in their manifests, one for each in each of its tabs.
atelier.extras = (() => {
  const KEY = (tab) => `atelier/ext/${tab}`;
  const values = {}; // tab -> extension -> field -> value
  let declared = []; // accordions: {ext, label, tabs, fields}
  const views = {}; // tab -> the element that holds them

  /** What Generate sends: extensions of which something is not at its default, each with all its fields. */
  function collect(tab) {
    const sent = {};
    for (const { ext, fields } of here(tab)) {
      const now = Object.fromEntries(fields.map((field) => [field.id, values[tab]?.[ext]?.[field.id] ?? field.default]));
      if (fields.some((field) => now[field.id] !== field.default)) sent[ext] = { ...sent[ext], ...now };
    }
    return sent;
  }

  const here = (tab) => declared.filter((item) => item.tabs.includes(tab));

  /** Values from elsewhere; what is not named goes back to its default. */
  function fill(tab, sent) {
    values[tab] = sent;
    keep(tab);
    draw(tab);
  }

  function keep(tab) {
    atelier.session.set(KEY(tab), values[tab]);
    atelier.local.set(KEY(tab), values[tab]);
  }

  function draw(tab) {
    const folds = here(tab).map(({ ext, label, fields }) => {
      const given = values[tab]?.[ext] ?? {};
      const control = (field) => (field.type === "image" ? picture : atelier.knobs.knob)(field, given[field.id], (value) => change(field, value), tab);
      const knobs = fields.map(control);
      const { details, body, mark } = atelier.knobs.fold(label, false);
      details.dataset.ext = ext;
      body.append(atelier.el("div", { class: "a-knobs a-own-params" }, ...knobs));
      const told = () => mark(ext in collect(tab) ? "on" : "");
      const change = (field, value) => {
        values[tab] = { ...values[tab], [ext]: { ...values[tab]?.[ext], [field.id]: value } };
        keep(tab);
        told();
      };
      told();
      return details;
    });
    views[tab] ??= atelier.el("div", { class: "a-folds" });
    views[tab].replaceChildren(...folds);
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
    Object.keys(views).forEach(draw);
  }

  async function attach(tab) {
    const slot = await atelier.appears(`.a-extras[data-tab="${tab}"]`);
    if (views[tab] && !slot.contains(views[tab])) slot.replaceChildren(views[tab]);
  }

  function start(tabs) {
    for (const tab of tabs) {
      values[tab] = atelier.session.get(KEY(tab)) ?? atelier.local.get(KEY(tab)) ?? {};
      draw(tab);
      attach(tab);
    }
  }

  return { start, attach, declare, collect, fill };
})();
