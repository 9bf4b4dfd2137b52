"use strict";

// Everything the page's script knows hangs on one object; each file adds one part to it.
const atelier = {};
window.atelier = atelier;

/** An element. Children that are strings become text nodes: nothing a user wrote is ever read as HTML. */
atelier.el = (tag, props = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
};

atelier.find = (selector) => document.querySelector(selector);

/** Waits until an element is on the page; Gradio draws a tab only when it is first opened. */
atelier.appears = async (selector) => {
  for (;;) {
    const element = atelier.find(selector);
    if (element) return element;
    await new Promise((done) => setTimeout(done, 30));
  }
};

/** A small JSON store that may be full, forbidden or hold rubbish without anybody noticing. */
atelier.store = (area) => ({
  get(key) {
    try {
      return JSON.parse(area().getItem(key));
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      area().setItem(key, JSON.stringify(value));
    } catch {
      // Private windows and full stores lose the value, nothing else.
    }
  },
});
atelier.session = atelier.store(() => window.sessionStorage);
atelier.local = atelier.store(() => window.localStorage);

/** Asks the server. Throws `{code, message, cure}`, whatever went wrong. */
atelier.api = async (path, options = {}) => {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw { code: "offline", message: "The server does not answer.", cure: "Is it still running? The page goes on by itself when it is back." };
  }
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  throw atelier.problem(response.status, body);
};

/** The error in a refusal of the server, however it was written. */
atelier.problem = (status, body) => {
  const error = body?.error ?? body;
  if (typeof error?.message === "string") return error;
  if (status === 401) return { code: "login", message: "You are not logged in any more.", cure: "Reload the page to log in." };
  if (status === 413) return { code: "too_large", message: "This file is too large.", cure: "" };
  return { code: "error", message: `The server refused this (${status}).`, cure: "" };
};

/** What the server's answer to an event says; an empty object where there was none. */
atelier.ticket = (text) => {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
};

/** Runs `work` once calls have paused for `pause` milliseconds. */
atelier.debounce = (work, pause) => {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), pause);
  };
};

/** Shows messages in the place of a tab, or of the result ("result"). Level: "error", "warning" or "info". */
atelier.say = (place, ...messages) => {
  const slotOf = (name) => atelier.find(`.a-messages[data-tab="${name}"]`);
  const slot = slotOf(place) ?? slotOf("result"); // a tab that was never opened has none yet
  slot.replaceChildren(...messages.map(message));

  function message({ level = "error", message: text, cure = "" }) {
    const close = atelier.el("button", { class: "a-close", title: "Close", "aria-label": "Close", onclick: () => box.remove() }, "×");
    const words = atelier.el("div", {}, atelier.el("strong", {}, text), cure && ` ${cure}`);
    const box = atelier.el("div", { class: `a-message a-${level}` }, words, close);
    return box;
  }
};

/** "1 min 5 s" */
atelier.duration = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
};
