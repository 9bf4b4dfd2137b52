// What each control unit did: its map, and how strongly it acted in each step, as a small plot under the picture.
atelier.reports = (() => {
  const { el } = atelier;
  const SVG = "http://www.w3.org/2000/svg";
  const [WIDE, HIGH] = [180, 36];
  let drawn = ""; // what is on show

  function draw(job) {
    const place = atelier.find("#a-panel .a-reports");
    const units = job?.units ?? [];
    const maps = job?.maps ?? [];
    const told = JSON.stringify([job?.id, units, maps]);
    if (told === drawn) return;
    drawn = told;
    const numbers = [...new Set([...units, ...maps].map((item) => item.unit))].sort((one, other) => one - other);
    place.hidden = !numbers.length;
    place.replaceChildren(...numbers.map((number) => row(number, units.filter((item) => item.unit === number), maps.find((item) => item.unit === number))));
  }

  function row(number, passes, map) {
    const label = passes[0]?.label ?? map?.label ?? "";
    const picture = map && el("a", { href: atelier.zones.url(map.sha256), target: "_blank", rel: "noopener", title: "The map" }, el("img", { src: atelier.zones.url(map.sha256), alt: `Map of unit ${number}`, draggable: "true" }));
    const notes = passes.filter((pass) => pass.note).map((pass) => el("small", { class: "a-problem" }, pass.note));
    return el("div", { class: "a-report" }, picture, el("div", { class: "a-report-words" }, el("span", {}, `Unit ${number}${label ? `: ${label}` : ""}`), ...notes), ...passes.filter((pass) => pass.ratios.length).map(plot));
  }

  const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;

  /** A bar for each step in which the unit acted: the size of what it added, relative to what it was added to. */
  function plot(pass) {
    const most = Math.max(...pass.ratios, 1e-9);
    const steps = Math.max(...pass.steps, pass.ratios.length - 1) + 1;
    const mean = pass.ratios.reduce((sum, value) => sum + value, 0) / pass.ratios.length;
    const title = `What it added, relative to what it was added to, per step; largest ${percent(most)}`;
    const chart = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "a-plot", preserveAspectRatio: "none", role: "img", "aria-label": title });
    pass.ratios.forEach((ratio, index) => {
      const [wide, high] = [WIDE / steps, Math.max(1, (HIGH - 2) * (ratio / most))];
      const bar = svg("rect", { x: (pass.steps[index] ?? index) * wide, y: HIGH - high, width: Math.max(0.5, wide - 1), height: high });
      const words = svg("title", {});
      words.textContent = `Step ${(pass.steps[index] ?? index) + 1}: ${percent(ratio)}`;
      bar.append(words);
      chart.append(bar);
    });
    return el("figure", { title }, chart, el("figcaption", {}, `${pass.part ? "hires · " : ""}mean ${percent(mean)}`));
  }

  function svg(tag, values) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
    return element;
  }

  return { draw };
})();
