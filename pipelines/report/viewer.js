
"use strict";
// The pictures: which frame, which two, how near. curves.js asks chooseFrame for a frame and hears
// of every change through the event "vsr:frame".

const report = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/** An element with attributes and children; text is only ever set as text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A figure as the tables have it. */
function figure(value, decimals) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value === "Infinity" ? "∞" : "−∞";
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const isImages = report.kind === "images";
const frameWord = isImages ? "Image" : "Frame";
const positionOf = new Map(report.frames.map(([index], position) => [index, position]));
const worstFrames = new Set(report.worst.map(({ frame }) => report.frames[frame][0]));

/** What is shown. zoom: CSS pixels for each pixel of the largest picture, null to fit. */
const view = {
  still: 0, left: "", right: "", grid: false, zoom: null, x: 0.5, y: 0.5, divider: 0.5, asked: null,
};
const panes = [];
const cache = new Map();

function currentStill() {
  return report.stills[view.still];
}

function fullSize(still = currentStill()) {
  return [0, 1].map((axis) => Math.max(...still.pictures.map(({ size }) => size[axis])));
}

/** The img elements of a still, made when it is first shown; the last few are kept. */
function imagesOf(at) {
  let images = cache.get(at);
  if (!images) {
    const data = JSON.parse(byId(`still-${at}`).textContent);
    images = data.map((png, i) => {
      const picture = report.stills[at].pictures[i];
      return () => make("img", {
        src: `data:image/png;base64,${png}`, alt: picture.label, draggable: "false",
      });
    });
    if (cache.size > 7) cache.delete(cache.keys().next().value);
    cache.set(at, images);
  }
  return images;
}

/** Pictures of two frames need not have the same names; the nearest in meaning is the same place. */
function pictureAt(name, fallback) {
  const { pictures } = currentStill();
  const at = pictures.findIndex((picture) => picture.name === name);
  return at >= 0 ? at : Math.min(fallback, pictures.length - 1);
}

function layer(at) {
  const image = imagesOf(view.still)[at]();
  const element = make("div", { class: "layer" }, image);
  return { element, image, picture: currentStill().pictures[at] };
}

function build() {
  const still = currentStill();
  const stage = byId("stage");
  const focused = document.activeElement?.classList.contains("divider");
  panes.length = 0;
  if (view.grid) {
    still.pictures.forEach((picture, at) => {
      const shown = layer(at);
      const name = make("span", { class: "name left" }, picture.label);
      panes.push({
        element: make("div", { class: "pane" }, shown.element, name), layers: [shown],
      });
    });
  } else {
    const left = layer(pictureAt(view.left, 0));
    const right = layer(pictureAt(view.right, 1));
    const divider = make("div", {
      class: "divider", role: "slider", tabindex: "0", "aria-orientation": "horizontal",
      "aria-label": `Divider: ${left.picture.label} on its left, ${right.picture.label} on its right`,
      "aria-valuemin": "0", "aria-valuemax": "100",
    });
    const element = make("div", { class: "pane" }, right.element, left.element,
      make("span", { class: "name left" }, left.picture.label),
      make("span", { class: "name right" }, right.picture.label), divider);
    panes.push({ element, layers: [right, left], left, divider });
    byId("left").value = left.picture.name;
    byId("right").value = right.picture.name;
  }
  stage.classList.toggle("grid", view.grid);
  stage.replaceChildren(...panes.map(({ element }) => element));
  panes.forEach(listen);
  if (focused) panes[0].divider?.focus();
  for (const id of ["left", "right", "swap"]) byId(id).disabled = view.grid;
  draw();
}

/** How wide a pane is, and the zoom at which the whole picture fits it. */
function fitting() {
  const [width, height] = fullSize();
  const columns = view.grid && innerWidth > 640 ? 2 : 1;
  const room = (byId("stage").clientWidth - 8 * (columns - 1)) / columns;
  const tall = Math.max(200, innerHeight * (view.grid ? 0.42 : 0.72));
  const zoom = Math.min(room / width, tall / height);
  return { width: Math.floor(width * zoom), height: Math.floor(height * zoom), zoom };
}

