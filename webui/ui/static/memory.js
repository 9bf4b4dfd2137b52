// What models take of the memory, told when it is asked for, and letting go of them.
atelier.memory = (() => {
  const { el } = atelier;
  const PATH = "/api/v1/memory";
  const GB = 1024 ** 3;
  const MODES = { auto: "automatic", high: "high", med: "medium", "med-sdxl": "medium for SDXL", low: "low" };
  const MANNERS = { together: "whole models at once", turns: "parts of a model in turns", blocks: "the U-Net block by block" };

  function wire() {
    const box = atelier.find("#a-memory");
    box.addEventListener("toggle", () => box.open && look());
    document.addEventListener("click", (event) => !box.contains(event.target) && (box.open = false));
    document.addEventListener("keydown", (event) => event.key === "Escape" && box.open && close(event), true);

    function close(event) {
      event.stopImmediatePropagation(); // it closes this, and interrupts no job
      box.open = false;
      box.firstElementChild.focus();
    }
  }

  async function look(options) {
    const body = atelier.find("#a-memory-told");
    body.setAttribute("aria-busy", "true");
    try {
      body.replaceChildren(...told(await atelier.api(options ? `${PATH}/unload` : PATH, options)));
    } catch (problem) {
      body.replaceChildren(el("p", {}, `${problem.message} ${problem.cure ?? ""}`.trim()));
    }
    body.removeAttribute("aria-busy");
  }

  function told({ mode, manner, device, machine, loaded }) {
    const letGo = el("button", { class: "a-chip", type: "button", disabled: loaded.length === 0, title: "They are read again when they are needed", onclick: () => look({ method: "POST" }) }, "Let go of all models");
    return [
      line("Machine", `${size(machine.used)} used by the engine, ${size(machine.free)} free of ${size(machine.total)}`),
      device.total && line("GPU", `${size(device.used)} used by the engine, ${size(device.free)} free of ${size(device.total)}`),
      line("Mode", `${MODES[mode] ?? mode}: ${MANNERS[manner] ?? manner}`),
      line("Models", loaded.length ? loaded.map(({ name, bytes }) => `${name} (${size(bytes)})`).join(", ") : "none are loaded"),
      letGo,
    ].filter(Boolean);
  }

  const line = (name, text) => el("p", {}, el("b", {}, name), ` ${text}`);
  const size = (bytes) => (bytes < GB ? `${Math.round(bytes / 1024 ** 2)} MB` : `${(bytes / GB).toFixed(1)} GB`);

  return { wire };
})();
