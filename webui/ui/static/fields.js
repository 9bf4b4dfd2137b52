// Single fields: their help as a tooltip, and the arrow keys of numbers that may be left open. Gradio draws a tab when
// it is first opened, so everything here listens to the whole page.
atelier.fields = (() => {
  /** [tab, field] of the control that an element belongs to. */
  function fieldOf(element) {
    const id = element.closest?.("[id*='-']")?.id ?? "";
    const [tab, name] = [id.slice(0, id.indexOf("-")), id.slice(id.indexOf("-") + 1)];
    return [tab, atelier.form.forms[tab]?.find((item) => item.name === name)];
  }

  function tell(event) {
    const icon = event.target.closest?.("button.a-icon");
    if (icon) icon.title ||= icon.textContent.trim();
    const label = event.target.closest?.("label, .head, [data-testid='block-info']");
    if (!label || label.title || label.closest(".a-prompts")) return;
    const [, item] = fieldOf(label);
    if (item) label.title = item.help;
  }

  /** ↑ and ↓ change a number in a text field by its declared step. An empty field starts at its placeholder's number. */
  function nudge(event) {
    const sign = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!sign || !event.target.matches?.("input[type=text], input:not([type])")) return;
    const [, item] = fieldOf(event.target);
    if (!item?.optional) return;
    event.preventDefault();
    const now = parseFloat(event.target.value || event.target.placeholder.match(/\d+/)?.[0] || item.minimum);
    const next = Math.min(item.maximum, Math.max(item.minimum, now + sign * item.step));
    event.target.value = String(Number(next.toFixed(4)));
    event.target.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function wire() {
    document.addEventListener("mouseover", tell);
    document.addEventListener("keydown", nudge);
  }

  return { wire };
})();