/** Put every pane's pictures where the view says; all panes show the same part. */
function draw() {
  if (!panes.length) return;
  const [fullWidth, fullHeight] = fullSize();
  const fit = fitting();
  if (view.zoom !== null && view.zoom <= fit.zoom) view.zoom = null;
  const zoom = view.zoom ?? fit.zoom;
  const [width, height] = [fullWidth * zoom, fullHeight * zoom];
  const halfX = fit.width / width / 2;
  const halfY = fit.height / height / 2;
  view.x = halfX >= 0.5 ? 0.5 : clamp(view.x, halfX, 1 - halfX);
  view.y = halfY >= 0.5 ? 0.5 : clamp(view.y, halfY, 1 - halfY);
  for (const { element, layers, left, divider } of panes) {
    element.style.width = `${fit.width}px`;
    element.style.height = `${fit.height}px`;
    element.classList.toggle("zoomed", view.zoom !== null);
    for (const { image, picture } of layers) {
      image.style.width = `${width}px`;
      image.style.height = `${height}px`;
      image.style.left = `${fit.width / 2 - view.x * width}px`;
      image.style.top = `${fit.height / 2 - view.y * height}px`;
      // From two screen pixels for each of its own on, a picture shows its pixels as they are.
      image.style.imageRendering = width / picture.size[0] >= 2 ? "pixelated" : "auto";
    }
    if (divider) {
      const percent = view.divider * 100;
      left.element.style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
      divider.style.left = `${percent}%`;
      divider.setAttribute("aria-valuenow", String(Math.round(percent)));
      divider.setAttribute("aria-valuetext", `${Math.round(percent)}% from the left`);
    }
  }
  byId("zoom").textContent = `${Math.round(zoom * 100)}%`;
  byId("out").disabled = view.zoom === null;
  byId("in").disabled = zoom >= 32;
}

/** Zoom, keeping the point of the picture under (px, py) of the pane, in CSS pixels, in place. */
function zoomTo(zoom, px = null, py = null) {
  const fit = fitting();
  const before = view.zoom ?? fit.zoom;
  const after = clamp(zoom, fit.zoom, 32);
  const [width, height] = fullSize();
  if (px !== null) {
    view.x += (px - fit.width / 2) * (1 / before - 1 / after) / width;
    view.y += (py - fit.height / 2) * (1 / before - 1 / after) / height;
  }
  view.zoom = after;
  draw();
}

const zoomBy = (factor, px, py) => zoomTo((view.zoom ?? fitting().zoom) * factor, px, py);

function listen({ element, divider }) {
  const inside = (event) => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top, box.width];
  };
  let grip = null;
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    grip = { x: event.clientX, y: event.clientY, divides: event.target === divider };
    element.setPointerCapture(event.pointerId);
    element.classList.toggle("moving", !grip.divides);
    (grip.divides ? divider : byId("stage")).focus({ preventScroll: true });
    event.preventDefault();
  });
  element.addEventListener("pointermove", (event) => {
    if (!grip) return;
    if (grip.divides) {
      const [x, , width] = inside(event);
      view.divider = clamp(x / width, 0, 1);
    } else {
      const zoom = view.zoom ?? fitting().zoom;
      const [width, height] = fullSize();
      view.x -= (event.clientX - grip.x) / (width * zoom);
      view.y -= (event.clientY - grip.y) / (height * zoom);
      [grip.x, grip.y] = [event.clientX, event.clientY];
    }
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    element.addEventListener(end, () => {
      grip = null;
      element.classList.remove("moving");
    });
  }
  element.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    zoomBy(2 ** (-event.deltaY / 200), ...inside(event));
  }, { passive: false });
  element.addEventListener("dblclick", (event) => {
    const [x, y] = inside(event);
    if (view.zoom === null) zoomBy(4, x, y);
    else zoomTo(0);
  });
  divider?.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1 };
    const ends = { Home: 0, End: 1 };
    if (event.key in steps) view.divider = clamp(view.divider + steps[event.key], 0, 1);
    else if (event.key in ends) view.divider = ends[event.key];
    else return;
    event.preventDefault();
    event.stopPropagation();
    draw();
  });
}

/** Show still number ``at``. asked: index of the frame that was wanted, if it has no pictures. */
function showStill(at, asked = null) {
  const before = fullSize().join();
  view.still = clamp(at, 0, report.stills.length - 1);
  view.asked = asked;
  if (fullSize().join() !== before) view.zoom = null;
  const still = currentStill();
  fillPicks();
  [...byId("chips").children].forEach((chip, i) => {
    chip.setAttribute("aria-pressed", String(i === view.still));
  });
  const chip = byId("chips").children[view.still];
  const strip = byId("chips");
  strip.scrollLeft = chip.offsetLeft - strip.offsetLeft - (strip.clientWidth - chip.offsetWidth) / 2;
  byId("previous").disabled = view.still === 0;
  byId("next").disabled = view.still === report.stills.length - 1;
  const name = [`${frameWord} ${still.index}`, still.title].filter(Boolean).join(", ");
  byId("which").textContent = asked === null ? name : `${name}: the nearest to ${asked} with pictures`;
  fillValues();
  build();
  document.dispatchEvent(new CustomEvent("vsr:frame", { detail: still.index }));
}

