// The jobs of this window. A job lives in the server; the window only knows its id and follows it, so closing or
// reloading the page costs nothing. One event stream at most, and only while the window is visible: a browser opens
// six connections to a server, for all its windows together. A hidden window asks now and then.
atelier.jobs = (() => {
  const KEY = "atelier/jobs";
  const KEPT = 30;
  const RETRY = 1500;
  const PATIENCE = 3000;
  const GLANCE = 4000;
  const OVER = new Set(["done", "failed", "interrupted"]);
  let ids = []; // oldest first
  const views = new Map(); // id -> the server's view of the job
  const pressed = {}; // tab -> {key, form} of the press that the server has not answered yet
  const stopped = new Set(); // ids of jobs that were told to stop
  let stream = null;
  let glances = 0; // timer of a hidden window
  let followed = ""; // what is followed, and how

  const over = (view) => view !== undefined && OVER.has(view.state);
  const waiting = () => ids.filter((id) => !over(views.get(id)));
  const current = () => waiting()[0];
  const known = () => ids.map((id) => views.get(id)).filter(Boolean);
  const path = (id, rest = "") => `/api/v1/jobs/${encodeURIComponent(id)}${rest}`;

  /** The key of a press of Generate. The second click of a double click means the same job: it gets the same key. */
  function press(tab, form) {
    if (pressed[tab]?.form !== form) pressed[tab] = { key: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, form };
    document.body.classList.add("a-sending");
    setTimeout(() => pressed[tab] && atelier.status.look(), PATIENCE);
    return pressed[tab].key;
  }

  /** The server is gone: presses that it has not answered are lost. */
  function unanswered() {
    Object.keys(pressed).forEach((tab) => take(tab, ""));
  }

  /** The server's answer to a press: a job of this window, or an error. */
  function take(tab, ticket) {
    document.body.classList.remove("a-sending");
    const press = pressed[tab];
    if (!press) return; // a second answer to one press
    delete pressed[tab];
    const answer = atelier.ticket(ticket);
    if (answer.key !== press.key) answer.error = { message: "The server did not take the job.", cure: "Is it still running? Then press Generate again." };
    if (answer.error) return atelier.say(tab, answer.error);
    add(answer.id);
    atelier.result.started();
  }

  function add(id) {
    if (!ids.includes(id)) ids = [...ids, id].slice(-KEPT);
    atelier.session.set(KEY, ids);
    follow();
    atelier.result.draw();
  }

  function follow() {
    const id = current();
    const way = id ? `${document.hidden ? "glance" : "stream"} ${id}` : "";
    if (way === followed) return;
    unfollow();
    followed = way;
    if (!id) return;
    if (document.hidden) glances = setInterval(() => look(id), GLANCE);
    else listen(id);
  }

  function unfollow() {
    stream?.close();
    clearInterval(glances);
    stream = null;
    followed = "";
  }

  function listen(id) {
    stream = new EventSource(path(id, "/events"));
    stream.onmessage = (event) => receive(JSON.parse(event.data));
    stream.onerror = async () => {
      unfollow();
      await look(id);
      setTimeout(follow, RETRY);
    };
  }

  /** Asks once how a job stands. */
  async function look(id) {
    try {
      receive(await atelier.api(path(id)));
    } catch (problem) {
      if (problem.code === "not_found") forget(id);
    }
  }

  function receive(view) {
    const before = views.get(view.id);
    if (!over(view) && before && view.cursor < before.cursor) return; // an answer that was overtaken
    views.set(view.id, view);
    atelier.result.update(view, before);
    if (over(view)) follow();
  }

  function forget(id) {
    ids = ids.filter((other) => other !== id);
    views.delete(id);
    atelier.session.set(KEY, ids);
    follow();
    atelier.result.draw();
  }

  async function control(id, verb) {
    if (!id) return;
    if (verb === "interrupt") stopped.add(id);
    atelier.result.draw();
    try {
      receive(await atelier.api(path(id, `/${verb}`), { method: "POST" }));
    } catch (problem) {
      stopped.delete(id);
      atelier.say("result", problem);
    }
  }

  /** After a reload: this window's jobs again, finished or not. */
  async function restore() {
    ids = atelier.session.get(KEY) ?? [];
    const found = await Promise.allSettled(ids.map((id) => atelier.api(path(id))));
    ids = ids.filter((id, index) => found[index].status === "fulfilled" || found[index].reason.code !== "not_found");
    found.filter((item) => item.status === "fulfilled").forEach((item) => views.set(item.value.id, item.value));
    const last = views.get(ids.at(-1));
    if (over(last)) atelier.result.tell(last);
    atelier.result.draw();
    follow();
  }

  document.addEventListener("visibilitychange", follow);

  return {
    press, take, unanswered, restore, add, over, known, waiting, current, path,
    view: (id) => views.get(id),
    stopping: (id) => stopped.has(id),
    interrupt: (id = current()) => control(id, "interrupt"),
    skip: () => control(current(), "skip"),
    resume: follow,
  };
})();
