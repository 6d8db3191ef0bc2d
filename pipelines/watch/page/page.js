"use strict";

// Everything that comes from files goes into the page as text, never as markup.
const STATES = {
  running: "Running",
  failed: "Failed, tried again",
  quarantined: "Quarantined",
  queued: "Queued",
  done: "Done",
  gone: "Gone",
};
const EVERY = 1000;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

function progress(job) {
  const bar = element("progress", { "aria-label": `Progress of ${job.path}` });
  let text = `${job.frames} frames`;
  if (job.total) {
    bar.max = job.total;
    bar.value = job.frames;
    text = `${job.frames} of ${job.total} frames`;
  }
  if (job.fps) text += `, ${job.fps.toPrecision(3)} fps`;
  if (job.eta !== null) text += `, ${span(job.eta)} left`;
  return [bar, element("p", { class: "soft" }, text)];
}

function pictures(job) {
  const version = `?${job.completions}`;
  return element("div", { class: "pictures" }, ...["before", "after"].map((which) =>
    element("figure", { class: which },
      element("img", {
        src: `/jobs/${job.id}/${which}.jpg${version}`, loading: "lazy",
        alt: `A piece of ${job.path}, ${which}`,
      }),
      element("figcaption", {}, which))));
}

function article(job) {
  const made = element("article", { class: job.state, "data-job": job.id },
    element("h3", {}, job.path));
  if (job.state === "running") made.append(...progress(job));
  if (job.reason) made.append(element("p", { class: "reason" }, job.reason));
  if (job.state === "failed") {
    const wait = span(job.next_try - Date.now() / 1000);
    made.append(element("p", { class: "soft" }, `attempt ${job.attempts} failed; again in ${wait}`));
  }
  if (job.moved_to) made.append(element("p", { class: "soft" }, `now ${job.moved_to}`));
  if (job.state === "done") made.append(element("p", { class: "soft" }, job.destination));
  if (job.log) {
    made.append(element("p", {}, element("a", { href: `/jobs/${job.id}/log.txt` }, "log")));
  }
  if (job.pictures) made.append(pictures(job));
  return made;
}

const shown = new Map();

// A job is drawn anew only when it has changed, so that pictures do not flicker.
function draw(job) {
  const key = JSON.stringify([job, job.state === "failed" ? Math.round(Date.now() / 1000) : 0]);
  const before = shown.get(job.id);
  if (before && before.key === key) return before.article;
  const made = article(job);
  shown.set(job.id, { key, article: made });
  return made;
}

function section(state, jobs, count) {
  const made = element("section", { "data-state": state },
    element("h2", {}, STATES[state]), ...jobs.map(draw));
  if (jobs.length < count) {
    made.append(element("p", { class: "soft" }, `and ${count - jobs.length} more`));
  }
  return made;
}

function show(queue) {
  document.title = `vsr watch: ${queue.counts.done} done`;
  document.getElementById("folders").textContent = `${queue.source} → ${queue.destination}`;
  const counts = Object.keys(STATES).filter((state) => queue.counts[state]);
  document.getElementById("counts").replaceChildren(...counts.map((state) =>
    element("li", { "data-count": state }, element("b", {}, String(queue.counts[state])), ` ${state}`)));
  document.getElementById("states").replaceChildren(...counts.map((state) =>
    section(state, queue.jobs.filter((job) => job.state === state), queue.counts[state])));
}

async function turn() {
  const trouble = document.getElementById("trouble");
  try {
    const answer = await fetch("/queue.json");
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.json());
    trouble.hidden = true;
  } catch (error) {
    trouble.textContent = `The watcher does not answer: ${error.message}`;
    trouble.hidden = false;
  }
  setTimeout(turn, EVERY);
}

turn();