/** Show the frame at a position of report.frames, or the nearest one that has pictures. */
function chooseFrame(position) {
  if (!report.stills.length) return;
  const [index] = report.frames[position];
  const apart = report.stills.map((still) => Math.abs(still.index - index));
  const at = apart.indexOf(Math.min(...apart));
  showStill(at, apart[at] ? index : null);
}

function fillPicks() {
  for (const id of ["left", "right"]) {
    byId(id).replaceChildren(...currentStill().pictures.map(({ name, label }) =>
      make("option", { value: name }, label)));
  }
}

/** The chosen frame's figures. */
function fillValues() {
  const position = positionOf.get(currentStill().index);
  const table = byId("values");
  table.hidden = position === undefined;
  if (table.hidden) return;
  const head = report.metrics.map(({ label, unit }) => make("th", { scope: "col" }, label,
    ...(unit ? [" ", make("span", { class: "unit" }, `in ${unit}`)] : [])));
  const rows = report.candidates.map(({ name, label, series, values }) =>
    make("tr", { "data-candidate": name },
      make("th", { scope: "row" },
        make("span", { class: `swatch series-${series}`, "aria-hidden": "true" }), label),
      ...report.metrics.map((metric) => make("td", { "data-metric": metric.name },
        figure(values[metric.name][position], metric.decimals)))));
  table.replaceChildren(
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "This frame"), ...head)),
    make("tbody", {}, ...rows));
}

function pick(side, name) {
  view[side] = name;
  build();
}

function cycle(side) {
  const { pictures } = currentStill();
  const at = pictureAt(view[side], side === "left" ? 0 : 1);
  pick(side, pictures[(at + 1) % pictures.length].name);
}

function swap() {
  [view.left, view.right] = [byId("right").value, byId("left").value];
  build();
}

const keys = {
  ArrowLeft: () => showStill(view.still - 1),
  ArrowRight: () => showStill(view.still + 1),
  "+": () => zoomBy(Math.SQRT2),
  "=": () => zoomBy(Math.SQRT2),
  "-": () => zoomBy(Math.SQRT1_2),
  0: () => zoomTo(0),
  1: () => zoomTo(1),
  a: () => cycle("left"),
  b: () => cycle("right"),
  x: swap,
};

if (report.stills.length) {
  // Before the network's result stands what it is to beat: bicubic if it is there.
  const names = report.stills[0].pictures.map(({ name }) => name);
  const ours = report.candidates[0]?.name;
  view.right = names.includes(ours) ? ours : names[1] ?? names[0];
  view.left = ["bicubic", "source", ...names].find((n) => names.includes(n) && n !== view.right)
    ?? names[0];
  byId("chips").append(...report.stills.map((still, at) => {
    const worst = worstFrames.has(still.index);
    const chip = make("button", {
      type: "button", "aria-pressed": "false", title: still.title,
      "aria-label": `${frameWord} ${still.index}, ${still.title}${worst ? ", among the worst" : ""}`,
    }, make("span", worst ? { class: "worst" } : {}, String(still.index)),
    make("small", {}, still.title));
    chip.addEventListener("click", () => showStill(at));
    return chip;
  }));
  byId("previous").addEventListener("click", keys.ArrowLeft);
  byId("next").addEventListener("click", keys.ArrowRight);
  byId("left").addEventListener("change", (event) => pick("left", event.target.value));
  byId("right").addEventListener("change", (event) => pick("right", event.target.value));
  byId("swap").addEventListener("click", swap);
  byId("in").addEventListener("click", keys["+"]);
  byId("out").addEventListener("click", keys["-"]);
  byId("fit").addEventListener("click", keys[0]);
  byId("one").addEventListener("click", keys[1]);
  for (const radio of document.querySelectorAll("input[name=view]")) {
    radio.addEventListener("change", () => {
      view.grid = radio.value === "grid" && radio.checked;
      view.zoom = null;
      build();
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("select, input, textarea, .curve, .scroll")) return;
    const action = keys[event.key];
    if (!action || (view.grid && ["a", "b", "x"].includes(event.key))) return;
    event.preventDefault();
    action();
  });
  addEventListener("resize", draw);
  const worst = report.worst.map(({ frame }) => report.frames[frame][0]);
  const shown = (index) => report.stills.findIndex((still) => still.index === index);
  showStill(worst.map(shown).find((at) => at >= 0) ?? 0);
}
