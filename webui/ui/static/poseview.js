// Draws people to be edited: a sketch, thin enough to work on; the map itself is drawn by the engine.
atelier.poseView = (() => {
  const { NAMES, LIMBS, COLOURS, isOn } = atelier.pose;
  const SPACE = "http://www.w3.org/2000/svg";
  const WIDTH = 4; // half of a limb, and a joint's radius, in pixels of the map
  const SEEN = [5, 8]; // the least and the most that this is on the screen, so that small maps can be edited too
  const FINGERS = Array.from({ length: 20 }, (_, tip) => [tip % 4 ? tip : 0, tip + 1]);

  function shape(tag, properties, ...children) {
    const element = document.createElementNS(SPACE, tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const board = (width, height) => shape("svg", { class: "a-pose-people", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Joints" });
  const rgb = (colour, share = 1) => `rgb(${colour.map((part) => Math.round(part * share)).join(" ")})`;

  /** All people, the chosen one with its joints that are off. unit: pixels of the map in one of the screen. */
  function draw(svg, people, chosen, unit) {
    const focused = svg.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    svg.replaceChildren(...people.map((person, index) => one(person, index, index === chosen, unit)));
    if (focused) focus(svg, focused);
  }

  const focus = (svg, key) => svg.querySelector(`[data-key="${key}"]`)?.focus({ preventScroll: true });

  function one(person, index, isChosen, unit) {
    const limbs = LIMBS.flatMap(([from, to], at) => (isOn(person.body[from]) && isOn(person.body[to]) ? [limb(person.body[from], person.body[to], COLOURS[at], Math.min(WIDTH, SEEN[1] * unit))] : []));
    const hands = [person.leftHand, person.rightHand].filter(Boolean).flatMap((hand) => fingers(hand, unit));
    const face = (person.face ?? []).filter(isOn).map(([x, y]) => shape("circle", { cx: x, cy: y, r: dot(unit), fill: "white" }));
    const radius = Math.min(Math.max(WIDTH, SEEN[0] * unit), SEEN[1] * unit);
    const joints = person.body.map((joint, at) => circle(joint, at, index, isChosen, radius));
    return shape("g", { class: isChosen ? "a-person a-chosen" : "a-person", "data-person": index }, ...limbs, ...hands, ...face, ...joints.filter(Boolean));
  }

  const dot = (unit) => Math.min(Math.max(2, 1.5 * unit), 3 * unit);

  function limb([x, y], [toX, toY], colour, half) {
    const angle = (Math.atan2(toY - y, toX - x) * 180) / Math.PI;
    const place = `translate(${(x + toX) / 2} ${(y + toY) / 2}) rotate(${angle})`;
    return shape("ellipse", { class: "a-limb", rx: Math.hypot(toX - x, toY - y) / 2, ry: half, transform: place, fill: rgb(colour, 0.6) });
  }

  function fingers(hand, unit) {
    const lines = FINGERS.filter(([from, to]) => isOn(hand[from]) && isOn(hand[to])).map(([from, to]) => shape("line", { x1: hand[from][0], y1: hand[from][1], x2: hand[to][0], y2: hand[to][1], stroke: `hsl(${18 * (to - 1)} 100% 50%)`, "stroke-width": dot(unit) }));
    return [...lines, ...hand.filter(isOn).map(([x, y]) => shape("circle", { cx: x, cy: y, r: dot(unit), fill: "blue" }))];
  }

  function circle(joint, at, index, isChosen, radius) {
    const on = isOn(joint);
    if (!on && !isChosen) return null;
    const told = `${NAMES[at]}, person ${index + 1}${on ? "" : ", off"}`;
    const place = { cx: joint[0], cy: joint[1], r: radius, "data-key": `${index}-${at}` };
    const look = on ? { fill: rgb(COLOURS[at]) } : { fill: "transparent", stroke: rgb(COLOURS[at]) };
    return shape("circle", { ...place, ...look, class: `a-joint${on ? "" : " a-off"}`, tabindex: isChosen ? 0 : -1, role: "button", "aria-pressed": String(on), "aria-label": told }, shape("title", {}, document.createTextNode(told)));
  }

  return { board, draw, focus };
})();
